"""Power sums of softmax weights over independent Gaussian scores, to near rounding.

Notation: z_l ~ N(0, 1), l = 1…L, scores s_l = a z_l, p = softmax(s). With t^{k−1} e^{−t Z} under
1/Z^k = ∫ t^{k−1} e^{−tZ} dt / (k−1)!, Z = Σ e^{s_l}, and t = e^u,

    P_k(a) = E Σ_l p_l^k = L/(k−1)! ∫ g_k(u) φ(u)^{L−1} du,
    g_k(u) = E h_k(u + s),  h_k(v) = e^{kv − e^v},  φ(u) = E e^{−e^{u+s}}.

Every sum is a trapezoidal rule on a whole line, whose error falls as e^{−c/step}: h_k is analytic
and decays for |Im v| < π/2. 1 − φ is summed itself, from positive terms, so that φ^{L−1} keeps
its digits at any L.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_DIGITS = 37.0  # −ln of the relative size of what is left out
_BLOCK = 128  # values of u that share one window of scores
_CACHED = 2**15  # numbers in a table, so that it stays in the cache
_NARROW = 0.5  # a up to which the scores, not h_k, decide the step
_COARSE = 4.0  # a from which the step in u may grow with a


def radial_rule(dimension: int, step: float) -> tuple[Array, Array]:
    """Nodes r² and weights of the average over r ~ χ_d, by r = exp(w − e^{−w}).

    The map ends the lower tail r^d doubly exponentially, also at d = 1; the width of log χ_d is
    1/√(2d).
    """
    h = step * min(0.32, 1.7 / math.sqrt(2 * dimension))
    root = math.sqrt(dimension)
    # log-density of r: second derivative <= −1, so its tails are within those of N(mode, 1).
    low = math.log(root - 9.5) if root > 10 else -4.5
    w = np.arange(low, math.log(root + 10.5), h)  # up to r > root + 9.5
    log_ratio = w - np.exp(-w) - math.log(root)  # of r to √d, near which all of it lies
    weights = np.exp(dimension * (log_ratio - np.expm1(2 * log_ratio) / 2)) * (1 + np.exp(-w))
    keep = weights > math.exp(-_DIGITS - 5)
    return dimension * np.exp(2 * log_ratio[keep]), weights[keep] / weights[keep].sum()


def power_sums(spread: Array, context_length: int, step: float) -> tuple[Array, Array]:
    """P_2(a) and P_3(a) at each standard deviation a >= 0 of the scores, L >= 2."""
    spread = np.minimum(spread, 1e15)  # where Σp² is 1 to rounding
    result = np.empty((2, len(spread)))
    narrow = spread <= _NARROW
    if narrow.any():
        result[:, narrow] = _narrow(spread[narrow], context_length, step)
    stride = 2 ** np.floor(np.log2(np.maximum(spread / _COARSE, 1.0))).astype(int)
    for s in np.unique(stride[~narrow]):
        chosen = ~narrow & (stride == s)
        result[:, chosen] = _wide(spread[chosen], context_length, step, int(s))
    return result[0], result[1]


def _limits(spread: Array, context_length: int) -> tuple[Array, Array]:
    """Values of u outside which the integrands are negligible, for each a."""
    log_length = math.log(context_length)
    low = -log_length - _DIGITS / 2 - spread * np.minimum(spread, _reach(context_length))
    # (L−1) ln φ <= −43 where P(s < c) = e^{−43/(L−1)} and u = 4.2 − c, or where s > −9a.
    exponent = 43.0 / (context_length - 1)
    tail = -math.expm1(-exponent)  # below eps for L > 1e17
    normal = NormalDist()
    quantile = -normal.inv_cdf(tail) if tail < 0.5 else normal.inv_cdf(math.exp(-exponent))
    high = np.minimum(4.2 - spread * quantile, 9 * spread + math.log(1.2 * exponent))
    return low, high


def _reach(context_length: int) -> float:
    """|z| beyond which L scores do not fall."""
    return math.sqrt(2 * (_DIGITS + 2 * math.log(context_length)))


def _pieces(rows: int, length: int) -> Iterator[tuple[int, int]]:
    """Begin and end of pieces of a table, as many rows at a time as the cache holds."""
    return pairwise([*range(0, rows, max(1, _CACHED // length)), rows])


def _integral(tail: Array, second: Array, third: Array, context_length: int) -> Array:
    """L/(k−1)! g_k φ^{L−1} for k = 2, 3, from 1 − φ and g_k."""
    survival = np.exp((context_length - 1) * np.log1p(-np.minimum(tail, 1 - 1e-16)))
    return np.stack([second, third / 2]) * (context_length * survival)


def _narrow(spread: Array, context_length: int, step: float) -> Array:
    """P_2, P_3 with the Gaussian average on a grid of z of its own."""
    low, high = _limits(spread, context_length)
    u = np.arange(low.min(), high.max(), step)
    z = np.arange(-10.0, 10.0, 2.5 * step)
    weights = np.exp(-(z**2) / 2)
    weights /= weights.sum()
    tilt = np.exp(spread[:, None] * z)[:, :, None]
    sums = np.empty((2, len(spread)))
    for begin, end in _pieces(len(spread), len(z) * len(u)):
        t = tilt[begin:end] * np.exp(u)
        lost = np.expm1(-t)
        tail = -(weights @ lost)
        t2 = t * t
        t2 *= 1 + lost
        second = weights @ t2
        t2 *= t
        sums[:, begin:end] = _integral(tail, second, weights @ t2, context_length).sum(axis=-1)
    return step * sums


def _wide(spread: Array, context_length: int, step: float, stride: int) -> Array:
    """P_2, P_3 with u and v = u + s on one lattice, u on every `stride`-th point.

    g_k(u) = ∫ h_k(v) N(v − u; 0, a²) dv and 1 − φ(u) = ∫ h_1(v) P(s > v − u) dv. A block of u
    shares its window of values v − u, so that the sums over v are two matrix products.
    """
    from scipy.special import ndtr

    v = np.arange(-math.log(context_length) - _DIGITS, 4.2, step)
    block = max(1, _BLOCK // stride)
    overlap = (block - 1) * stride
    padded = np.zeros((3, len(v) + 2 * overlap))
    for k in (1, 2, 3):
        padded[k - 1, overlap : overlap + len(v)] = step * np.exp(k * v - np.exp(v))
    window = np.arange(len(v) + overlap)
    tables = padded[:, window[:, None] + stride * np.arange(block)]

    low, high = _limits(spread, context_length)
    length = block * stride * step
    blocks = np.ceil((high - low) / length).astype(int)
    owner = np.repeat(np.arange(len(spread)), blocks)
    first = np.cumsum(blocks) - blocks
    start = low[owner] + (np.arange(len(owner)) - first[owner]) * length
    offset = v[0] + (window - overlap) * step
    densities = tables[1:].transpose(1, 0, 2).reshape(len(window), 2 * block)
    sums = np.empty((2, len(owner)))
    for begin, end in _pieces(len(owner), len(window)):
        a = spread[owner[begin:end], None]
        z = (offset - start[begin:end, None]) / a
        g = (np.exp(-(z**2) / 2) / (a * math.sqrt(2 * math.pi))) @ densities
        tail = ndtr(-z) @ tables[0]
        parts = _integral(tail, g[:, :block], g[:, block:], context_length)
        sums[:, begin:end] = parts.sum(axis=-1)
    return stride * step * np.add.reduceat(sums, first, axis=1)
