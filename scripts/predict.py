"""Predict how attention learns in context: plateaus, their order, and the time of each drop.

`python scripts/predict.py linear --help` and `softmax --help` show all options with examples.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

import console
from prediction.linear.options import add_linear, check_linear
from prediction.softmax.options import add_softmax, check_softmax

if TYPE_CHECKING:
    from prediction.linear.measured import Measured
    from prediction.linear.theory import Prediction

PROGRAM = "predict.py"
EPILOG = """examples:
  python scripts/predict.py linear             the plateaus, their order and drops of [L] Fig. 3
  python scripts/predict.py linear --eigenvalues 0.5 0.3 0.2 --context-length 20 --plot mine.png
  python scripts/predict.py softmax            the losses of [S] Fig. 1
  python scripts/predict.py linear --help      all options of one kind, with more examples

exit status: 0 done; 2 misuse; 130 interrupted"""


def make_parser() -> console.Parser:
    """Describe the command line."""
    parser = console.Parser(
        prog=PROGRAM,
        description="Predict how attention learns in-context regression: plateaus, drops, losses.",
        epilog=EPILOG,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="MODEL")
    add_linear(commands)
    add_softmax(commands)
    return parser


def measure(prediction: Prediction, options: argparse.Namespace, curve: Any) -> list[Measured]:
    """Run and read what the options ask for, in the order in which it is reported."""
    from prediction.linear import measured

    runs = []
    if options.flow:
        runs.append(measured.run_flow(prediction))
    if options.gradient_descent:
        runs.append(measured.run_descent(prediction, options))
    if curve is not None:
        overlay = measured.convert_overlay(prediction, options, curve)
        ours: Any = runs[0] if options.flow else prediction.cascade
        if ours is not None:
            name = "the gradient flow" if options.flow else "the predicted run"
            overlay.facts["compared_with"] = name
            overlay.facts["rms_distance"] = measured.distance(overlay, ours.t, ours.loss)
        runs.append(overlay)
    return runs


def linear(options: argparse.Namespace) -> int:
    """Predict, check where asked to, and report."""
    check_linear(options)
    from prediction import inputs
    from prediction.linear import report
    from prediction.linear.theory import predict
    from prediction.linear.warn import find_warnings

    # Before anything is computed or said: a mistake in a file should show at once.
    curve = options.overlay and inputs.read_curve(options.overlay, options.steps_per_row)
    prediction = predict(options)
    warnings = find_warnings(prediction, options.init)
    report.print_prediction(prediction, options, warnings)
    runs = measure(prediction, options, curve)
    for run in runs:
        report.print_measured(prediction, run, options)
    if options.json is not None:
        console.write_atomically(options.json, report.to_json(prediction, options, warnings, runs))
    if options.plot is not None:
        from prediction.linear import picture

        picture.save(options.plot, prediction, runs)
    console.wrote(options.plot, options.json)
    return 0


def softmax(options: argparse.Namespace) -> int:
    """Predict and report."""
    check_softmax(options)
    from prediction import inputs
    from prediction.softmax import measured, report
    from prediction.softmax.phases import find_phases
    from prediction.softmax.theory import predict
    from prediction.softmax.warn import find_warnings

    curve = options.overlay and inputs.read_curve(options.overlay, options.steps_per_row)
    prediction = predict(options)
    phases = None
    if options.init is not None:
        phases = find_phases(prediction.tasks, prediction.length, *options.init)
    warnings = find_warnings(prediction, phases)
    report.print_prediction(prediction, phases, warnings)
    run = None if curve is None else measured.compare(prediction, options, curve)
    if run is not None:
        print(measured.text(run))
    if options.json is not None:
        text = report.to_json(prediction, options, phases, warnings, run)
        console.write_atomically(options.json, text)
    if options.plot is not None:
        from prediction.softmax import picture, run_picture

        if run is None:
            picture.save(options.plot, prediction)
        else:
            run_picture.save(options.plot, run, phases)
    console.wrote(options.plot, options.json)
    return 0


COMMANDS = {"linear": linear, "softmax": softmax}


# Which a reader of [L] may look for here.
MERGED = (
    "merged: keys and queries merged into one matrix make one drop, the logistic of "
    "analytic.white_time_course on white tokens; train.py --design merged trains such a layer, "
    "sweep.py run --merged many, beside the theory"
)


def body(argv: list[str] | None) -> int:
    """Parse the arguments and run the command they name."""
    if (sys.argv[1:] if argv is None else argv)[:1] == ["merged"]:
        raise console.InputError(MERGED)
    options = make_parser().parse_args(argv)
    return COMMANDS[options.command](options)


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return console.run(body, argv, PROGRAM)


if __name__ == "__main__":
    sys.exit(main())
