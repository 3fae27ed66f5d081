"""What is written down of one claim that was run."""

from __future__ import annotations

import base64
import io
import math
import time
import traceback
from dataclasses import dataclass, field
from typing import Any

from claims.base import Check, Claim, Evidence, Settings


@dataclass(frozen=True)
class CheckRecord:
    """One check, as plain data."""

    quantity: str
    predicted: Any
    measured: Any
    error: float
    tolerance: float
    because: str
    holds: bool
    beyond: bool
    control_error: float | None = None
    flips: bool | None = None


@dataclass(frozen=True)
class Record:
    """One claim that was run, as plain data, with its picture as SVG text."""

    id: str
    source: str
    kind: str
    statement: str
    regime: str
    verdict: str
    seconds: float
    checks: list[CheckRecord] = field(default_factory=list)
    note: str = ""
    picture: str = ""
    decisive: CheckRecord | None = None

    @property
    def controls_flip(self) -> bool | None:
        """Whether every negative control flips; None where controls were not run."""
        flips = [check.flips for check in self.checks]
        if not flips or any(flip is None for flip in flips):
            return None
        return all(flips)

    def as_json(self) -> dict[str, Any]:
        """The record with the fields that a machine reads; the decisive check comes first."""
        main = self.decisive
        out: dict[str, Any] = {
            "id": self.id,
            "source": self.source,
            "kind": self.kind,
            "statement": self.statement,
            "regime": self.regime,
            "predicted": _finite(main.predicted) if main else None,
            "measured": _finite(main.measured) if main else None,
            "error": _finite(main.error) if main else None,
            "tolerance": main.tolerance if main else None,
            "verdict": self.verdict,
            "seconds": round(self.seconds, 3),
            "note": self.note,
            "checks": [_check_as_json(check) for check in self.checks],
        }
        if self.controls_flip is not None:
            out["controls_flip"] = self.controls_flip
        return out

    def picture_as_link(self) -> str:
        """The picture as a data address that a page can hold."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.picture.encode()).decode()


def _check_as_json(check: CheckRecord) -> dict[str, Any]:
    names = ["quantity", "predicted", "measured", "error", "tolerance", "because", "holds",
             "beyond"]  # fmt: skip
    out = {name: _finite(getattr(check, name)) for name in names}
    if check.flips is not None:
        out |= {"control_error": _finite(check.control_error), "flips": check.flips}
    return out


def _finite(value: Any) -> Any:
    """NaN and infinity are no JSON numbers; null stands for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return [_finite(v) for v in value] if isinstance(value, list) else value


def run_claim(claim: Claim, settings: Settings, *, controls: bool = False) -> Record:
    """Run one claim; an exception inside it is a failed claim with the reason in its note."""
    started = time.perf_counter()
    try:
        evidence = claim.run(settings)
        checks = [_record_of(check, controls) for check in evidence.checks]
        decisive = checks[evidence.checks.index(evidence.decisive)]
        verdict, note, picture = evidence.verdict, evidence.note, _picture(evidence)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        checks, decisive, verdict, picture = [], None, "fails", ""
        note = f"raised {type(error).__name__} in {last.name}: {error}"
    return Record(
        claim.id, claim.source, claim.kind, claim.statement, claim.regime, verdict,
        time.perf_counter() - started, checks, note, picture, decisive,
    )  # fmt: skip


def _record_of(check: Check, controls: bool) -> CheckRecord:
    control = check.control() if controls else None
    return CheckRecord(
        check.quantity,
        check.predicted,
        check.measured,
        check.error,
        check.tolerance,
        check.because,
        check.holds,
        check.beyond,
        None if control is None else control.error,
        None if control is None else control.holds != check.holds,
    )


def _picture(evidence: Evidence) -> str:
    """Draw the claim's picture, or its errors against their tolerances, as SVG."""
    import style

    fig, ax = style.figure()
    with style.look():
        if evidence.draw is None:
            style.errors_against_tolerances(ax, evidence.checks)
        else:
            evidence.draw(ax)
    buffer = io.StringIO()
    style.save(fig, buffer, format="svg")
    return buffer.getvalue()
