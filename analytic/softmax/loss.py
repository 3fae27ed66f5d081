"""The in-context loss of multi-head softmax attention with decomposable weights, [S] Lemma 2.

x ~ N(0, I) in R^d, tasks i on disjoint blocks of d_i coordinates, y_i = g_iᵀx + σε with
g_i ~ N(0, λ_i I), L context pairs, query q. Head h scores token x by Σ_j ω_j^h x_j q_j and reads
out μ_i^h y_i. The loss is Σ_i E(ŷ_i − g_iᵀq)²: no ½, summed over tasks, the query without noise.
c_i = φ_i d_i/L, φ_i = 1 + σ²/(λ_i d_i). [S] is Chen, Sheen, Wang, Yang (2024), arXiv 2402.19442;
its loss is derived here anew, in `analytic.derivations.softmax_loss`.
"""

from __future__ import annotations

from .._generic import Number, exp, is_object, over_length, sqrt, total
from .._guard import guarded
from ._heads import head_weights
from ._tasks import tasks


@guarded
def noise_factor(block_dims: Number, signal: Number, *, noise: Number = 0) -> Number:
    """Return φ_i = 1 + σ²/(λ_i d_i).

    Parameters
    ----------
    block_dims, signal
        d_i > 0 and λ_i > 0, scalars or (..., I).
    noise
        σ >= 0, standard deviation of the label noise, over the batch dimensions.

    Returns
    -------
    φ of the shape the arguments broadcast to.

    Raises
    ------
    ValueError
        If d_i or λ_i is not positive and finite, σ < 0, or the numbers of tasks differ.

    Notes
    -----
    [S], by definition: in c_i = φ_i d_i/L label noise counts as a block φ_i times larger.
    Accuracy: 3 eps.

    Examples
    --------
    >>> noise_factor(10, 1.0, noise=1.0)
    1.1
    """
    (world,) = tasks(block_dims, signal, 1, noise)
    return world.factor


@guarded
def spectral_loss(
    omega: Number,
    mu: Number,
    block_dims: Number,
    signal: Number,
    context_length: Number,
    *,
    noise: Number = 0,
) -> Number:
    """Return ℓ(ω, μ), the in-context loss to leading order in 1/L and 1/d.

    With A_j = Σ_h μ_{i(j)}^h ω_j^h, i(j) the task of coordinate j::

        ℓ = Σ_i λ_i { Σ_{j∈J_i} (1 − A_j)² + c_i Σ_{hh'} μ_i^h μ_i^{h'} e^{⟨ω^h, ω^{h'}⟩} }

    Parameters
    ----------
    omega
        ω (..., H, d), the score weight of each head on each coordinate; blocks are contiguous.
    mu
        μ (..., H, I), the read-out weight of each head on each task.
    block_dims
        d_i, a positive integer or I of them, Σ d_i = d.
    signal
        λ_i > 0 per coordinate, scalar or (I,).
    context_length
        L >= 1, number of context pairs; inf is allowed.
    noise
        σ >= 0, standard deviation of the label noise in the context.

    Returns
    -------
    (...), in units of y².

    Raises
    ------
    ValueError
        If shapes disagree, weights are not finite or another argument is out of its range.
    TypeError
        If a block dimension is not an integer.

    Notes
    -----
    [S] Lemma 2; form derived here. Dropped, and kept by `first_order_loss`: shares of order ‖ω‖²/d
    and ‖ω‖⁴/d of the second term, and a share e^{‖ω‖²}/L of what is linear in A in the first. Then
    O(1/L²). The expectation is over g, noise, tokens and queries.
    Accuracy: 12 eps of the same with |μ|, |ω|, 1 + |A| for 1 − A and (1 + ⟨|ω|, |ω'|⟩) e^{⟨ω, ω'⟩}.

    Examples
    --------
    >>> spectral_loss([[0.5, 0.5]], [[1.0]], 2, 1.0, float("inf")).tolist()
    0.5
    """
    weights = head_weights(omega, mu, block_dims, signal, context_length, noise)
    return weights.fit + weights.spread(exp(weights.overlap, *weights.world.numbers))


@guarded
def linear_attention_loss(
    omega: Number,
    mu: Number,
    block_dims: Number,
    signal: Number,
    context_length: Number,
    *,
    noise: Number = 0,
) -> Number:
    """Return `spectral_loss` with e^{⟨ω, ω'⟩} replaced by 1 + ⟨ω, ω'⟩: small score weights.

    Small scores give p_l = (1 + s_l − s̄)/L: a head is then its mean label plus centred linear
    attention, and the heads add up to M_i = Σ_h μ_i^h diag(ω^h). This loss is
    (λ_i d_i φ_i/L)(Σ_h μ_i^h)² from the mean label plus the loss of linear attention, [L], less
    (λ_i/L) Σ_{j∈J_i} (M_i)_jj², which is 1/d smaller than what is kept.

    Arguments, range and errors as in `spectral_loss`. Never above it: e^{⟨ω, ω'⟩} − 1 − ⟨ω, ω'⟩ is
    positive semi-definite as a matrix over heads. The gap is O(ε²) at weights εω, μ/ε, and O(ε⁴)
    for the pairs (εω, μ/ε), (−εω, −μ/ε). Link stated in [S]; form derived here.

    Accuracy: 12 eps of the same with |μ|, |ω| and 1 + |A| for 1 − A.

    Examples
    --------
    >>> round(float(linear_attention_loss([[0.5, 0.5]], [[1.0]], 2, 1.0, 10)), 12)
    0.8
    """
    weights = head_weights(omega, mu, block_dims, signal, context_length, noise)
    return weights.fit + weights.spread(1 + weights.overlap)


@guarded
def spectral_gradient(
    omega: Number,
    mu: Number,
    block_dims: Number,
    signal: Number,
    context_length: Number,
    *,
    noise: Number = 0,
) -> tuple[Number, Number]:
    """Return (∂ℓ/∂ω, ∂ℓ/∂μ) of `spectral_loss`, of the shapes of ω and μ.

    With r = 1 − A, K_{hh'} = e^{⟨ω^h, ω^{h'}⟩} and C_{hh'} = K_{hh'} Σ_i λ_i c_i μ_i^h μ_i^{h'}::

        ∂ℓ/∂ω_j^h = −2 λ_i μ_i^h r_j + 2 Σ_{h'} C_{hh'} ω_j^{h'}
        ∂ℓ/∂μ_i^h = −2 λ_i Σ_{j∈J_i} ω_j^h r_j + 2 λ_i c_i Σ_{h'} K_{hh'} μ_i^{h'}

    Arguments, range, errors and source as in `spectral_loss`.

    Accuracy: 12 eps of the sums of the absolute values of the terms, K carrying 1 + ⟨|ω|, |ω'|⟩.

    Examples
    --------
    >>> d_omega, d_mu = spectral_gradient([[0.5, 0.5]], [[1.0]], 2, 1.0, float("inf"))
    >>> d_omega.tolist(), d_mu.tolist()
    ([[-1.0, -1.0]], [[-1.0]])
    """
    w = head_weights(omega, mu, block_dims, signal, context_length, noise)
    kernel = exp(w.overlap, *w.world.numbers)
    cost = (w.world.signal * w.world.ratio)[..., None, :]
    gap = (w.signal * (1 - w.readout))[..., None, :]
    coupling = kernel * ((w.mu * cost) @ w.mu.__array_namespace__().matrix_transpose(w.mu))
    d_omega = 2 * (coupling @ w.omega) - 2 * w.wide_mu * gap
    d_mu = 2 * cost * (kernel @ w.mu) - 2 * ((w.omega * gap) @ w.indicator)
    return d_omega, d_mu


@guarded
def first_order_loss(
    omega: Number,
    mu: Number,
    block_dims: Number,
    signal: Number,
    context_length: Number,
    *,
    noise: Number = 0,
) -> Number:
    """Return the in-context loss with every term of order 1/L, at any dimension d.

    With D^{hh'} = ω^h ω^{h'} by coordinate, κ = Π_j (1 − 2D_j)^{−1/2} and R = D/(1 − 2D)::

        ℓ₁ = Σ_i λ_i { Σ_{j∈J_i} (1 − A_j)²
             + (1/L) Σ_{hh'} μ_i^h μ_i^{h'} κ^{hh'} (d_i φ_i + Σ_{j∈J_i} R_j^{hh'})
             + (2/L) Σ_h μ_i^h κ^{hh} Σ_{j∈J_i} ω_j^h (1 − A_j)/(1 − 2D_j^{hh}) }

    Parameters
    ----------
    omega, mu, block_dims, signal, context_length, noise
        As in `spectral_loss`, with 2(ω_j^h)² < 1: beyond, κ^{hh} is infinite.

    Returns
    -------
    (...), in units of y².

    Raises
    ------
    ValueError
        As `spectral_loss`, and if some 2(ω_j^h)² >= 1.

    Notes
    -----
    The delta method for ratios of means, averaged over q: the error is O(1/L²) at fixed d and ω
    with 6(ω_j^h)² < 1, where the moments of the next order exist, and falls more slowly beyond.
    `spectral_loss` is its leading order in 1/d. Derived here; in neither paper.
    Accuracy: 24 eps of the same with |μ|, |ω|, |R| and 1 + |A| for 1 − A, where |ω_j| <= 0.6.

    Examples
    --------
    >>> weights = [[10**-0.5] * 10], [[2.0]]
    >>> round(float(first_order_loss(*weights, 10, 1.0, 1000)), 4)
    1.506
    >>> round(float(spectral_loss(*weights, 10, 1.0, 1000)), 4)
    1.4596
    """
    w = head_weights(omega, mu, block_dims, signal, context_length, noise)
    _require_moments(w.omega)
    product = w.omega[..., :, None, :] * w.omega[..., None, :, :]
    free = 1 - 2 * product
    xp = product.__array_namespace__()
    kappa = xp.prod(1 / sqrt(free, *w.world.numbers), axis=-1)
    own = w.omega / (1 - 2 * w.omega * w.omega)
    bias = (own * (1 - w.readout)[..., None, :]) @ w.indicator
    pairs = w.mu[..., :, None, :] * w.mu[..., None, :, :] * kappa[..., None]
    spread = xp.sum(pairs * ((product / free) @ w.indicator), axis=(-3, -2))
    spread = spread + 2 * xp.sum(w.mu * _diagonal(kappa)[..., None] * bias, axis=-2)
    extra = over_length(w.world.signal * spread, w.world.length)
    return w.fit + w.spread(kappa) + total(extra)


def _diagonal(value: Number) -> Number:
    return value.__array_namespace__().linalg.diagonal(value)


def _require_moments(omega: Number) -> None:
    if is_object(omega):
        return
    largest = float(omega.__array_namespace__().max(abs(omega)))
    if not 2 * largest**2 < 1:
        raise ValueError(f"omega must be below 1/√2 in absolute value, got {largest}")
