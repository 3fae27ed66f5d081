"""Multi-task sequences: their law, their blocks and what is refused."""

import numpy as np
import pytest

from numerics import MultiTask, sample_multitask


def test_sampled_tasks_are_what_they_say():
    task = MultiTask((2, 3), signal=[0.5, 2.0], context_length=6, noise=0.4)
    tokens, target = sample_multitask(task, 20_000, rng=0)
    x, y = tokens[..., :5], tokens[:, :-1, 5:]
    assert not tokens[:, -1, 5:].any()
    count = len(tokens)
    for i, (variance, block) in enumerate(zip([1.0, 6.0], task.blocks, strict=True)):
        # Variances v = λ d + σ² and λ d. Labels are normal for given g, whose spread makes
        # E y⁴ = 3 E(λ‖z‖² + σ²)² ≤ 3 (1 + 2/d) v² ≤ 6 v²: five standard errors of a mean over
        # sequences, as the labels of one share g.
        allowed = 5 * np.sqrt(5.0 / count)
        assert np.mean(y[..., i] ** 2) == pytest.approx(variance + 0.16, rel=allowed)
        assert np.mean(target[:, i] ** 2) == pytest.approx(variance, rel=allowed)
        # Outside the block x_j is independent of y, so E(x_j y)² = v.
        outside = np.delete(np.arange(5), np.r_[block])
        moment = np.einsum("pnj,pn->j", x[:, :-1, outside], y[..., i]) / y[..., i].size
        assert np.abs(moment).max() <= 5 * np.sqrt((variance + 0.16) / count)
    assert task.noise_factor == pytest.approx([1.16, 1 + 0.16 / 6])


def test_without_noise_labels_lie_in_their_block():
    """L ≥ d_i pairs determine g_i, which must then give the target too."""
    task = MultiTask((2, 3), 1.0, 6)
    tokens, target = sample_multitask(task, 5, rng=3)
    for X, y in zip(tokens, target, strict=True):
        for i, block in enumerate(task.blocks):
            g = np.linalg.lstsq(X[:-1, block], X[:-1, 5 + i], rcond=None)[0]
            assert g @ X[-1, block] == pytest.approx(y[i], abs=1e-9)
    again = sample_multitask(task, 5, rng=3)
    assert (again[0] == tokens).all()
    assert (again[1] == target).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (((), 1.0, 5), ValueError, "block_dims must name at least one task"),
        ((3, 1.0, 5), TypeError, "block_dims must be a sequence"),
        (((2, 0), 1.0, 5), ValueError, "each of block_dims must be >= 1"),
        (((2, 1.5), 1.0, 5), TypeError, "each of block_dims must be an integer"),
        (((2,), 1.0, 0), ValueError, "context_length must be >= 1"),
        (((2,), 0.0, 5), ValueError, "signal must be > 0"),
        (((2,), [1.0, 2.0], 5), ValueError, "length of signal is 2"),
        (((2,), 1.0, 5, -1.0), ValueError, "noise must be >= 0"),
    ],
)
def test_tasks_that_cannot_be_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        MultiTask(*arguments[:3], noise=sum(arguments[3:]))
    with pytest.raises(ValueError, match="count must be >= 1"):
        sample_multitask(MultiTask((2,), 1.0, 3), 0)
