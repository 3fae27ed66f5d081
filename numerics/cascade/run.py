"""What a head keeps when it has learned a mode: the rule of `reduced`, stage by stage."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics.cascade.stages import Heads, Stage, StageEquations, run_stage

Array = NDArray[Any]

# Without a duration, how long to wait for a mode, in units of 1/(growth · weight scale), and how
# long to let the last one settle, in units of its relaxation time.
PATIENCE = 1e4
SETTLING = 30.0


class CascadeRun:
    """The succession of stages; `integrate` fills `stages`, `learned` and `winners`."""

    def __init__(
        self, heads: Heads, growth: Array, curvature: Array, stop: float | None, rtol: float
    ) -> None:
        self.heads, self.growth, self.curvature = heads, growth, curvature
        self.stop, self.rtol = stop, rtol
        self.scale = float(np.sqrt(np.mean(heads.v**2) + np.mean(heads.p**2 + heads.n**2)))
        self.stages: list[Stage] = []
        self.learned: list[int] = []
        self.winners: list[int] = []
        self.occupied: dict[int, list[Array]] = {}
        self.status = "finished"

    def integrate(self) -> None:
        """Run stages until the end, or until nothing more can be learned and that is settled."""
        turned: set[int] = set()
        start = 0.0
        while True:
            equations = StageEquations(self.heads, self.growth, self.curvature)
            able = (self.growth > 0) & equations.active.any(axis=0)
            waiting = [d for d in range(len(able)) if able[d] and d not in self.learned]
            stage = run_stage(equations, start, self._end(start, waiting), waiting, self.rtol)
            if stage.interrupted:
                mode, head = self._winner(stage, waiting)
                group = self._degenerate(mode)
                if len(group) > 1 and not turned.issuperset(group):
                    # No mode of the group has grown before this stage: turn its basis, redo.
                    self._turn(head, group)
                    turned.update(group)
                    continue
                self._learn(stage, mode, head)
                turned.clear()
            self.stages.append(stage)
            start = float(stage.t[-1])
            if not stage.interrupted:
                break
        if stage.failure is not None:
            self.status = f"stopped: {stage.failure}"
        elif self.stop is None and waiting:
            self.status = f"stopped: modes {waiting} are still not learned at t = {start:.3g}"

    def _end(self, start: float, waiting: list[int]) -> float:
        if self.stop is not None:
            return self.stop
        if waiting:
            return start + PATIENCE / float(self.growth[waiting].min() * (self.scale or 1.0))
        last = self.learned[-1] if self.learned else int(self.growth.argmax())
        if not self.growth[last] > 0:
            return start + 1.0
        value = (self.growth[last] / self.curvature[last]) ** (1 / 3)  # v of [L] Eq. 20
        return max(1.1 * start, start + SETTLING / float(self.growth[last] * value))

    def _winner(self, stage: Stage, waiting: list[int]) -> tuple[int, int]:
        """The mode nearest its target among those waiting, and the head that holds most of it."""
        shares = stage.equations.contributions(stage.y[-1])
        target = self.growth[waiting] / self.curvature[waiting]
        mode = waiting[int((shares.sum(axis=0)[waiting] / target).argmax())]
        return mode, int(shares[:, mode].argmax())

    def _degenerate(self, mode: int) -> list[int]:
        """Modes not yet learned with this mode's growth and curvature."""
        equal = np.isclose(self.growth, self.growth[mode], rtol=1e-10, atol=0.0)
        equal &= np.isclose(self.curvature, self.curvature[mode], rtol=1e-10, atol=0.0)
        return [d for d in np.flatnonzero(equal).tolist() if d not in self.learned]

    def _turn(self, head: int, group: list[int]) -> None:
        """Choose the basis of a degenerate eigenspace in which a head's pairs are aligned."""
        right = np.linalg.svd(self.heads.leading(head)[:, group])[2]
        self.heads = self.heads.rotated(group, right.T)

    def _learn(self, stage: Stage, mode: int, head: int) -> None:
        """Occupy the direction of the winning head's component along the mode."""
        equations = stage.equations
        H, D = equations.H, equations.D
        y = stage.y[-1]
        self.heads = self.heads.advanced(y[:H], y[H:].reshape(H, D))
        self.learned.append(mode)
        self.winners.append(head)
        directions = self.occupied.setdefault(head, [])
        u = self.heads.leading(head)[:, mode]
        for taken in directions:
            u = u - taken * (taken @ u)
        if np.linalg.norm(u) > 0:
            directions.append(u / np.linalg.norm(u))
        rest = [d for d in range(D) if d not in self.learned]
        if rest:
            self.heads = self.heads.without(head, directions, rest)
