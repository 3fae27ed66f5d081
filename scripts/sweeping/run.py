"""From a case to its record, on whatever process or machine it is.

Values of a linear or merged record, losses E(ŷ − y_q)² without ½, time in units of τ:

- ``t``, ``loss``: the curve; ``drops_found``, ``heights_found``: drops and plateaus that stand out
  in it, without being told where to look (`numerics.find_plateaus`);
- ``plateaus``, ``plateaus_predicted``, ``plateau_errors``: losses where the flow is flattest
  between the drops, closed forms, measured over predicted − 1; NaN where not reached;
- ``drops``, ``drops_predicted``, ``drop_errors``: when the loss passes midway between predicted
  plateaus (inf for never), by the reduced cascade or, merged, the aligned head from the same
  weights, measured over it − 1;
- numbers ``final_loss``, ``minimum_loss`` (last plateau), ``excess`` (final over minimum − 1),
  ``drift`` of the conserved quantities, ``energy_gap`` over the first loss, ``evaluations``.

Those of a softmax record, losses summed over tasks, time that of [S]: numbers ``limit_loss`` by
[S]'s formula, ``exact_loss`` and ``optimum_loss`` of the limit's and of the best heads, by
quadrature, ``formula_gap`` = exact/limit − 1, ``optimum_gap`` = exact/optimum − 1,
``squared_norms``; and of the flow ``t``, ``loss``, ``drops_found``, ``heights_found``, ``drops``
(midway to the limit), ``final_loss``, ``excess`` over the limit, ``drift``, ``energy_gap``,
``evaluations``.
"""

from __future__ import annotations

import itertools
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics import (
    AttentionSystem,
    LinearTask,
    MergedAttention,
    MultiTask,
    SeparateAttention,
    SpectralAttention,
    SpectralSystem,
    Trajectory,
    drop_times,
    find_plateaus,
    population_moments,
    spectral_flow,
    system_flow,
)
from numerics.integrate.march import OverflowedError

from . import theory
from .case import AnyCase, LinearCase, MergedCase, SoftmaxCase
from .store import FINISHED, Record, Store

Array = NDArray[Any]
Values = dict[str, Array]

LEADING = 1.0  # the largest μ(0) for each task, [S]'s condition
# Threads of one process take turns: older SciPy keeps LSODA's state in globals, and the filters of
# warnings are the process's. Python would let one run at a time in any case.
_TURN = threading.Lock()


@dataclass(frozen=True)
class Limits:
    """When to give up a case: after `seconds`, or after `evaluations` of its right-hand side.

    Neither is part of the case. What was recorded up to there is kept, with a status that says so;
    a limit in seconds stops at another point in each run.
    """

    seconds: float | None = None
    evaluations: int | None = None


@dataclass(frozen=True)
class Done:
    """What a worker tells of a case: its status, or why it could not be kept."""

    key: str
    status: str
    unkept: str = ""


def work(case: AnyCase, folder: str, limits: Limits) -> Done:
    """Compute a case and write its file; this is what engines carry to their workers."""
    record = compute(case, limits)
    try:
        Store(folder).save(record)
    except OSError as error:
        return Done(case.key, record.status, f"{error.strerror or error}")
    return Done(case.key, record.status)


def compute(case: AnyCase, limits: Limits | None = None) -> Record:
    """Run a case; what goes wrong is in the status.

    Examples
    --------
    >>> record = compute(LinearCase([1.0], 10, init=0.1))
    >>> record.status, round(record.number("final_loss"), 4)
    ('finished', 0.1667)
    """
    import scipy

    values: Values = {}
    with _TURN, warnings.catch_warnings():
        # A warning must not end a case in one process and pass in another.
        warnings.simplefilter("ignore")
        watched = Watch(limits or Limits())
        try:
            run = _softmax if isinstance(case, SoftmaxCase) else _linear
            with watched.alarm():
                status = run(case, watched, values)  # type: ignore[arg-type]
        except LimitError:  # before the first step
            status = watched.reached
        except Exception as error:
            status = f"failed: {type(error).__name__}: {' '.join(str(error).split())}"
    software = f"NumPy {np.__version__}, SciPy {scipy.__version__}"
    return Record(case, status, values, software)


class LimitError(OverflowedError):
    """A limit is reached; as after an overflow, the solver's record up to there is kept."""


class Watch:
    """Counts evaluations of a gradient system, and ends the flow at a limit."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.reached, self.count = limits, "", 0
        self.end = None if limits.seconds is None else time.monotonic() + limits.seconds
        self.system: Any = None

    def on(self, system: Any) -> Any:
        """The same system, watched."""
        self.system = system
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.system, name)

    def velocity(self, theta: Array) -> Array:
        """That of the system; beyond a limit it is not for the solver, but for the record."""
        if not self.reached:
            self.count += 1
            most = self.limits.evaluations
            if most is not None and self.count > most:
                self.reached = f"stopped: {most} evaluations did not suffice"
            elif self.end is not None and time.monotonic() > self.end:
                self.reached = f"stopped: {self.limits.seconds:g} s did not suffice"
            if self.reached:
                raise LimitError
        return np.asarray(self.system.velocity(theta))

    @contextmanager
    def alarm(self) -> Iterator[None]:
        """End what takes long outside the flow too, where signals can: in the main thread."""
        seconds = self.limits.seconds
        main = threading.current_thread() is threading.main_thread()
        if seconds is None or not main or not hasattr(signal, "setitimer"):
            yield
            return

        def ring(*_: Any) -> None:
            self.reached = self.reached or f"stopped: {seconds:g} s did not suffice"
            raise LimitError

        before = signal.signal(signal.SIGALRM, ring)
        # The flow looks at the clock itself, and has this long to be read off.
        signal.setitimer(signal.ITIMER_REAL, seconds + max(1.0, 0.1 * seconds))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)

    def status(self, run: Trajectory) -> str:
        """How the run ended."""
        return self.reached or (FINISHED if run.status == FINISHED else run.status)


def _linear(case: LinearCase | MergedCase, watch: Watch, values: Values) -> str:
    spectrum, rng = np.array(case.eigenvalues), case.generator()
    model: MergedAttention | SeparateAttention
    if isinstance(case, MergedCase):
        model = MergedAttention(len(spectrum), case.heads)
        initial = model.initial_weights(case.init, rng=rng)
        predicted = theory.merged_theory(case, model, initial)
    else:
        model = SeparateAttention(len(spectrum), case.heads, case.rank)
        initial = model.initial_weights(case.init, rng=rng)
        predicted = theory.linear_theory(case, model, initial)
    values |= {"plateaus_predicted": predicted.plateaus, "drops_predicted": predicted.drops}
    task = LinearTask.from_eigenvalues(spectrum, case.context_length, noise=case.noise)
    # In the eigenbases the right-hand side is cheapest; losses do not depend on the basis.
    form, left, right = population_moments(task).eigenform()
    system = watch.on(AttentionSystem(model, form))
    start = model.rotate(initial, left, right)
    run = system_flow(system, start, case.duration or predicted.duration)
    _curve(run, values)
    if not np.isfinite(run.loss[0]):
        return watch.status(run)
    sane = _sane(run)
    drops = drop_times(sane.t, sane.loss, predicted.plateaus, loss_rate=sane.loss_rate)
    heights = _resting(sane, drops)
    with np.errstate(invalid="ignore", divide="ignore"):
        values |= {
            "plateaus": heights, "plateau_errors": heights / predicted.plateaus - 1,
            "drops": drops, "drop_errors": np.where(np.isfinite(drops), drops, np.nan)
            / predicted.drops - 1,
            "minimum_loss": predicted.plateaus[-1],
            "excess": run.loss[-1] / predicted.plateaus[-1] - 1,
        }  # fmt: skip
    return watch.status(run)


def _softmax(case: SoftmaxCase, watch: Watch, values: Values) -> str:
    known = theory.softmax_theory(case)
    values |= {
        name: np.asarray(value) for name, value in (
            ("limit_loss", known.limit), ("exact_loss", known.exact),
            ("optimum_loss", known.optimum), ("squared_norms", known.norms),
            ("formula_gap", known.exact / known.limit - 1),
            ("optimum_gap", known.exact / known.optimum - 1),
        )
    }  # fmt: skip
    quadrature = FINISHED if known.converged else "stopped: the quadrature did not converge"
    if case.init is None:
        return quadrature
    task = MultiTask(case.block_dims, case.signal, case.context_length, noise=case.noise)
    model = SpectralAttention(case.block_dims, case.heads, case.embedding_dim)
    duration = case.duration or theory.softmax_duration(case, LEADING)
    system = watch.on(SpectralSystem(model, task))
    run = spectral_flow(system, _start(case, model), duration)
    _curve(run, values)
    if not np.isfinite(run.loss[0]):
        return watch.status(run)
    sane = _sane(run)
    ends = [float(run.loss[0]), known.limit]
    values["drops"] = drop_times(sane.t, sane.loss, ends, loss_rate=sane.loss_rate)
    values["excess"] = np.asarray(run.loss[-1] / known.limit - 1)
    status = watch.status(run)
    return quadrature if status == FINISHED else status


def _start(case: SoftmaxCase, model: SpectralAttention) -> Array:
    """Balanced weights: equal ω, and a leader of its own for each task."""
    rng = case.generator()
    leaders = rng.permutation(case.heads)[: model.tasks]
    mu = rng.uniform(0.0, LEADING / 2, (case.heads, model.tasks))
    mu[leaders, np.arange(model.tasks)] = LEADING
    return model.balanced(np.full((case.heads, model.dimension), case.init), mu)


def _curve(run: Trajectory, values: Values) -> None:
    """What is read off any run."""
    found = find_plateaus(_sane(run))
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = np.abs(run.energy_gap).max() / run.loss[0]
    values |= {
        "t": run.t, "loss": run.loss, "drops_found": found.drops, "heights_found": found.heights,
        "final_loss": run.loss[-1], "drift": run.invariant_drift.max(), "energy_gap": gap,
        "evaluations": np.asarray(run.evaluations),
    }  # fmt: skip


def _sane(run: Trajectory) -> Trajectory:
    """A run up to where its loss overflows."""
    broken = np.flatnonzero(~(np.isfinite(run.loss) & np.isfinite(run.loss_rate)))
    if not len(broken):
        return run
    end = max(1, int(broken[0]))
    names = ("t", "states", "loss", "loss_rate", "invariant_drift", "energy_gap")
    cut = {name: getattr(run, name)[:end] for name in names}
    cut["loss_rate"] = np.nan_to_num(cut["loss_rate"])
    return replace(run, **cut)


def _resting(run: Trajectory, drops: Array) -> Array:
    """Losses where the flow is flattest before, between and after drops; NaN where not reached."""
    bounds = np.concatenate([[0.0], drops, [np.inf]])
    heights = np.full(len(bounds) - 1, np.nan)
    for i, (begin, end) in enumerate(itertools.pairwise(bounds)):
        inside = np.flatnonzero((run.t >= begin) & (run.t <= end))
        if len(inside) and np.isfinite(begin):
            heights[i] = run.loss[inside[run.loss_rate[inside].argmin()]]
    return heights
