"""The built-in K-Means, held to what AWS documents and logs, and to centres that are computed in another way."""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.training.algorithms import Ended, channel, failure, lay, run_hosts
from tests.training.records import dense, frame, record, sparse

from treadle.training.algorithms import catalogue, kmeans, program

GENERATOR = np.random.default_rng(5)
TRUE = np.array([[0, 0, 5], [10, 0, 0], [0, 10, 0], [-8, -8, 1]], float)
ROWS = np.concatenate([TRUE + GENERATOR.normal(scale=0.3, size=TRUE.shape) for _ in range(150)]).astype(np.float32)
GOOD = {"k": "4", "feature_dim": "3"}
NO_LABEL = "text/csv;label_size=0"
RECORDS = "application/x-recordio-protobuf"


def train() -> int:
    return program.run(kmeans.train, ["train"], program.CLOSED)


def csv(rows: Any) -> str:
    return "".join(",".join(map(str, row)) + "\n" for row in rows)


def records(rows: Any) -> bytes:
    return dense(rows.tolist(), [None] * len(rows))


def model(ml: Path, host: str = "algo-1") -> Any:
    """Load it as the documentation says."""
    path = ml / "model" / f"model_{host}"
    shape = np.fromfile(path, "<i8", 2, offset=36)
    return np.fromfile(path, "<f4", offset=64, count=shape.prod()).reshape(shape)


def sorted_rows(centers: Any) -> Any:
    return centers[np.lexsort(np.round(centers).T)]


def distances(rows: Any, centers: Any) -> Any:
    """Squared, to the nearest one: computed in the plainest way."""
    return np.array([min(((row - center) ** 2).sum() for center in centers) for row in rows.astype(float)])


def metrics(log: str) -> dict[str, float]:
    """What AWS's definitions find in a log; the last value of each counts."""
    return {
        name: float(found[-1])
        for name, regex in catalogue.KMEANS.metrics.items()
        if (found := re.findall(regex, log))
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("", records(ROWS)),
        (RECORDS, sparse(ROWS.tolist(), [1.0] * len(ROWS))),
        (NO_LABEL, csv(ROWS)),
        ("text/csv", csv(np.insert(ROWS, 0, 7, axis=1))),
        ("text/csv; label_size=2", csv(np.insert(ROWS, [0, 0], 7, axis=1))),
    ],
    ids=["dense", "sparse", "csv", "csv with a label", "csv with two labels"],
)
@pytest.mark.parametrize("method", ["random", "kmeans++"])
def test_the_centers_are_found(
    ml: Path, capsys: pytest.CaptureFixture[str], content_type: str, data: str | bytes, method: str
) -> None:
    """In each format, the centres are the means of the rows; the test data is measured."""
    given = GOOD | {"init_method": method, "mini_batch_size": "100", "eval_metrics": '["msd","ssd"]'}
    lay(ml, given, {"train": data, "test": data}, content_type)
    assert train() == 0
    found = model(ml)
    means = np.stack([ROWS[number::4].mean(axis=0) for number in range(4)])
    assert sorted_rows(found) == pytest.approx(sorted_rows(means), abs=0.1)
    told = metrics(capsys.readouterr().out)
    want = distances(ROWS, found)
    assert told["test:msd"] == pytest.approx(want.mean(), rel=1e-5)
    assert told["test:ssd"] == pytest.approx(want.sum(), rel=1e-5)
    assert told["train:progress"] == 100
    assert told["train:throughput"] > 0
    assert 0 < told["train:msd"] < want.mean()
    assert [each.name for each in (ml / "model").iterdir()] == ["model_algo-1"]


def test_the_log(ml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As in logs of real jobs; not a word is in it that depends on where this runs."""
    lay(ml, GOOD | {"epochs": "2"}, {"train": records(ROWS)}, RECORDS)
    assert train() == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(re.match(r"\[\d\d/\d\d/\d{4} \d\d:\d\d:\d\d (INFO|WARNING) \d+\] ", line) for line in lines)
    said = [line.partition("] ")[2] for line in lines]
    assert [re.sub(r"\d\.\d+(e-\d+)?", "N", re.sub(r"throughput=\S+", "throughput=N", each)) for each in said[3:]] == [
        "Batch size 5000 is bigger than the first batch data. Effective batch size used to initialize is 600",
        "'extra_center_factor' was set to 'auto', evaluated to 10.",
        "processed a total of 600 examples",
        "#progress_metric: host=algo-1, completed 5N % of epochs",
        "#throughput_metric: host=algo-1, train throughput=N records/second",
        "processed a total of 600 examples",
        "#progress_metric: host=algo-1, completed 10N % of epochs",
        "#throughput_metric: host=algo-1, train throughput=N records/second",
        "shrinking 40 centers into 4",
        *[f"local kmeans attempt #{number}. Current mean square distance N" for number in range(10)],
        "finished shrinking process. Mean Square Distance = N",
        "#quality_metric: host=algo-1, train msd <loss>=N",
        "Test data is not provided.",
    ]


def test_without_extra_centers(ml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With one centre and a factor of 1 it is the mean, in batches of any size; the loss is that of the rows."""
    for size in ("1", "7", "600"):
        lay(ml, {"k": "1", "feature_dim": "3", "extra_center_factor": "1", "mini_batch_size": size, "epochs": "2"},
            {"train": records(ROWS)}, RECORDS)  # fmt: skip
        assert train() == 0
        assert model(ml) == pytest.approx(ROWS.mean(axis=0, keepdims=True), abs=1e-4)
    said = capsys.readouterr().out
    assert "No shrinking is required as extra_center_factor is 1." in said
    assert metrics(said)["train:msd"] == pytest.approx(distances(ROWS, model(ml)).mean(), rel=1e-4)


def test_the_model_is_what_mxnet_writes() -> None:
    """Byte for byte: this was written by `mx.nd.save(path, [mx.nd.array([[1, -2]])])` of MXNet 1.9.1."""
    assert kmeans.ndarray_list(np.array([[1, -2]])).hex() == (
        "120100000000000000000000000000000100000000000000c9fa93f9000000000200000001000000000000000200000000000000010000"
        "0000000000000000000000803f000000c00000000000000000"
    )


def test_half_life() -> None:
    """After so many rows what was seen before counts half: computed row by row here."""
    rows = GENERATOR.normal(size=(20, 2))
    centers = kmeans.Centers(np.zeros((1, 2)))
    for row in rows:
        centers.move(centers.told_by(row[None]), 5)
    weights = 0.5 ** (np.arange(len(rows))[::-1] / 5)
    assert centers.positions[0] == pytest.approx(weights @ rows / weights.sum())


def test_far_away_from_zero() -> None:
    """Where squares would lose all digits that tell the centres apart."""
    rows = ROWS.astype(float) + 1e9
    which, apart = kmeans.nearest(rows, TRUE + 1e9)
    assert which.tolist() == [0, 1, 2, 3] * 150
    assert apart == pytest.approx(distances(rows, TRUE + 1e9), rel=1e-6)


@pytest.mark.parametrize("init", ["random", "kmeans++"])
def test_reduction_of_equal_centers(init: str) -> None:
    """More centres than different points: nothing is divided by zero."""
    centers = kmeans.Centers(np.repeat([[1.0, 2.0], [3.0, 4.0]], 3, axis=0))
    centers.weights = np.array([5.0, 0, 0, 1, 0, 0])
    values = {"local_lloyd_init_method": init, "local_lloyd_max_iter": 9, "local_lloyd_tol": 0.0}
    found, loss = kmeans.shrunk(centers, 4, values, np.random.default_rng(0))
    assert {tuple(each) for each in found.tolist()} <= {(1.0, 2.0), (3.0, 4.0)}
    assert loss == 0 or len(np.unique(found, axis=0)) == 1


@pytest.mark.parametrize(
    ("hyperparameters", "reason"),
    [
        ({"k": "4"}, "No value(s) were specified for 'feature_dim' which are required hyperparameter(s) (caused by ValidationError)"),
        ({}, "No value(s) were specified for 'k', 'feature_dim' which are required hyperparameter(s) (caused by ValidationError)"),
        (GOOD | {"K": "4"}, "Additional hyperparameters are not allowed ('K' was unexpected) (caused by ValidationError)"),
        (GOOD | {"k": "0"}, "The value '0' is not valid for the 'k' hyperparameter which expects one of the following: an integer greater than or equal to 1 (caused by ValidationError)"),
        (GOOD | {"k": "many"}, "The value 'many' is not valid for the 'k' hyperparameter which expects one of the following: an integer greater than or equal to 1 (caused by ValidationError)"),
        (GOOD | {"init_method": "k-means++"}, "The value 'k-means++' is not valid for the 'init_method' hyperparameter which accepts one of the following: 'random', 'kmeans++' (caused by ValidationError)"),
        (GOOD | {"extra_center_factor": "0"}, "The value '0' is not valid for the 'extra_center_factor' hyperparameter which expects one of the following: an integer greater than or equal to 1; or 'auto' (caused by ValidationError)"),
        (GOOD | {"local_lloyd_tol": "1.5"}, "The value '1.5' is not valid for the 'local_lloyd_tol' hyperparameter which expects one of the following: a number between 0 and 1 (caused by ValidationError)"),
        (GOOD | {"local_lloyd_tol": "nan"}, "The value 'nan' is not valid for the 'local_lloyd_tol' hyperparameter which expects one of the following: a number between 0 and 1 (caused by ValidationError)"),
        (GOOD | {"eval_metrics": '["rmse"]'}, "The value '[\"rmse\"]' is not valid for the 'eval_metrics' hyperparameter which expects one of the following: a list of some of [\"msd\", \"ssd\"] (caused by ValidationError)"),
        (GOOD | {"eval_metrics": "msd"}, "The value 'msd' is not valid for the 'eval_metrics' hyperparameter which expects one of the following: a list of some of [\"msd\", \"ssd\"] (caused by ValidationError)"),
        (GOOD | {"k": "601"}, "The first mini-batch has 600 rows, but 601 centres (k times extra_center_factor) have to be chosen from it. Use more rows, a larger mini_batch_size, or a smaller k."),
        (GOOD | {"mini_batch_size": "10", "extra_center_factor": "3"}, "The first mini-batch has 10 rows, but 12 centres (k times extra_center_factor) have to be chosen from it. Use more rows, a larger mini_batch_size, or a smaller k."),
    ],
)  # fmt: skip
def test_refused_hyperparameters(ml: Path, hyperparameters: dict[str, str], reason: str) -> None:
    """In the words of AWS's own algorithms; 2 makes a ClientError of it."""
    lay(ml, hyperparameters, {"train": records(ROWS)}, RECORDS)
    assert train() == 2
    assert failure(ml) == f"Customer Error: {reason}"


def unreadable(content_type: str, why: str) -> str:
    return (
        f"Unable to read data channel 'train'. Requested content-type is '{content_type}'. Please verify the data "
        f"matches the requested content-type.\n\nCaused by: {why}"
    )


CONFIGURATION = (
    "Unable to initialize the algorithm. Failed to validate input data configuration. (caused by ValidationError)"
    "\n\nCaused by: "
)


@pytest.mark.parametrize(
    ("content_type", "data", "reason"),
    [
        ("csv", {"train": csv(ROWS)}, "No iterator has been registered for ContentType ('csv', '1.0')"),
        ("text/libsvm", {"train": "1 1:1"}, "No iterator has been registered for ContentType ('text/libsvm', '1.0')"),
        ("", {"train": "0.3834,1,2\n"}, unreadable(RECORDS, "part-1: record 1: no RecordIO: 0x38332e30 stands where 0xced7230a must")),
        ("text/csv", {"train": csv(ROWS)}, unreadable("text/csv", "part-1:1: 2 features (3 columns, label_size is 1), but feature_dim is 3")),
        (NO_LABEL, {"train": csv(ROWS) + "1,2\n"}, unreadable("text/csv", "part-1:601: 2 columns, but 3 before")),
        (NO_LABEL, {"train": csv(ROWS) + "1,x,2\n"}, unreadable("text/csv", "part-1:601: column 2 is no number: 'x'")),
        ("text/csv;label_size=-1", {"train": csv(ROWS)}, unreadable("text/csv", "label_size must be a whole number, not '-1'")),
        (NO_LABEL, {"train": csv(ROWS) + "1,,2\n"}, "Unable to read data channel 'train'. Found missing (NaN) values. Please remove any missing (NaN) values in the input data."),
        (NO_LABEL, {"train": csv(ROWS) + "1,inf,2\n"}, "Unable to read data channel 'train'. Found infinite floating point values. Please remove any infinite floating point values in the input data."),
        (RECORDS, {"train": records(ROWS[:, :2])}, unreadable(RECORDS, "Record 1: 2 features, but feature_dim is 3")),
        (RECORDS, {"train": sparse([[1, 0, 0, 1]], [None])}, unreadable(RECORDS, "Record 1: 4 features, but feature_dim is 3")),
        (RECORDS, {"train": ""}, "No training data processed. The training channel is empty: verify that training data contains non-empty files."),
        (RECORDS, {"test": records(ROWS)}, CONFIGURATION + "'train' is a required property"),
        (RECORDS, {"train": records(ROWS), "validation": b"x"}, CONFIGURATION + "Additional properties are not allowed ('validation' was unexpected)"),
    ],
)  # fmt: skip
def test_refused_data(ml: Path, content_type: str, data: dict[str, str | bytes], reason: str) -> None:
    lay(ml, GOOD, data, content_type)
    assert train() == 2
    assert failure(ml) == f"Customer Error: {reason}"


@pytest.mark.parametrize("width", [10**15, 10**30])
@pytest.mark.parametrize(
    ("data", "reason"), [(records(ROWS), "3 features, but feature_dim is 1000"), (b"", "No training data processed.")]
)
def test_more_dimensions_than_fit_into_memory(ml: Path, width: int, data: bytes, reason: str) -> None:
    """Whether there are data that do not fit to the number, or none."""
    lay(ml, {"k": "1", "feature_dim": str(width)}, {"train": data}, RECORDS)
    assert train() == 2
    assert reason in failure(ml)


def test_a_row_that_does_not_fit_into_memory(ml: Path) -> None:
    data = frame(record([1], keys=[5], shape=(10**15,)))
    lay(ml, {"k": "1", "feature_dim": str(10**15)}, {"train": data}, RECORDS)
    assert train() == 1
    assert failure(ml).startswith("There is not enough memory: Unable to allocate")


@pytest.mark.parametrize(("content_type", "content"), [(RECORDS, records(ROWS)), (NO_LABEL, csv(ROWS).encode())])
def test_pipes(ml: Path, content_type: str, content: bytes) -> None:
    """Each epoch has the next FIFO; the model is the one of File mode."""
    given = GOOD | {"mini_batch_size": "50", "epochs": "3"}
    lay(ml, given, {"train": content}, content_type)
    assert train() == 0
    want = model(ml)
    lay(ml, given, {}, inputdataconfig={name: channel(content_type, "Pipe") for name in ("train", "test")})
    fifos = [ml / f"input/data/{name}" for name in ("train_0", "train_1", "train_2", "test_0")]

    def write() -> None:
        for fifo in fifos:
            os.mkfifo(fifo)
            fifo.write_bytes(content)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    assert train() == 0
    writer.join(10)
    assert model(ml).tolist() == want.tolist()


def hosts(tmp_path: Path, parts: list[Any], given: dict[str, str], distribution: str) -> dict[str, Ended]:
    places = {f"algo-{number}": tmp_path / f"algo-{number}" for number in range(1, len(parts) + 1)}
    for ml, part in zip(places.values(), parts, strict=True):
        data = {"train": records(part), "test": records(part)}
        channels = {name: channel(RECORDS, distribution=distribution) for name in data}
        lay(ml, GOOD | given, data, inputdataconfig=channels)
    return run_hosts("kmeans", places)


def test_several_hosts(tmp_path: Path) -> None:
    """Shards of different sizes, and none: the centres are those of all rows, the first host writes them."""
    ended = hosts(tmp_path, [ROWS[:100], ROWS[100:], ROWS[:0]], {"mini_batch_size": "80"}, "ShardedByS3Key")
    assert [each.code for each in ended.values()] == [0, 0, 0], ended
    assert [each.ml.name for each in ended.values() if (each.ml / "model").exists()] == ["algo-1"]
    found = model(tmp_path / "algo-1")
    means = np.stack([ROWS[number::4].mean(axis=0) for number in range(4)])
    assert sorted_rows(found) == pytest.approx(sorted_rows(means), abs=0.1)
    told = [metrics(each.log) for each in ended.values()]
    for each in told:
        assert each["train:msd"] == told[0]["train:msd"]
        assert each["test:msd"] == pytest.approx(distances(ROWS, found).mean(), rel=1e-5)


def test_replicated_test_data_counts_once(tmp_path: Path) -> None:
    ended = hosts(tmp_path, [ROWS, ROWS], {"eval_metrics": '["ssd"]'}, "FullyReplicated")
    want = distances(ROWS, model(tmp_path / "algo-1")).sum()
    for name, each in ended.items():
        assert metrics(each.log)["test:ssd"] == pytest.approx(want, rel=1e-5)
        assert f"#quality_metric: host={name}, test ssd <loss>=" in each.log


def test_one_batch_is_the_same_on_any_number_of_hosts(tmp_path: Path) -> None:
    """What is summed over hosts is what one host would have summed."""
    given = {"k": "1", "extra_center_factor": "1"}
    hosts(tmp_path, [ROWS[:250], ROWS[250:]], given, "ShardedByS3Key")
    assert model(tmp_path / "algo-1") == pytest.approx(ROWS.mean(axis=0, keepdims=True), abs=1e-5)


def test_a_mistake_on_one_host_ends_all(tmp_path: Path) -> None:
    wrong = ROWS.copy()
    wrong[3, 1] = np.nan
    for each in hosts(tmp_path, [ROWS, wrong], {}, "ShardedByS3Key").values():
        assert each.code == 2
        assert "Found missing (NaN) values" in each.failure


def test_the_same_job_ends_with_the_same_model(ml: Path) -> None:
    models = []
    for _ in range(2):
        lay(ml, GOOD, {"train": records(ROWS)}, RECORDS)
        assert train() == 0
        models.append((ml / "model/model_algo-1").read_bytes())
    assert models[0] == models[1]


def test_hyperparameters_that_only_aws_uses(ml: Path) -> None:
    """They are in AWS's own default configuration."""
    given = GOOD | {
        "_kvstore": "auto",
        "_num_gpus": "auto",
        "_tuning_objective_metric": "test:msd",
        "force_dense": "True",
    }
    lay(ml, given, {"train": records(ROWS)}, RECORDS)
    assert train() == 0
    assert json.loads((ml / "input/config/hyperparameters.json").read_text())["force_dense"] == "True"
