"""What the theory says about a run before it is made: at which losses it pauses.

The expected loss of linear attention is that of its reduced model wherever the
blocks that act on labels are zero, as w and the noise are symmetric about zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import analytic
from numerics import LinearTask, TokenTask

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Theory:
    """Predicted losses of the population, in the order of the visits.

    `growth` (D,) is that of all modes; `modes` says how many are learned at each of
    the `losses`, which are empty where there is no closed form, as the `note` says.
    """

    growth: Array
    modes: list[int]
    losses: list[float]
    note: str


def predict(task: LinearTask | TokenTask, design: str, attention: str, pairs: int) -> Theory:
    """Modes of the task, and the plateaus of the layer with `pairs` key-query pairs in all."""
    growth, losses, law = _modes(task)
    if attention == "softmax":
        drops = "one abrupt drop" if design == "merged" else "several drops"
        note = f"none predicted: softmax attention has no closed form; [L] Fig. 5 shows {drops}"
        return Theory(growth, [], [], note)
    size = len(growth)
    if design == "merged":
        note = f"of the population, {law}: zero and the minimum ([L] Eq. 9)"
        return Theory(growth, [0, size], [losses[0], losses[-1]], note)
    count = min(size, pairs)
    note = f"of the population, {law} ([L] Eq. 19)"
    return Theory(growth, list(range(count + 1)), losses[: count + 1], note)


def _modes(task: LinearTask | TokenTask) -> tuple[Array, list[float], str]:
    """Growth and plateaus in visit order, and what is known of the tokens."""
    length = 1 / task.inverse_context_length
    if isinstance(task, LinearTask):
        values = np.sort(np.linalg.eigvalsh(task.covariance))[::-1]
        growth = analytic.mode_growth(values)
        losses = analytic.plateau_losses(values, length, noise=task.noise)
        return growth, losses.tolist(), "Gaussian tokens"
    second = analytic.token_second_moment(
        task.covariance, task.fourth_moment, length, task_covariance=task.task_covariance,
        noise=task.noise,
    )  # fmt: skip
    modes = analytic.general_modes(task.covariance, second)
    general = analytic.general_plateau_losses(task.covariance, second)
    return modes.growth, general.tolist(), "from the tokens' fourth moment"
