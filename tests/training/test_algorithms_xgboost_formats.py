"""XGBoost's input in each format, in File and Pipe mode, and its metrics beside others' definitions of them."""

from __future__ import annotations

import io
import json
import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.training.algorithms import booster, channel, ended_hosts, failure, lay, start, start_hosts
from tests.training.records import dense, sparse

from treadle.training.algorithms import program

xgb = pytest.importorskip("xgboost")
from treadle.training.algorithms.xgboost import job  # noqa: E402  (only where xgboost is installed)

GENERATOR = np.random.default_rng(11)
# A third of the numbers are zero, as in sparse data.
ROWS = (GENERATOR.normal(size=(120, 4)) * GENERATOR.integers(0, 3, size=(120, 4)).clip(0, 1)).astype(np.float32)
LABELS = (ROWS[:, 0] + ROWS[:, 2] > 0.2).astype(np.float32)
GOOD = {"num_round": "3", "objective": "binary:logistic", "eval_metric": "error"}


def train() -> int:
    return program.run(job.train, ["train"])


def csv(rows: slice = slice(None)) -> bytes:
    lines = zip(LABELS[rows], ROWS[rows], strict=True)
    return "".join(f"{label}," + ",".join(map(str, row)) + "\n" for label, row in lines).encode()


def parquet(rows: slice = slice(None)) -> bytes:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {"label": LABELS[rows].astype(np.int64)} | {f"c{n}": ROWS[rows, n] for n in range(4)}
    written = io.BytesIO()
    pq.write_table(pa.table(columns), written, row_group_size=17)
    return written.getvalue()


def records(rows: slice = slice(None)) -> bytes:
    return dense(ROWS[rows].tolist(), LABELS[rows].tolist())


def sparse_records(rows: slice = slice(None)) -> bytes:
    return sparse(ROWS[rows].tolist(), LABELS[rows].tolist())


FORMATS = {
    "text/csv": csv,
    "application/x-parquet": parquet,
    "application/x-recordio-protobuf": records,
    "recordio-protobuf": sparse_records,
}


def directly(data: Any) -> list[str]:
    """The trees that XGBoost makes of the rows without us."""
    parameters = {"objective": "binary:logistic"}
    trees: list[str] = xgb.train(parameters, data, 3).get_dump()
    return trees


def in_memory(content_type: str) -> Any:
    missing = 0.0 if content_type == "recordio-protobuf" else np.nan
    return xgb.DMatrix(ROWS, LABELS, missing=missing)


@pytest.mark.parametrize("content_type", FORMATS)
def test_each_format_makes_the_same_trees(ml: Path, content_type: str) -> None:
    """In two files; as XGBoost makes them of the same rows when it is called directly."""
    halves = {"part-1": FORMATS[content_type](slice(0, 50)), "part-2": FORMATS[content_type](slice(50, 120))}
    lay(ml, GOOD, {"train": halves}, content_type)
    assert train() == 0, failure(ml)
    assert booster(ml).get_dump() == directly(in_memory(content_type))


@pytest.mark.parametrize("content_type", FORMATS)
def test_each_format_comes_through_a_pipe(ml: Path, content_type: str) -> None:
    """What comes through it are the files, one after the other, without anything between them."""
    written = FORMATS[content_type](slice(0, 50)) + FORMATS[content_type](slice(50, 120))
    lay(ml, GOOD, {}, inputdataconfig={name: channel(content_type, "Pipe") for name in ("train", "validation")})
    writer = _writing(ml, {"train_0": written, "validation_0": written})
    assert train() == 0, failure(ml)
    writer.join(10)
    assert booster(ml).get_dump() == directly(in_memory(content_type))


def _writing(ml: Path, contents: Mapping[str, bytes]) -> threading.Thread:
    """Write into FIFOs, one after the other, as the agent does."""
    (ml / "input/data").mkdir(parents=True, exist_ok=True)

    def write() -> None:
        for name, content in contents.items():
            os.mkfifo(ml / "input/data" / name)
            (ml / "input/data" / name).write_bytes(content)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    return writer


def test_pipes_of_several_hosts(tmp_path: Path) -> None:
    """Each host reads its shard from a pipe."""
    places = {name: tmp_path / name for name in ("algo-1", "algo-2")}
    config = {"train": channel("text/csv", "Pipe", "ShardedByS3Key")}
    for ml in places.values():
        lay(ml, GOOD | {"tree_method": "hist"}, {}, inputdataconfig=config)
    started = start_hosts("xgboost", places)
    for ml, rows in zip(places.values(), (slice(0, 50), slice(50, 120)), strict=True):
        _writing(ml, {"train_0": csv(rows)})
    ended = ended_hosts(places, started)
    assert [each.code for each in ended.values()] == [0, 0], ended
    error = np.mean((booster(places["algo-1"]).predict(xgb.DMatrix(ROWS)) > 0.5) != LABELS)
    assert f"[2]\ttrain-error:{error:.5f}" in ended["algo-1"].log


def test_libsvm_through_a_pipe_is_refused(ml: Path) -> None:
    lay(ml, GOOD, {}, inputdataconfig={"train": channel("text/libsvm", "Pipe")})
    assert train() == 1
    assert failure(ml).startswith("Customer Error: Channel configuration for 'train' channel is not supported: {")


def table(**columns: Any) -> bytes:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    written = io.BytesIO()
    pq.write_table(pa.table(columns), written)
    return written.getvalue()


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"y": [1, 0], "x": ["a", "b"]}, "The column 'x' of a Parquet file is string; numbers are needed"),
        ({"y": [1, None], "x": [1, 2]}, "The label (first column, 'y') of a Parquet file is missing or not finite"),
        ({"y": [1.0, float("inf")], "x": [1, 2]}, "The label (first column, 'y') of a Parquet file is missing"),
        ({"y": [1, 0], "x": [[1], [2]]}, "The column 'x' of a Parquet file is list<"),
    ],
)
def test_refused_parquet(ml: Path, columns: dict[str, Any], why: str) -> None:
    lay(ml, GOOD, {"train": table(**columns)}, "application/x-parquet")
    assert train() == 1
    assert failure(ml).startswith(f"Customer Error: {why}")


@pytest.mark.parametrize("cut", [slice(0, 40), slice(0, -9), slice(9, None)])
def test_damaged_parquet(ml: Path, cut: slice) -> None:
    lay(ml, GOOD, {"train": parquet()[cut]}, "application/x-parquet")
    assert train() == 1
    assert failure(ml).startswith("Customer Error: Failed to load parquet data with exception:\n")


def test_missing_values_of_parquet(ml: Path) -> None:
    """null is a missing value, as an empty field of CSV is."""
    lay(ml, GOOD, {"train": table(y=[1, 0] * 9, x=[None, 1.0] * 9)}, "application/x-parquet")
    assert train() == 0, failure(ml)
    assert booster(ml).predict(xgb.DMatrix([[np.nan], [1.0]])) == pytest.approx([0.7, 0.3], abs=0.2)


def test_parquet_of_other_widths_is_refused(ml: Path) -> None:
    files = {"a": table(y=[1, 0], x=[1, 2]), "b": table(y=[1, 0])}
    lay(ml, GOOD, {"train": files}, "application/x-parquet")
    assert train() == 1
    assert failure(ml) == "Customer Error: 1 columns in a Parquet file, but 2 in the one before"


WITHOUT_PYARROW = """\
import sys
sys.modules["pyarrow"] = None
from treadle.training.algorithms.program import run
from treadle.training.algorithms.xgboost.job import train
sys.exit(run(train, sys.argv[1:]))
"""


def test_parquet_without_pyarrow_says_what_to_install(ml: Path) -> None:
    lay(ml, GOOD, {"train": b"PAR1"}, "application/x-parquet")
    started = start(WITHOUT_PYARROW, ml)
    said, _ = started.communicate(timeout=60)
    assert started.returncode == 1
    assert "needs pyarrow, which is not installed here: " in said
    assert failure(ml).endswith("-m pip install 'treadle[parquet]'")


# ---------------------------------------------------------------------------------------------------------------------
# Metrics
# ---------------------------------------------------------------------------------------------------------------------


def last(out: str) -> dict[str, float]:
    """The metrics of the last round, by name."""
    line = re.findall(r"^\[\d+\]\t(.*)$", out, re.MULTILINE)[-1]
    return {name: float(value) for name, _, value in (word.rpartition(":") for word in line.split("\t"))}


def of_classes(true: list[int], said: list[int]) -> dict[str, float]:
    """The metrics of classifications by their definitions, row by row."""
    pairs = list(zip(true, said, strict=True))
    classes = sorted({*true, *said})

    def part(of: list[bool], among: list[bool]) -> float:
        return sum(of) / sum(among) if sum(among) else 0.0

    precision, recall, f1 = {}, {}, {}
    for each in classes:
        hits = [pair == (each, each) for pair in pairs]
        precision[each] = part(hits, [guess == each for guess in said])
        recall[each] = part(hits, [truth == each for truth in true])
        both = precision[each] + recall[each]
        f1[each] = 2 * precision[each] * recall[each] / both if both else 0.0

    def mean(values: dict[int, float], among: list[int]) -> float:
        return sum(values[each] for each in among) / len(among)

    accuracy = sum(truth == guess for truth, guess in pairs) / len(pairs)
    found = {
        "accuracy": accuracy, "precision_micro": accuracy, "recall_micro": accuracy,
        "balanced_accuracy": mean(recall, sorted(set(true))),
        "f1": mean(f1, classes), "f1_macro": mean(f1, classes),
        "precision_macro": mean(precision, classes), "recall_macro": mean(recall, classes),
    }  # fmt: skip
    if len(classes) == 2:
        found |= {"f1_binary": f1[1], "precision": precision[1], "recall": recall[1]}
    return found


@pytest.mark.parametrize(
    "objective", ["binary:logistic", "binary:hinge", "binary:logitraw", "multi:softmax", "multi:softprob"]
)
def test_metrics_of_classes(ml: Path, capsys: pytest.CaptureFixture[str], objective: str) -> None:
    """Each is what its definition gives for what the model says of the rows."""
    several = objective.startswith("multi")
    labels = LABELS + (ROWS[:, 3] > 0) * several
    names = list(of_classes([0, 1, 2] if several else [0, 1], [0, 1, 2] if several else [0, 1]))
    given = {"num_round": "2", "max_depth": "2", "objective": objective, "eval_metric": ",".join(names)}
    text = "".join(f"{label}," + ",".join(map(str, row)) + "\n" for label, row in zip(labels, ROWS, strict=True))
    lay(ml, given | ({"num_class": "3"} if several else {}), {"train": text})
    assert train() == 0, failure(ml)
    said = booster(ml).predict(xgb.DMatrix(ROWS))
    decided = said.argmax(axis=1) if said.ndim > 1 else said if several else said > (0 if "raw" in objective else 0.5)
    want = of_classes(labels.astype(int).tolist(), decided.astype(int).tolist())
    told = last(capsys.readouterr().out)
    # XGBoost's own default metric stands beside the added ones, as on AWS.
    assert len(told) == len(want) + 1
    assert {name: told[f"train-{name}"] for name in want} == pytest.approx(want, abs=6e-6)


def test_metrics_of_errors(ml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = (ROWS[:, 0] * 2 + ROWS[:, 1]).round(3)
    text = "".join(f"{label}," + ",".join(map(str, row)) + "\n" for label, row in zip(labels, ROWS, strict=True))
    lay(ml, {"num_round": "4", "objective": "reg:squarederror", "eval_metric": "mae,mse,rmse,r2"}, {"train": text})
    assert train() == 0, failure(ml)
    errors = labels.astype(float) - booster(ml).predict(xgb.DMatrix(ROWS))
    squares = float((errors**2).mean())
    want = {
        "train-mae": float(np.abs(errors).mean()),
        "train-mse": squares,
        "train-rmse": squares**0.5,
        "train-r2": 1 - squares / float(labels.astype(float).var()),
    }
    assert last(capsys.readouterr().out) == {name: pytest.approx(value, abs=6e-6) for name, value in want.items()}


@pytest.mark.parametrize("name", ["f1_binary", "precision", "recall"])
def test_metrics_of_two_classes_alone(ml: Path, name: str) -> None:
    text = "".join(f"{n % 3},{n}\n" for n in range(30))
    given = {"num_round": "1", "objective": "multi:softmax", "num_class": "3", "eval_metric": name}
    lay(ml, given, {"train": text})
    assert train() == 1
    assert "Target is multiclass but average='binary'." in failure(ml)


def test_configurations_stay_as_they_were_laid(ml: Path) -> None:
    """The program only reads them."""
    lay(ml, GOOD, {"train": csv()})
    before = {path.name: path.read_bytes() for path in (ml / "input/config").iterdir()}
    assert train() == 0
    assert {path.name: path.read_bytes() for path in (ml / "input/config").iterdir()} == before
    assert json.loads(before["hyperparameters.json"]) == GOOD
