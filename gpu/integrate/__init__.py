"""Integrators of many autonomous systems at once, states (size, rows)."""

from gpu.integrate.problem import FunctionProblem, Problem
from gpu.integrate.solution import Solution, integrate
from gpu.integrate.status import Status

__all__ = ["FunctionProblem", "Problem", "Solution", "Status", "integrate"]
