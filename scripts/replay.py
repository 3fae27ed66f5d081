"""Replay a training run made with PyTorch: the same curve from NumPy, beside the theory's plateaus.

`python scripts/replay.py --help` shows what the file must hold, with an example.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import console

if TYPE_CHECKING:
    from replaying.gather import Gathered
    from replaying.inputs import Run
    from replaying.report import Result

PROGRAM = "replay.py"
MOST_STEPS = 100_000_000
PICTURES = (".png", ".svg", ".pdf")

DESCRIPTION = """\
Replay a training run made with PyTorch. From its data, rate and initial weights the run is trained
again in float64 with gradients written by hand; the curve is laid over the recorded one, beside the
plateaus that the theory predicts for that very sample. Linear attention and the two-layer network
are replayed from the sample's moments, at a cost per step that does not depend on P; softmax
attention on the sequences themselves.
"""

EPILOG = """\
RUN.npz holds (sizes: P sequences, N context pairs, D dimensions, H heads, R key-query pairs each)
  x                (P, N+1, D+1)   tokens (x_n, y_n); the query (x_q, 0) is the last
  y_q              (P,)            targets
  lr               one number      rate of plain full-batch gradient descent
  init_value_weight  (H(D+1), D+1), and either
    init_kq_weight   (H(D+1), D+1)                 merged layer, or
    init_key_weight, init_query_weight  (HR, D+1)  separate layer
  loss             (steps,)        optional: the recorded loss before each update
or, for a two-layer network on cubic features z = vec(β x_qᵀ),
  x (P, D²), y_q, lr, init_fc1_weight (H, D²), init_fc2_weight (1, H), and optionally loss

conventions: weights as nn.Linear stores them, heads stacked along the first axis; scores
x_q·(W_kq x_n) or (W_q x_q)·(W_k x_n) over all N+1 tokens, no 1/N; the prediction is the last
coordinate of the query's output, summed over heads; loss the mean square without ½, and loss[i] is
the loss BEFORE update i (a recording made after each update is noticed). Any floating type is read;
all is computed in float64. For linear attention with f times this loss and c times this output
(f = 0.5, c = 1/N, 1/√d), store loss / f, lr · f c^(2/p) and c^(1/p) times each weight; p = 3 for a
separate layer, 2 for a merged one.

memory: the sample is read once, in pieces, so that P may be as large as the disk allows. Softmax
attention and linear attention with D > 24 use the sequences in every step and hold all of them, in
float64; an array in Fortran order (np.asfortranarray, a transpose) is loaded whole too.

example, a merged layer with 8 heads (in a training script):
    value, kq = nn.Linear(D+1, H*(D+1), bias=False), nn.Linear(D+1, H*(D+1), bias=False)
    np.savez("run.npz", x=x.numpy(), y_q=y_q.numpy(), lr=0.001,
             init_value_weight=value.weight.detach().numpy().copy(),
             init_kq_weight=kq.weight.detach().numpy().copy(), loss=losses)
    python scripts/replay.py run.npz --json run.json

It writes run-replay.csv (the curve) and run-replay.png (the picture) beside the file, or into
--out. A run that diverges is no error: the step is printed, "status" in the JSON says so, and the
curve up to there is kept.

exit status: 0 replayed, or diverged; 2 misuse; 130 interrupted
"""


def make_parser() -> console.Parser:
    """Describe the command line."""
    parser = console.Parser(prog=PROGRAM, description=DESCRIPTION, epilog=EPILOG)
    add = parser.add_argument
    add("run", metavar="RUN.npz", help="the run, see below")
    add("--attention", choices=("linear", "softmax"),
        help="what the layer does with its scores (default linear)")  # fmt: skip
    add("--steps", type=console.integer(1), metavar="K",
        help="updates to replay (default: as many as the file has losses)")  # fmt: skip
    add("--out", metavar="DIR", help="folder for the curve and the picture, made if there is "
        "none (default: the folder of RUN.npz)")  # fmt: skip
    add("--plot", metavar="FILE", help="the picture instead: .png, .svg or .pdf")
    add("--csv", metavar="FILE", help="the curve instead: columns step, loss, given_loss, "
        "difference")  # fmt: skip
    add("--json", metavar="FILE", help="write all numbers")
    return parser


def check_outputs(options: argparse.Namespace) -> None:
    """Check, before anything is computed, that the files asked for can be written."""
    allowed = {"csv": (".csv",), "plot": PICTURES, "json": (".json",)}
    for name, suffixes in allowed.items():
        given = getattr(options, name)
        if given is not None:
            setattr(options, name, console.check_writable(given, f"--{name}", suffixes=suffixes))


def check_folder(options: argparse.Namespace) -> None:
    """Make the folder of the other files; call it when the sample is known to be good."""
    source = Path(options.run)
    folder = source.parent if options.out is None else console.make_folder(options.out)
    for name, ending in (("csv", ".csv"), ("plot", ".png")):
        if getattr(options, name) is None:
            path = folder / f"{source.stem}-replay{ending}"
            setattr(options, name, console.check_writable(path, "--out"))


def count_steps(run: Run, options: argparse.Namespace) -> int:
    """How many updates to replay."""
    if run.design == "network" and options.attention is not None:
        raise console.InputError(
            f"--attention: {options.run} holds a two-layer network, which has no attention"
        )
    if options.steps is None:
        if run.loss is None:
            raise console.InputError(f"--steps: needed, as {options.run} has no array loss")
        return len(run.loss)
    if options.steps > MOST_STEPS:
        raise console.InputError(f"--steps: must be <= {MOST_STEPS}, got {options.steps}")
    return int(options.steps)


def compute(run: Run, attention: str, gathered: Gathered, steps: int, source: str) -> Result:
    """Replay the run, compare it, and predict its plateaus."""
    from replaying import compare, engine, report, theory

    replayed = engine.replay(run, attention, gathered, steps)
    comparison = None
    if run.loss is not None:
        given = run.loss[:steps]
        broken = compare.first_not_finite(given)
        if broken is not None and replayed.diverged_at is None:
            raise console.InputError(
                f"{source}: loss must be finite, got {given[broken]} from entry {broken} on, where "
                "the replayed run is finite"
            )
        comparison = compare.compare(given, replayed.loss)
    plateaus = theory.predict(run, gathered)
    return report.Result(run, attention, steps, replayed, plateaus, comparison)


def write(result: Result, options: argparse.Namespace) -> None:
    """Write the curve, the numbers and the picture, each whole or not at all."""
    from replaying import picture, report

    files: list[Any] = [options.csv, options.plot]
    console.write_atomically(options.csv, report.to_csv(result))
    if options.json is not None:
        console.write_atomically(options.json, report.to_json(result))
        files.append(options.json)
    picture.save(options.plot, result)
    console.wrote(*files)


def body(argv: list[str] | None) -> int:
    """Read the run, replay it, and report."""
    options = make_parser().parse_args(argv)
    from replaying import gather, inputs, report

    run = inputs.read_run(options.run)
    steps = count_steps(run, options)
    check_outputs(options)
    attention = options.attention or "linear"
    console.progress(f"reading {len(run.sample)} sequences …")
    gathered = gather.gather(run, attention)
    check_folder(options)
    console.progress(f"replaying {steps} steps …")
    result = compute(run, attention, gathered, steps, options.run)
    print("\n".join(report.lines(result)))
    write(result, options)
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return console.run(body, argv, PROGRAM)


if __name__ == "__main__":
    sys.exit(main())
