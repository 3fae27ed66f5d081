"""Sweeps: what a record says, the same bits on any engine, reports, and limits."""

import csv
import math
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import pytest

import analytic
import numerics
import sweep as script
from analytic import softmax as closed
from sweeping import Limits, LinearCase, SoftmaxCase, Store, compute, engines, expand, sweep, theory
from sweeping.grid import shard
from sweeping.rows import rows_of
from tests.scripts import support_sweep
from tests.scripts.support_engines import boom, fragile
from tests.scripts.support_sweep import CASES, LINEAR, files, listed

_in_empty_folder = support_sweep.in_empty_folder


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """The files of `CASES`, computed one after the other in this process."""
    folder = tmp_path_factory.mktemp("serial")
    assert sweep(CASES, folder).unfinished == {}
    return files(folder)


# What a record says


def test_a_linear_record_is_the_gradient_flow_beside_the_theory():
    """The same weights in another basis and by another route: solver tolerances of 1e-8.

    A drop time moves by the error of the weights over their rate, some 1e2 times that.
    """
    case = LinearCase([0.2, 0.5], 9, rank=2, noise=0.3, init=0.02, seed=3)
    record = compute(case)
    assert record.status == "finished"
    task = numerics.LinearTask.from_eigenvalues([0.2, 0.5], 9, noise=0.3)
    model = numerics.SeparateAttention(2, 2, 2)
    initial = model.initial_weights(0.02, rng=case.generator())
    run = numerics.gradient_flow(model, numerics.population_moments(task), initial,
                                 float(record.values["t"][-1]))  # fmt: skip
    plateaus = analytic.plateau_losses([0.2, 0.5], 9, noise=0.3)
    drops = numerics.drop_times(run.t, run.loss, plateaus, loss_rate=run.loss_rate)
    np.testing.assert_allclose(record.values["plateaus_predicted"], plateaus, rtol=1e-14)
    np.testing.assert_allclose(record.values["drops"], drops, rtol=1e-6)
    assert record.number("final_loss") == pytest.approx(float(run.loss[-1]), rel=1e-6)
    cascade = numerics.task_cascade(model, task, initial)
    np.testing.assert_allclose(record.values["drop_errors"], drops / cascade.drop_times - 1,
                               rtol=0, atol=1e-6)  # fmt: skip
    assert record.number("drift") < 1e-6
    # The weights are small: it starts on M_0, rests near M_1 and ends on M_2.
    assert np.abs(record.values["plateau_errors"][[0, 2]]).max() < 1e-3


def test_few_pairs_learn_few_modes():
    record = compute(LinearCase([0.5, 0.3, 0.2], 20, heads=1, rank=2, init=0.01))
    plateaus = analytic.plateau_losses([0.5, 0.3, 0.2], 20)[:3]
    np.testing.assert_allclose(record.values["plateaus_predicted"], plateaus, rtol=1e-14)
    assert np.isfinite(record.values["drops"]).all()
    # The decay after the last drop is seen for 1.3 drop times at least.
    assert record.number("excess") < 1e-4


def test_a_softmax_record_is_the_spectral_flow_beside_the_exact_losses():
    case = SoftmaxCase([10, 10], 100, noise=0.5, signal=[1.0, 2.0], seed=1)
    record = compute(case)
    assert record.status == "finished"
    sizes, signal = np.array([10, 10]), np.array([1.0, 2.0])
    limit = closed.limit_loss(sizes, signal, 100, noise=0.5)
    assert record.number("limit_loss") == pytest.approx(float(limit), rel=1e-14)
    point = closed.limit_weights(sizes, signal, 100, noise=0.5)
    task = numerics.MultiTask((10, 10), signal, 100, noise=0.5)
    exact = numerics.exact_loss(point.omega_bar, point.mu, task)
    # Both by quadrature to 1e-9; distinct heads add nothing to a task they do not serve.
    assert record.number("exact_loss") == pytest.approx(exact.value, rel=1e-8)
    assert record.number("optimum_loss") < record.number("exact_loss")
    # Other heads' weights on a task decay as 1/t only: the flow is not quite there.
    assert 0 < record.number("excess") < 0.01
    assert math.isnan(compute(SoftmaxCase([10], 100, init=None)).number("final_loss"))


def test_streams_follow_the_content():
    case, other = LinearCase([0.5, 0.3], 9), LinearCase([0.5, 0.3], 10)
    assert case.generator().random() != other.generator().random()
    longer = LinearCase([0.5, 0.3], 9, duration=7.0)
    assert case.generator().random() == longer.generator().random()
    assert case.key != longer.key
    assert LinearCase(np.array([0.5, 0.3]), 9.0, seed=np.int64(0)).key == case.key
    # Known for good: a file is found again by other versions, and seeds keep their meaning.
    assert case.key == "1b112b392159c222b18dfa186d5d5c6a"
    assert case.canonical == (
        '{"context_length":9,"duration":null,"eigenvalues":[0.5,0.3],"heads":2,"init":0.001,'
        '"kind":"linear","noise":0,"rank":1,"seed":0}'
    )


# Limits and failures


def test_a_limit_keeps_what_was_recorded_and_retry_computes_it_again():
    case = LinearCase([0.6, 0.4], 5, init=0.05)
    first = sweep([case], "out", limits=Limits(evaluations=50))
    assert first.unfinished == {case.key: "stopped: 50 evaluations did not suffice"}
    (record,) = first.records()
    assert 1 < len(record.values["loss"]) <= 50
    assert sweep([case], "out").unfinished == first.unfinished
    again = sweep([case], "out", retry=True)
    assert (again.found, again.unfinished) == (0, {})
    assert files("out") == {f"{case.key}.npz": Path(Store("out").path(case.key)).read_bytes()}
    assert compute(case, Limits(seconds=1e-9)).status == "stopped: 1e-09 s did not suffice"


def test_a_limit_in_seconds_ends_what_is_outside_the_flow(monkeypatch):
    monkeypatch.setattr(theory, "softmax_theory", lambda case: time.sleep(30))
    begin = time.monotonic()
    assert compute(CASES[-1], Limits(seconds=0.1)).status == "stopped: 0.1 s did not suffice"
    assert time.monotonic() - begin < 10
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_a_failing_case_says_why_and_the_others_go_on(monkeypatch, capsys):
    cases = [SoftmaxCase([4], 10), LinearCase([0.5], 9, init=1e90, duration=1.0),
             LinearCase([0.5], 9, init=0.1)]  # fmt: skip

    def fails(case):
        raise ValueError("no\nluck")

    monkeypatch.setattr(theory, "softmax_theory", fails)
    assert script.main(["run", "--list", listed(cases), "--out", "out", "--workers", "1"]) == 1
    said = capsys.readouterr().out
    assert "3 of 3 cases done (1 failed, 1 stopped)" in said
    assert "\n  failed: ValueError: no luck\n" in said
    status = {record.case: record.status for record in Store("out").records()}
    assert status[cases[1]] == "stopped: the weights overflowed"
    assert status[cases[2]] == "finished"


# Engines


@pytest.mark.slow  # as the sweep that is killed, and ends like one in this process
def test_spawned_processes_give_the_same_bits(serial):
    outcome = sweep(CASES[::-1], "out", 2)
    assert outcome.summary() == f"{len(CASES)} of {len(CASES)} cases done"
    assert files("out") == serial


def test_threads_and_maps_give_the_same_bits(serial):
    with ThreadPoolExecutor(3) as threads:
        sweep(CASES, "threads", threads)
    with ThreadPool(2) as pool:
        sweep(CASES, "pool", pool.imap_unordered)
    sweep(CASES, "map", map)
    assert files("threads") == files("pool") == files("map") == serial
    assert [record.case for record in sweep(CASES, "map").records()] == CASES


@pytest.mark.slow
def test_loky_gives_the_same_bits(serial):
    loky = pytest.importorskip("loky", reason="loky is not installed")
    with loky.ProcessPoolExecutor(2) as executor:
        sweep(CASES, "loky", executor)
    assert files("loky") == serial


def test_adding_cases_changes_no_number(serial):
    outcome = sweep(CASES[3:4], "out")
    (name,) = files("out")
    assert name == f"{CASES[3].key}.npz"
    assert sweep([*CASES, *CASES], "out").found == 1
    assert outcome.status == {CASES[3].key: "finished"}
    assert files("out") == serial


def test_workers_have_one_blas_thread_and_leave_the_environment():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("OMP_NUM_THREADS", raising=False)
        with engines.pool(1) as executor:
            inside = executor.submit(os.getenv, "OMP_NUM_THREADS").result()
            method = executor._mp_context.get_start_method()
        assert (inside, method) == ("1", "spawn")
        assert "OMP_NUM_THREADS" not in os.environ


def test_a_dying_worker_costs_no_case_but_the_one_that_kills_it():
    items = [1, "once", 2, "fatal", 3]
    found = list(engines.outcomes(2, fragile, items))
    assert engines.Lost("fatal", "its worker process died") in found
    assert sorted(map(str, (x for x in found if not isinstance(x, engines.Lost)))) == [
        "1", "2", "3", "once",
    ]  # fmt: skip


def test_what_an_engine_raises_is_lost_and_told():
    with ThreadPoolExecutor(2) as threads:
        found = list(engines.outcomes(threads, boom, [1, 2, 3]))
    assert engines.Lost(2, "RuntimeError: no such luck") in found
    assert {x for x in found if isinstance(x, int)} == {1, 3}
    with pytest.raises(TypeError, match="engine must be"):
        sweep(CASES[:1], "out", "four")
    with pytest.raises(ValueError, match="engine must be"):
        sweep(CASES[:1], "out", 0)


def test_shards_together_are_the_whole(serial):
    arguments = ["run", "--list", listed(CASES), "--workers", "1", "--out", "shards"]
    seen = 0
    for number in (1, 2, 3):
        assert script.main([*arguments, "--shard", f"{number}/3"]) == 0
        seen += len(shard(CASES, number, 3))
        assert len(files("shards")) == seen
    assert files("shards") == serial


# Grids


def test_grids_of_files_and_options_are_the_same_cases(capsys):
    Path("grid.toml").write_text(
        "[[grid]]\neigenvalues = [0.6, 0.4]\ncontext_length = [5, inf]\nseeds = 2\n"
        '[[grid]]\nkind = "softmax"\nblock_dims = [[3], [4, 2]]\ncontext_length = [6]\n',
        encoding="utf-8",
    )
    assert script.main(["run", "--grid", "grid.toml", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    options = ["--eigenvalues", "0.6", "0.4", "--context-length", "5", "inf", "--seeds", "2"]
    assert script.main(["run", *options, "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == lines[:4]
    softmax = ["--softmax", "--block-dims", "3", "--block-dims", "4", "2", "--context-length", "6"]
    assert script.main(["run", *softmax, "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == lines[4:]
    Path("cases.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert script.main(["run", "--list", "cases.jsonl", "--dry-run", "--shard", "2/2"]) == 0
    assert capsys.readouterr().out.splitlines() == lines[1::2]


# Reports


def test_report_has_every_case_and_the_pictures(serial, capsys):
    (folder := Path("out/cases")).mkdir(parents=True)
    for name, content in serial.items():
        (folder / name).write_bytes(content)
    assert script.main(["report", "out"]) == 0
    said = capsys.readouterr().out
    assert "rank" in said.splitlines()[1]
    for name in ("drops.png", "drops.svg", "gaps.png", "gaps.svg"):
        assert Path("out/report", name).stat().st_size > 1000
    with open("out/report/linear.csv", encoding="utf-8") as file:
        rows = {row["key"]: row for row in csv.DictReader(file)}
    linear = expand({**LINEAR, "seeds": 2})
    assert rows.keys() == {case.key for case in linear}
    record = Store("out").load(linear[0].key)
    row = rows[linear[0].key]
    assert float(row["final_loss"]) == record.number("final_loss")
    assert [float(x) for x in row["drops"].split()] == record.values["drops"].tolist()
    assert row["status"] == "finished"


def test_the_table_shows_medians_over_seeds(capsys):
    cases = expand({**LINEAR, "rank": 1, "seeds": 3})
    sweep(cases, "out")
    assert script.main(["report", "out", "--no-plots"]) == 0
    rows, unread = rows_of("out")
    last = sorted(row.numbers["last_drop"] for row in rows)[1]
    assert unread == []
    assert f"{last:#.5g}".rstrip(".") in capsys.readouterr().out
    assert not list(Path("out/report").glob("*.png"))
