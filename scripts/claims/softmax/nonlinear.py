"""S11: what softmax heads return for tasks that are not linear.

Given a query, a head returns Σ_l p_l f(x_l) → E f(x + ωq) as L → ∞, ωq entry by entry, for labels
f(x). E He_k(x + a) = a^k: degree k shrinks by ω^k, and no gain turns q^k into He_k(q).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import style
from analytic import softmax as closed
from claims.base import Check, Evidence, Settings, agree, claim, same, shrinks

Array = np.ndarray
OMEGA = np.array([0.4, 0.3])
REST = 0.3**2  # squared length of ω on other coordinates, where the query has its mean length


@claim(
    "S11",
    source="[S], nonlinear tasks; derived",
    kind="asymptotic",
    statement="a head returns ω^k q^k for labels He_k(x) as L → ∞: only degree 1 is learned well",
    regime="error ∝ L^{−1/2}, |q_j| <= 2; of degree k at least 1 − k!/(2k − 1)!! is left",
)
def nonlinear_tasks(settings: Settings) -> Evidence:
    """Responses of softmax to Hermite labels at growing L, and what is left of each degree."""
    lengths = np.array(settings.choose((1000, 4000, 16_000), (1000, 4000, 16_000, 32_000)))
    count = settings.choose(120, 400)
    rng = np.random.default_rng((settings.seed, 11))
    q = rng.uniform(-2, 2, (count, 2))
    powers = ((1, 0), (2, 0), (3, 0), (1, 1), (2, 1))
    limit = np.array([
        closed.hermite_response(a, OMEGA[0], q[:, 0])
        * closed.hermite_response(b, OMEGA[1], q[:, 1])
        for a, b in powers
    ])  # fmt: skip
    naive = np.array([hermite(a, OMEGA[0] * q[:, 0]) * hermite(b, OMEGA[1] * q[:, 1])
                      for a, b in powers])  # fmt: skip
    checks = []
    returned = np.array([responses(q, OMEGA, REST, powers, int(n), rng) for n in lengths])
    for row, (a, b) in enumerate(powers):
        label = f"He_{a}(x_1)" + (f" He_{b}(x_2)" if b else "")
        wrong = [naive[row] if max(a, b) > 1 else 2 * limit[row]] * len(lengths)
        checks.append(shrinks(f"{label}: softmax against Π (ω_j q_j)^k", lengths,
                              [limit[row]] * len(lengths), returned[:, row], -0.5,
                              "Σp² ∝ 1/L: a mean of L tokens", wrong=wrong))  # fmt: skip
    short = np.array([60, 240, 960])
    left, shares = _shares(settings, short)
    checks += left

    def draw(ax: Any) -> None:
        degrees = (1, 2, 3)
        for row, n, colour in zip(shares, short, style.shades(len(short))[::-1], strict=True):
            ax.plot(degrees, row, "o", color=colour, label=f"softmax, L = {n}")
        trained = [closed.hermite_error(k, 3.0 * 3.0**-k) for k in degrees]
        style.predicted(ax, degrees, trained, label="L → ∞")
        ax.plot(degrees, [closed.hermite_error(k) for k in degrees], "_", ms=12,
                color=style.QUIET, label="at the best gain")  # fmt: skip
        ax.set_xticks(degrees)
        ax.set_ylim(0, 2.1)
        ax.set_xlabel("degree k")
        ax.set_ylabel("share of a task He_k left")
        ax.legend(loc="upper left")

    return Evidence(checks, draw)


def hermite(degree: int, x: Array) -> Array:
    """Probabilists' He_k(x), by its recurrence."""
    before, value = np.zeros_like(x), np.ones_like(x)
    for k in range(degree):
        before, value = value, x * value - k * before
    return value


def responses(
    q: Array, omega: Array, rest: float, powers: Any, length: int, rng: np.random.Generator
) -> Array:
    """Σ_l p_l Π_j He_k(x_lj) of each query (n, m) and label, (labels, n).

    Other coordinates enter through the sum of their scores alone, N(0, rest · χ²) given the query;
    here their part of the query has its mean length.
    """
    out = np.empty((len(powers), len(q)))
    step = max(1, 2_000_000 // length)
    for begin in range(0, len(q), step):
        part = q[begin : begin + step]
        x = rng.standard_normal((len(part), length, part.shape[1]))
        scores = (x @ (omega * part)[..., None])[..., 0]
        scores += np.sqrt(rest) * rng.standard_normal(scores.shape)
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        for row, degrees in enumerate(powers):
            label = np.prod([hermite(k, x[..., j]) for j, k in enumerate(degrees)], axis=0)
            out[row, begin : begin + step] = np.sum(p * label, axis=1)
    return out


def _shares(settings: Settings, lengths: Array) -> tuple[list[Check], Array]:
    """What a head trained on a linear task, d = 9, ω̄ = 1/3, μω̄ = 1, leaves of He_k(x_1).

    The mean over q_1 is by quadrature: by draws, rare large queries would hide the rate.
    """
    rng = np.random.default_rng((settings.seed, 111))
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)  # exact to degree 15
    weights = weights / weights.sum()
    q = np.repeat(nodes, settings.choose(900, 10_000))
    degrees = (1, 2, 3)
    predicted = np.array([closed.hermite_error(k, 3.0 * 3.0**-k) for k in degrees])
    shares = []
    for n in lengths:
        powers = [(k,) for k in degrees]
        got = 3.0 * responses(q[:, None], np.array([1 / 3]), 8 / 9, powers, int(n), rng)
        squares = [(hermite(k, q) - value) ** 2 / math.factorial(k)
                   for k, value in zip(degrees, got, strict=True)]  # fmt: skip
        shares.append(np.reshape(squares, (3, len(nodes), -1)).mean(axis=2) @ weights)
    gains = [float(weights @ (hermite(k, nodes) * nodes**k) / (weights @ nodes ** (2 * k)))
             for k in degrees]  # fmt: skip
    return [
        shrinks("share left of degrees 1 to 3 by a head trained on a linear task", lengths,
                [predicted] * len(lengths), shares, -1.0, "variance of a mean of L tokens",
                wrong=[[closed.hermite_error(k) for k in degrees]] * len(lengths)),
        same("degrees in order of the share left, longest context", [0, 1, 2],
             np.argsort(shares[-1])),
        agree("best gain of q^k for He_k, by quadrature",
              [closed.hermite_gain(k) for k in degrees], gains, 1e-12, "rounding"),
    ], np.array(shares)  # fmt: skip
