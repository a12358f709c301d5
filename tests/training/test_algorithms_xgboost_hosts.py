"""XGBoost on several hosts: real processes, and XGBoost's own collective between them."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.training.algorithms import Ended, ended_hosts, lay, run_hosts, start_hosts, until_line

xgb = pytest.importorskip("xgboost")

ROWS = np.random.default_rng(7).normal(size=(400, 4)).astype(np.float32)
LABELS = (ROWS[:, 0] + ROWS[:, 1] ** 2 > 0.5).astype(int)
GOOD = {"num_round": "5", "objective": "binary:logistic", "tree_method": "hist", "max_depth": "3"}


def csv(rows: slice) -> str:
    lines = zip(LABELS[rows], ROWS[rows], strict=True)
    return "".join(f"{label}," + ",".join(map(str, row)) + "\n" for label, row in lines)


HALVES = (csv(slice(0, 200)), csv(slice(200, 400)))


def laid(root: Path, data: list[dict[str, str]], **config: Any) -> dict[str, Path]:
    """Lay out a host for each of the channels' contents."""
    places = {f"algo-{number}": root / f"algo-{number}" for number in range(1, len(data) + 1)}
    for ml, channels in zip(places.values(), data, strict=True):
        lay(ml, GOOD, channels, **config)
    return places


def codes(ended: dict[str, Ended]) -> list[int]:
    return [each.code for each in ended.values()]


def error_of(path: Path) -> float:
    booster = xgb.Booster()
    booster.load_model(bytearray(path.read_bytes()))
    return float(np.mean((booster.predict(xgb.DMatrix(ROWS)) > 0.5) != LABELS))


def test_two_hosts_train_one_model(tmp_path: Path) -> None:
    """Each has half of the rows: the model is of all, the master alone writes it, and metrics are of all rows."""
    places = {name: tmp_path / name for name in ("algo-1", "algo-2")}
    for ml, half in zip(places.values(), HALVES, strict=True):
        lay(ml, GOOD | {"eval_metric": "error,accuracy"}, {"train": half, "validation": half})
    ended = run_hosts("xgboost", places)
    assert [each.code for each in ended.values()] == [0, 0], ended
    assert not (places["algo-2"] / "model").exists()
    error = error_of(places["algo-1"] / "model/xgboost-model")
    last = ended["algo-1"].log.rpartition("[4]\t")[2].splitlines()[0]
    words = dict(word.rsplit(":", 1) for word in last.split("\t"))
    assert float(words["train-error"]) == pytest.approx(error, abs=1e-5)
    assert float(words["validation-accuracy"]) == pytest.approx(1 - error, abs=1e-5)
    assert not re.search(r"^\[\d+\]\t", ended["algo-2"].log, re.MULTILINE)
    assert "Distributed node training with 2 hosts: ['algo-1', 'algo-2']" in ended["algo-2"].log


@pytest.mark.parametrize("without", ["algo-1", "algo-2"])
def test_a_host_without_data_takes_no_part(tmp_path: Path, without: str) -> None:
    """Whichever it is, it ends well and says so; the other ones train, and the first of them writes the model."""
    data = [{"train": ""} if name == without else {"train": HALVES[0]} for name in ("algo-1", "algo-2", "algo-3")]
    places = laid(tmp_path, data)
    ended = run_hosts("xgboost", places)
    assert codes(ended) == [0, 0, 0], ended
    assert f"Host {without} does not have training data." in ended[without].log
    assert f"Host {without} not being used for distributed training." in ended[without].log
    master = "algo-2" if without == "algo-1" else "algo-1"
    assert [name for name, ml in places.items() if (ml / "model").exists()] == [master]
    assert error_of(places[master] / "model/xgboost-model") < 0.2


def test_one_host_with_data_trains_alone(tmp_path: Path) -> None:
    """As on AWS: then nothing is left to be shared."""
    places = laid(tmp_path, [{"train": ""}, {"train": HALVES[0]}])
    assert codes(run_hosts("xgboost", places)) == [0, 0]
    assert error_of(places["algo-2"] / "model/xgboost-model") < 0.2


def test_no_host_has_data(tmp_path: Path) -> None:
    """Then the job fails, on every host for the same reason."""
    ended = run_hosts("xgboost", laid(tmp_path, [{"train": ""}, {"train": ""}]))
    assert codes(ended) == [1, 1]
    assert {each.failure for each in ended.values()} == {"Customer Error: No hosts received training data."}


@pytest.mark.parametrize("wrong", ["algo-1", "algo-2"])
def test_the_mistake_on_one_host_is_told_by_all(tmp_path: Path, wrong: str) -> None:
    """The other hosts do not wait for it, and whichever host is heard first, the reason is the same."""
    data = [{"train": "1,2\n1,x\n" if f"algo-{number}" == wrong else HALVES[0]} for number in (1, 2, 3)]
    ended = run_hosts("xgboost", laid(tmp_path, data))
    assert codes(ended) == [1, 1, 1]
    assert {each.failure for each in ended.values()} == {"Customer Error: part-1:2: column 2 is no number: 'x'"}


def test_a_host_that_is_killed_is_missed_at_once(tmp_path: Path) -> None:
    """The others do not wait for it for ever, and say whom they miss."""
    places = laid(tmp_path, [{"train": half} for half in HALVES])
    for ml in places.values():
        lay(ml, GOOD | {"num_round": "100000000"}, {"train": HALVES[0]})
    started = start_hosts("xgboost", places)
    until_line(started["algo-1"], "[2]")
    started["algo-2"].kill()
    ended = ended_hosts(places, started)
    assert codes(ended) == [1, -signal.SIGKILL]
    assert ended["algo-1"].failure == "The connection to algo-2 was lost: it has ended before its work was done"


def test_sigterm_ends_all_hosts_after_the_same_round(tmp_path: Path) -> None:
    """With save_model_on_termination; the signals come at different moments, and none waits for another in vain."""
    places = laid(tmp_path, [{"train": half} for half in HALVES])
    for ml in places.values():
        lay(ml, GOOD | {"num_round": "100000000", "save_model_on_termination": "true"}, {"train": HALVES[0]})
    started = start_hosts("xgboost", places)
    until_line(started["algo-1"], "[2]")
    started["algo-2"].send_signal(signal.SIGTERM)
    ended = ended_hosts(places, started)
    assert codes(ended) == [0, 0], ended
    assert error_of(places["algo-1"] / "model/xgboost-model") < 0.3


def test_hosts_go_on_from_a_round_that_all_have(tmp_path: Path) -> None:
    """What was brought back may differ by what was uploaded last; the numbers of rounds go on."""
    config = {"checkpointconfig": {"LocalPath": "/opt/ml/checkpoints"}}
    places = laid(tmp_path, [{"train": half} for half in HALVES], **config)
    assert codes(run_hosts("xgboost", places)) == [0, 0]
    saved = places["algo-1"] / "checkpoints"
    assert sorted(each.name for each in saved.iterdir()) == [f"xgboost-checkpoint.{number}" for number in range(5)]
    assert not (places["algo-2"] / "checkpoints").exists()
    (places["algo-2"] / "checkpoints").mkdir()
    for number in (1, 2):
        os.link(saved / f"xgboost-checkpoint.{number}", places["algo-2"] / f"checkpoints/xgboost-checkpoint.{number}")
    (places["algo-2"] / "checkpoints/xgboost-checkpoint.3").write_bytes(b"cut off")
    model = (places["algo-1"] / "model/xgboost-model").read_bytes()
    ended = run_hosts("xgboost", places)
    assert codes(ended) == [0, 0], ended
    assert "Resuming from iteration 3" in ended["algo-1"].log
    assert "[3]\ttrain-logloss" in ended["algo-1"].log
    assert "[2]\ttrain-logloss" not in ended["algo-1"].log
    assert error_of(places["algo-1"] / "model/xgboost-model") < 0.2
    assert len((places["algo-1"] / "model/xgboost-model").read_bytes()) == pytest.approx(len(model), rel=0.2)


def test_two_jobs_at_once_do_not_meet(tmp_path: Path) -> None:
    """Their hosts have the same names and addresses; who has another secret is a stranger."""
    jobs = [laid(tmp_path / name, [{"train": half} for half in HALVES]) for name in ("one", "other")]
    started = [start_hosts("xgboost", places) for places in jobs]
    for places, each in zip(jobs, started, strict=True):
        assert codes(ended_hosts(places, each)) == [0, 0]
        assert error_of(places["algo-1"] / "model/xgboost-model") < 0.2


PROGRAM = """
import sys
from pathlib import Path
from typing import Any
from treadle.training.algorithms.cluster import Cluster
from treadle.training.algorithms.program import Directories
from treadle.training.algorithms.xgboost import hyperparameters
from treadle.training.algorithms.xgboost.data import Data
from treadle.training.algorithms.xgboost.training import Places, Training, group
directories = Directories.find()
values = hyperparameters.read(directories.config("hyperparameters"))
training = Training(values, Places(directories.model, directories.output, None))
with Cluster.joined(directories.config("resourceconfig")) as cluster:
    data = Data.read(directories.config("inputdataconfig"), directories, weights=False)
    with group(cluster, cluster.hosts) as master:
        training.run(data.train, None, [], master=True)  # both write what they have learned
"""


def test_every_host_has_the_same_model(tmp_path: Path) -> None:
    """Byte for byte, although each has seen other rows."""
    places = laid(tmp_path, [{"train": half} for half in HALVES])
    started = start_hosts(PROGRAM, places)
    assert codes(ended_hosts(places, started)) == [0, 0]
    one, other = ((ml / "model/xgboost-model").read_bytes() for ml in places.values())
    assert one == other
