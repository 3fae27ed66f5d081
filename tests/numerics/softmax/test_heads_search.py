"""How the best heads are searched: where searches start and end, and which of them is told."""

import mpmath
import numpy as np
import pytest
import scipy.optimize

from numerics import MultiTask
from numerics.softmax import heads as module
from numerics.softmax.heads import _curve, _Problem, optimal_heads
from tests.numerics.support import EPS, assert_same, state

TASK = MultiTask((3, 2), [1.0, 0.7], 20, noise=0.3)


def found_by(monkeypatch, *ends, heads=2, **options):
    """The answer where each search ends as told: (ε, seed of the direction, success)."""
    problem, results = _Problem(TASK, heads), []
    for scale, seed, success in ends:
        x = np.append(scale, state(heads * 5, seed))
        result = scipy.optimize.OptimizeResult(
            x=x, fun=problem.objective(x)[0], success=success, message=f"ended as {seed}"
        )
        results.append(result)
    waiting = iter(results)
    monkeypatch.setattr(_Problem, "search", lambda self, generator: next(waiting))
    found = optimal_heads((3, 2), [1.0, 0.7], 20, heads, noise=0.3, starts=len(ends), **options)
    return problem, results, found


def test_the_best_of_several_searches_is_told(monkeypatch):
    ends = [(0.5, 0, True), (0.6, 1, True), (-0.7, 2, True), (0.8, 3, True)]
    problem, results, found = found_by(monkeypatch, *ends)
    losses = [result.fun for result in results]
    assert found.losses.tolist() == sorted(losses)
    assert losses != sorted(losses)
    assert found.losses.shape == (4,)
    best = results[int(np.argmin(losses))]
    scale, U = problem.split(best.x)
    assert found.scale == scale
    assert np.array_equal(found.direction, U)
    assert found.loss == pytest.approx(min(losses), rel=64 * EPS)
    # ‖V‖ = 1, so that the gradient by V is the one by U along the sphere.
    x = np.append(scale, U.ravel())
    assert found.gradient_norm == pytest.approx(np.linalg.norm(problem.objective(x)[1]), rel=1e-12)
    assert found.gradient_norm > 0.01
    assert found.status == "converged"
    assert found.attained
    omega, mu = found.weights()
    assert_same(omega, scale * U)
    assert_same(mu, problem.values(scale, U))


def test_a_best_search_that_failed_says_how(monkeypatch):
    _, results, found = found_by(monkeypatch, (0.5, 0, False), (0.6, 1, False), (0.7, 2, False))
    best = min(results, key=lambda result: result.fun)
    assert found.status == best.message


@pytest.mark.parametrize("heads", [2, 3])
def test_a_scale_next_to_zero_is_the_limit(monkeypatch, heads):
    near = np.nextafter(module._SMALL, 0)
    problem, results, found = found_by(monkeypatch, (-near, 0, True), heads=heads)
    U = problem.split(results[0].x)[1]
    assert found.scale == 0
    assert not found.attained
    assert found.loss == problem.evaluate(0.0, U)[0]
    # The loss is even in ε: from here to 0 it changes in the order of ε².
    assert found.loss == pytest.approx(results[0].fun, rel=1e-8)


@pytest.mark.parametrize(("scale", "heads"), [(module._SMALL, 2), (0.9, 2), (module._SMALL / 2, 1)])
def test_a_scale_of_its_own_is_kept(monkeypatch, scale, heads):
    """One head alone has nothing to gain at ω → 0: its loss there is that of no head."""
    _, _, found = found_by(monkeypatch, (scale, 0, True), heads=heads)
    assert found.scale == scale
    assert found.attained


def test_searches_draw_from_the_generator_given(monkeypatch):
    drawn = []

    def search(self, generator):
        drawn.append(generator.random())
        x = np.append(0.5, state(10, 0))
        return scipy.optimize.OptimizeResult(x=x, fun=1.0, success=True)

    monkeypatch.setattr(_Problem, "search", search)
    for seed in (3, 3, 4):
        optimal_heads((3, 2), 1.0, 20, heads=2, rng=seed)
    starts = 8  # as the signature says
    assert drawn[: 2 * starts] == [*np.random.default_rng(3).random(starts)] * 2
    assert len(set(drawn)) == 2 * starts


class Extremes:
    """Stands for a generator: every normal draw is 1, a uniform one at a fraction of its range."""

    def __init__(self, fraction):
        self.fraction = fraction

    def standard_normal(self, shape):
        return np.ones(shape)

    def uniform(self, low, high):
        return low + self.fraction * (high - low)


@pytest.mark.parametrize(("fraction", "least"), [(0.0, 0.3), (1.0, 1.5)])
@pytest.mark.parametrize("heads", [1, 4])
def test_searches_start_near_unit_norms_with_a_part_common_to_a_block(
    monkeypatch, fraction, least, heads
):
    given = []
    monkeypatch.setattr(scipy.optimize, "minimize", lambda f, x, **options: given.append(x))
    problem = _Problem(TASK, heads)
    problem.search(Extremes(fraction))
    assert given[0][0] == pytest.approx(least * np.sqrt(heads))
    assert given[0][1:].tolist() == [2.0] * (5 * heads)
    problem.search(np.random.default_rng(0))
    start = given[1][1:].reshape(heads, 5)
    assert np.linalg.matrix_rank(np.column_stack([start[:, :3].T, np.ones(3)])) > 1
    assert len(np.unique(start)) == start.size


def test_a_search_counts_in_the_least_loss_of_heads_to_spare(monkeypatch):
    """Then every task has its own, λ d c/(c + 1)."""
    given = []
    monkeypatch.setattr(scipy.optimize, "minimize", lambda f, x, **options: given.append(f))
    problem, x = _Problem(TASK, 2), np.append(0.5, state(10, 0))
    problem.search(np.random.default_rng(0))
    least = sum(
        lam * d * c / (c + 1)
        for lam, d in zip([1.0, 0.7], [3, 2], strict=True)
        for c in [(d + 0.3**2 / lam) / 20]
    )
    for scaled, own in zip(given[0](x), problem.objective(x), strict=True):
        np.testing.assert_allclose(scaled * least, own, rtol=8 * EPS)


def test_a_search_spends_and_reaches_what_is_written(monkeypatch):
    given = []
    monkeypatch.setattr(scipy.optimize, "minimize", lambda f, x, **options: given.append(options))
    _Problem(TASK, 2).search(np.random.default_rng(0))
    document = " ".join((_Problem.search.__doc__ or "").split())
    options = given[0]["options"]
    assert f"{options['maxiter']} steps, {options['maxfun']} evaluations" in document
    assert f"remembers {options['maxcor']} steps" in document
    assert options["gtol"] <= 1e-10
    # As near to the rounding of ℓ as differences of it can tell.
    assert EPS < options["ftol"] < 8 * EPS


@pytest.mark.parametrize(
    ("dims", "length", "heads", "seed"), [((2,), 5, 3, 1), ((3,), 5, 3, 0), ((3,), 1, 3, 0)]
)
def test_idle_heads_do_not_find_less_than_the_least_loss(dims, length, heads, seed):
    """With one task and two heads or more the infimum is λ d c/(c + 1), c = d/L, at ω → 0."""
    c = dims[0] / length
    least = dims[0] * c / (c + 1)
    found = optimal_heads(dims, 1.0, length, heads, rng=seed)
    assert -EPS * least < found.loss - least < 1e-12 * least
    assert found.gradient_norm < 1e-5


@pytest.mark.parametrize("length", [10**4, 10**8, 10**10])
@pytest.mark.parametrize(("dims", "heads"), [((10, 10), 1), ((10, 10), 2), ((2,), 3)])
def test_long_contexts_cost_no_digits(dims, heads, length):
    """Tasks alike share what H heads can spend: 1/e of one head, else H − 1, at most 1 for each."""
    c = dims[0] / length
    spent = min(1, (heads - 1 if heads > 1 else 1 / np.e) / len(dims))
    least = sum(dims) * c / (c + spent)
    found = optimal_heads(dims, 1.0, length, heads, rng=0)
    # A search may end where ε is about `_SMALL`, within 1e-8 of the least.
    assert -8 * EPS * least < found.loss - least < 1e-8 * least


def least_in_mu(task, omega):
    """Min over μ of Σ λ_i {d_i − 2 μᵀΣω_j + ‖ω_iᵀμ‖² + (d_i φ_i/L) μᵀ exp(ωωᵀ) μ}, to 60 digits."""
    with mpmath.workdps(60):
        w, loss = mpmath.matrix(omega.tolist()), mpmath.mpf(0)
        kernel = (w * w.T).apply(mpmath.exp)
        for i, block in enumerate(task.blocks):
            lam, part = mpmath.mpf(task.signal[i]), mpmath.matrix(omega[:, block].tolist())
            total = part * mpmath.ones(part.cols, 1)
            cost = (task.block_dims[i] + mpmath.mpf(task.noise) ** 2 / lam) / task.context_length
            mu = mpmath.lu_solve(part * part.T + cost * kernel, total)
            loss += lam * (task.block_dims[i] - (total.T * mu)[0])
        return loss


@pytest.mark.parametrize("length", [20, 10**6, 10**10])
@pytest.mark.parametrize("scale", [1e-3, 0.5, 2.0])
def test_the_loss_has_its_digits_and_is_never_below_the_least(scale, length):
    task = MultiTask((3, 2), [1.0, 0.7], length, noise=0.3)
    problem, directions = _Problem(task, 3), state(15, 3).reshape(3, 5)
    for gap in (1.0, 1e-3, 1e-6):
        # Heads alike but for the gap are read out at m up to 1/gap, which its rounding follows.
        U = np.vstack([directions[0], directions[0] + gap * directions[1:]])
        U /= np.linalg.norm(U)
        exact = least_in_mu(task, scale * U)
        error = float(problem.evaluate(scale, U)[0] / exact - 1)
        # Below it only by the roundings of 1 − m·u, of eps |m|, in a square.
        assert error > -1e-12
        # m has lost as many digits as L has, and ℓ is quadratic in that; the kernel's roundings.
        assert gap < 1 or error < 20 * (EPS * length) ** 2 + 1e-12


@pytest.mark.parametrize("scale", [20.0, 1e3])
def test_a_line_search_overflows_without_a_word_where_errors_are_raised(scale):
    problem = _Problem(TASK, 2)
    with np.errstate(all="raise", under="ignore"):
        loss, gradient = problem.objective(np.append(scale, state(10, 0)))
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


def test_a_singular_matrix_has_no_finite_loss(monkeypatch):
    def refuse(matrix, vector):
        raise np.linalg.LinAlgError

    problem, x = _Problem(TASK, 2), np.append(0.5, state(10, 0))
    monkeypatch.setattr(np.linalg, "solve", refuse)
    loss, by_scale, by_U = problem.evaluate(0.5, x[1:].reshape(2, 5))
    assert (loss, by_scale, by_U.tolist()) == (np.inf, 0.0, [[0.0] * 5] * 2)
    loss, gradient = problem.objective(x)
    assert loss > 1e200
    assert gradient.tolist() == [0.0] * 11


def test_the_kernels_curvature_where_the_series_ends():
    """Within 1e-3 it leaves x⁴/144 of itself; the quotient is good to ε/x² alone."""
    x = np.array([1e-3, -1e-3])
    series = 0.5 + x / 3 + x**2 / 8 + x**3 / 30 + x**4 / 144
    assert np.allclose(_curve(x), series, rtol=2e-14, atol=0)
