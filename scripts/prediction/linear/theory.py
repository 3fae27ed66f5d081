"""What the theory says about one problem, as one value."""

from __future__ import annotations

import argparse
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import analytic
import console
from numerics import LinearTask, SeparateAttention, TokenTask, population_moments
from numerics.cascade.record import Cascade
from numerics.cascade.reduced import reduced_cascade

from .problem import make_model, make_task

Array = NDArray[Any]

# A cascade follows H(1 + D) scalars through D stages: 14 s for 32 modes and heads.
LARGEST_CASCADE = 700
# Equal gains differ by rounding where eigenvalues come from a matrix.
TIE = 1e-10


@dataclass(frozen=True, eq=False)
class Visit:
    """A fixed point on the way: the modes learned there, its loss, and whether it is left.

    `modes` counts in visit order, from 0; `index` is the number of directions of exponential
    escape; `rotates` says that it is reached by a head that turns to a mode worth more.
    """

    modes: tuple[int, ...]
    loss: float
    index: int
    rotates: bool
    drop_time: float | None

    @property
    def name(self) -> str:
        """The modes as people count them, from 1; the first n in short."""
        if len(self.modes) > 3 and self.modes == tuple(range(len(self.modes))):
            return f"{{1…{len(self.modes)}}}"
        return "{" + ",".join(str(d + 1) for d in self.modes) + "}"


@dataclass(frozen=True, eq=False)
class Prediction:
    """All modes are in visit order: falling growth λ²ω.

    `plateaus` are M_0 … M_m, `all_plateaus` M_0 … M_D. `order` holds the place of each mode in
    the eigenvalues as given (descending for a matrix). `drop_times` are those of the cascade from
    the initial weights, inf for never. `matrices` are what the modes add to M. `visits` is the
    path from these weights, detours included.
    """

    task: LinearTask | TokenTask
    model: SeparateAttention
    initial: Array
    count: int
    tau: float
    eigenvalues: Array
    task_eigenvalues: Array
    order: Array
    growth: Array
    gains: Array
    matrices: Array
    all_plateaus: Array
    gaussian_plateaus: Array
    commuting: bool
    cascade: Cascade | None
    visits: tuple[Visit, ...]

    @property
    def gaussian(self) -> bool:
        """Whether tokens are Gaussian by assumption."""
        return isinstance(self.task, LinearTask)

    @property
    def plateaus(self) -> Array:
        """M_0 … M_m."""
        return self.all_plateaus[: self.count + 1]

    @property
    def drop_times(self) -> Array | None:
        """When each of the first m modes is learned: inf never, NaN unknown; None not tried."""
        if self.cascade is None:
            return None
        # With a pair for each mode, one that is worth learning is learned: else the solver failed.
        able = (self.gains > 0) & (self.model.pairs >= len(self.growth))
        times = np.where(able, np.nan, np.inf)
        times[list(self.cascade.learned)] = self.cascade.drop_times[: len(self.cascade.learned)]
        return times[: self.count]

    @property
    def stability(self) -> list[int]:
        """Number of directions of exponential escape at M_0 … M_m."""
        return [_index(range(m), self.gains) for m in range(self.count + 1)]


def predict(options: argparse.Namespace) -> Prediction:
    """Predict plateaus, order and drop times for the parsed options."""
    task, values, omega, basis = make_task(options)
    model, initial, count = make_model(options, len(values))
    order = analytic.visit_order(values, task_eigenvalues=omega)
    values, omega, basis = values[order], omega[order], basis[:, order]
    length, law = options.context_length, {"task_eigenvalues": omega, "noise": options.noise}
    gaussian = analytic.plateau_losses(values, length, **law)
    if isinstance(task, TokenTask):
        modes, plateaus, commuting = _token_modes(task, basis)
        growth, gains, matrices = modes.growth, modes.gains, modes.matrices
    else:
        growth = analytic.mode_growth(values, task_eigenvalues=omega)
        gains = analytic.mode_gains(values, length, **law)
        plateaus, commuting = gaussian, True
        sizes = np.divide(gains, growth, out=np.zeros_like(gains), where=growth > 0)
        matrices = sizes[:, None, None] * basis.T[:, :, None] * basis.T[:, None, :]
    try:
        cascade = _cascade(task, model, initial, basis, gains, options.tau)
    except ValueError as error:
        if (ours := _refused(error, options)) is None:
            raise
        raise ours from error
    drawn = range(count) if cascade is None else cascade.learned
    learned = [d for d in drawn if d < count and gains[d] > 0]
    rates = np.maximum(gains[None, :] - gains[:, None], 0.0)
    if isinstance(task, LinearTask):
        for i, d in np.argwhere((rates > 0) & (gains > 0)[:, None]).tolist():
            rates[i, d] = -analytic.rotation_eigenvalues(i, d, values, length, **law)[0] / 2
    visits = _visits(learned, gains, plateaus, rates, cascade)
    return Prediction(
        task, model, initial, count, options.tau, values, omega, order, growth, gains, matrices,
        plateaus, gaussian, commuting, cascade, visits,
    )  # fmt: skip


def _token_modes(task: TokenTask, basis: Array) -> tuple[analytic.GeneralModes, Array, bool]:
    """Modes and plateaus from the tokens' own fourth moment; whether S commutes with Λ."""
    second = analytic.token_second_moment(
        task.covariance,
        task.fourth_moment,
        1 / task.inverse_context_length if task.inverse_context_length else np.inf,
        task_covariance=task.task_covariance,
        noise=task.noise,
    )
    modes = analytic.general_modes(task.covariance, second, task_covariance=task.task_covariance)
    plateaus = analytic.general_plateau_losses(
        task.covariance, second, task_covariance=task.task_covariance
    )
    rotated = basis.T @ second @ basis
    off = np.abs(rotated - np.diag(np.diagonal(rotated))).max()
    return modes, plateaus, bool(off <= 1e-8 * np.abs(rotated).max())


def _cascade(
    task: LinearTask | TokenTask,
    model: SeparateAttention,
    initial: Array,
    basis: Array,
    gains: Array,
    tau: float,
) -> Cascade | None:
    """Drop times from the initial weights; None where that would take long.

    Small weights grow along the eigenvectors of ΛΩΛ, which are Λ's here, at its eigenvalues; each
    stops where the loss has fallen by its gain = growth²/curvature. Where S does not commute with
    Λ this leaves out how the modes push each other.
    """
    if model.heads * (1 + model.dimension) > LARGEST_CASCADE:
        return None
    moments = population_moments(task)
    growth = np.maximum(np.diagonal(basis.T @ moments.correlation @ basis), 0.0)
    level = np.diagonal(basis.T @ moments.second_moment @ basis)
    curvature = level * np.diagonal(basis.T @ moments.covariance @ basis)
    alive = gains > 0
    curvature = np.where(alive, growth**2 / np.where(alive, gains, 1.0), curvature)
    theta = model.rotate(initial, basis, basis)
    growth = np.where(alive, growth, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the solver's; the status says the same
        return reduced_cascade(model, growth, curvature, theta, energy=moments.energy, tau=tau)


def _refused(error: ValueError, options: argparse.Namespace) -> console.InputError | None:
    """What the cascade refuses, by the name of an option; None for a mistake of ours."""
    start = "--init" if options.initial is None else f"--initial {options.initial}"
    data = next(n for n in ("eigenvalues", "covariance", "tokens") if getattr(options, n))
    for name, option in {"initial": start, "growth": f"--{data}", "curvature": f"--{data}"}.items():
        if str(error).startswith(f"{name} must be"):
            return console.InputError(f"{option}: {console.one_line(error)}")
    return None


def _index(learned: Any, gains: Array) -> int:
    """Number of pairs of a learned mode and one not learned that is worth more.

    `analytic.stability_index` counts the same where everything commutes. In general it follows by
    congruence: K = S^{1/2} M Λ^{1/2} turns the loss into ‖K − B‖², and the number of negative
    directions does not depend on the coordinates.
    """
    inside = np.isin(np.arange(len(gains)), list(learned))
    return int((gains[~inside][:, None] > gains[inside] * (1 + TIE)).sum())


def _visits(
    learned: list[int], gains: Array, plateaus: Array, rates: Array, cascade: Cascade | None
) -> tuple[Visit, ...]:
    """The fixed points met in turn: learn the next mode, then turn heads while that pays.

    Turning takes t ~ ln(1/weights), the next mode t ~ 1/weights: from small weights turning wins.
    """
    here: list[int] = []
    visits = [Visit((), float(plateaus[0]), 0, False, None)]
    detour = False
    for place in range(len(learned)):
        # Where a head has turned away from a mode, another learns that one next.
        here.append(next(d for d in learned if d not in here))
        time = None if cascade is None or detour else float(cascade.drop_times[place])
        visits.append(_visit(here, gains, plateaus, False, time))
        while visits[-1].index:
            outside = [d for d in range(len(gains)) if d not in here]
            old, new = max(
                ((i, d) for i in here for d in outside), key=lambda pair: rates[pair[0], pair[1]]
            )
            here[here.index(old)] = new
            detour = True
            visits.append(_visit(here, gains, plateaus, True, None))
    return tuple(visits)


def _visit(
    here: list[int], gains: Array, plateaus: Array, rotates: bool, time: float | None
) -> Visit:
    # From the last plateau up, so that small losses keep their digits.
    missing = [d for d in range(len(gains)) if d not in here]
    loss = float(plateaus[-1] + gains[missing].sum())
    return Visit(tuple(sorted(here)), loss, _index(here, gains), rotates, time)
