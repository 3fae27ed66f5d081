"""What tests of `scripts/predict.py` share: a reference case, running it, an empty folder."""

import json
from pathlib import Path

import numpy as np
import pytest

import predict

REFERENCE = ["--eigenvalues", "0.4", "0.3", "0.2", "0.1"]
LAMBDA = [0.4, 0.3, 0.2, 0.1]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    """Take as `_in_empty_folder = support_predict.in_empty_folder`, and each test has its own."""
    monkeypatch.chdir(tmp_path)


def linear(*arguments):
    """Run `predict.py linear`, and read what it wrote."""
    assert predict.main(["linear", *arguments, "--json", "out.json"]) == 0
    return json.loads(Path("out.json").read_text(encoding="utf-8"))


@pytest.fixture
def heavy_tokens():
    rng = np.random.default_rng(0)
    tokens = rng.standard_t(5, size=(400, 3)) * [1.0, 0.7, 0.4]
    np.save("tokens.npy", tokens)
    return tokens
