import numpy as np
import pytest

import photograph


def test_patches_are_what_the_docstring_says():
    tokens = photograph.photograph_patches()
    second = tokens.T @ tokens / len(tokens)
    eigenvalues = np.diagonal(second)
    assert tokens.shape[1] == 4
    assert tokens.dtype == np.float64
    np.testing.assert_allclose(tokens.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(second, np.diag(eigenvalues), atol=1e-12)
    assert eigenvalues.sum() == pytest.approx(1, rel=1e-12)
    assert (np.diff(eigenvalues) < 0).all()
    assert eigenvalues[-1] > 0.05
    assert (photograph.kurtosis(tokens) > 10).all()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [((1,), "size"), ((4, 16), "components"), ((4, 0), "components"), ((4, 4, 0), "stride")],
)
def test_bad_numbers_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        photograph.photograph_patches(*arguments)


def test_command_writes_the_matrix(tmp_path, capsys):
    path = tmp_path / "patches.npy"
    assert photograph.main([str(path), "--size", "3", "--components", "2", "--stride", "5"]) == 0
    tokens = np.load(path, allow_pickle=False)
    np.testing.assert_array_equal(tokens, photograph.photograph_patches(3, 2, 5))
    assert "kurtosis" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["none/patches.npy"], "FILE.npy"),
        (["patches.csv"], "FILE.npy"),
        (["patches.npy", "--components", "16"], "--components"),
        (["patches.npy", "--stride", "400"], "--stride"),
        (["patches.npy", "--size", "x"], "--size"),
        ([""], "FILE.npy"),
    ],
)
def test_misuse_is_one_line(arguments, name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert photograph.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert name in captured.err
    assert not list(tmp_path.iterdir())
