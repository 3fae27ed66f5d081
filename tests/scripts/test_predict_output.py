"""Pictures and the terminal."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

import console
import predict
import style
from prediction.linear import picture, theory
from tests.scripts import support_predict
from tests.scripts.support_predict import REFERENCE

_in_empty_folder = support_predict.in_empty_folder


@pytest.mark.parametrize(
    "values", [["0.4444", "0.3708", "0.02", "0.01"], [str(1 / d**2) for d in range(1, 17)]]
)
def test_labels_of_plateaus_do_not_overlap(values):
    options = predict.make_parser().parse_args(["linear", "--eigenvalues", *values])
    predict.check_linear(options)
    prediction = theory.predict(options)
    figure, ax = style.figure(5.6, 3.3)
    picture.draw(ax, prediction, [])
    figure.canvas.draw()
    labels = [text for text in ax.texts if text.get_text().startswith("{")]
    assert {"{}", prediction.visits[-1].name} <= {label.get_text() for label in labels}
    places = [ax.transData.transform(label.get_position())[1] for label in labels]
    heights = [Text.get_window_extent(label).height for label in labels]
    assert min(-np.diff(places)) > max(heights)
    if len(values) == 4:
        assert len(labels) == 5


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_plots(suffix):
    assert predict.main(["linear", *REFERENCE, "--plot", f"run.{suffix}"]) == 0
    assert [path.name for path in Path().iterdir()] == [f"run.{suffix}"]


def test_table_has_no_colour_codes_in_a_pipe(capsys):
    assert predict.main(["linear", *REFERENCE]) == 0
    captured = capsys.readouterr()
    assert "\033" not in captured.out
    assert "minimum loss 0.135995" in captured.out
    assert captured.err == ""


def test_colours_only_on_a_terminal_that_wants_them(monkeypatch):
    class Terminal:
        def isatty(self):
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert console.colours(Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not console.colours(Terminal())


def test_help_teaches_and_imports_nothing_heavy():
    script = Path(predict.__file__)
    code = (
        f"import sys; sys.path.insert(0, {str(script.parent)!r}); import predict; "
        "status = predict.main(['linear', '--help']); "
        "assert not {'numpy', 'scipy', 'matplotlib', 'analytic', 'numerics'} & set(sys.modules); "
        "sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--tokens patches.npy" in done.stdout
    assert "predict.py linear --eigenvalues 0.4 0.3 0.2 0.1" in done.stdout
