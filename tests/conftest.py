"""Hypothesis profiles and the number of BLAS threads, for all tests."""

from tests.properties import profiles

profiles.load()
