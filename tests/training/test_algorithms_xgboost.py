"""The built-in XGBoost, held to what AWS's container takes, prints and refuses."""

from __future__ import annotations

import pickle
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.training.algorithms import booster, failure, lay, start, until_line

from treadle.training.algorithms import program

xgb = pytest.importorskip("xgboost")
from treadle.training.algorithms.xgboost import job  # noqa: E402  (only where xgboost is installed)

CSV = "".join(f"{i % 2},{i},{i % 7},{(i * 37) % 11}\n" for i in range(60))
LIBSVM = "".join(f"{i % 2} 0:{i} 1:{i % 7} 3:{(i * 37) % 11}\n" for i in range(60))
GOOD = {"num_round": "3", "objective": "binary:logistic"}


def train() -> int:
    return program.run(job.train, ["train"])


@pytest.mark.parametrize(
    ("text", "content_type"),
    [(CSV, "text/csv"), (CSV.replace(",", ";"), "csv; label_size=1"), (LIBSVM, "text/libsvm"), (LIBSVM, "")],
)
def test_a_model_is_trained(ml: Path, capsys: pytest.CaptureFixture[str], text: str, content_type: str) -> None:
    """CSV and libsvm, which is the default; the log has a line for each round, in the form that metrics are read from."""
    lay(ml, GOOD | {"eval_metric": "logloss,error"}, {"train": text, "validation": text}, content_type)
    assert train() == 0
    out = capsys.readouterr().out
    number = r"\d+\.\d{5}"
    for epoch in range(3):
        words = "\t".join(
            rf"{on}-{metric}:{number}" for on in ("train", "validation") for metric in ("logloss", "error")
        )
        assert re.search(rf"^\[{epoch}\]\t{words}$", out, re.MULTILINE)
    assert "Train matrix has 60 rows and" in out
    assert "Validation matrix has 60 rows" in out
    assert booster(ml).num_boosted_rounds() == 3
    assert [each.name for each in (ml / "model").iterdir()] == ["xgboost-model"]
    assert not (ml / "output").exists()


def test_the_defaults_are_xgboosts(ml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without an objective it is a regression, measured by rmse; without validation only train is measured."""
    lay(ml, {"num_round": "1"}, {"train": CSV})
    assert train() == 0
    assert re.search(r"^\[0\]\ttrain-rmse:\d\.\d{5}$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(
    ("hyperparameters", "reason"),
    [
        pytest.param({}, "Missing required hyperparameter: num_round", id="nothing given"),
        pytest.param({"num_round": "x"}, "Hyperparameter num_round: could not parse value (caused by ValueError)", id="no number"),
        pytest.param({"num_round": "1.5"}, "Hyperparameter num_round: could not parse value (caused by ValueError)", id="no integer"),
        pytest.param({"num_round": "0"}, "Hyperparameter num_round: 0 is not in [1, +inf)", id="below"),
        pytest.param(GOOD | {"eta": "1.5"}, "Hyperparameter eta: 1.5 is not in [0, 1]", id="above"),
        pytest.param(GOOD | {"eta": "nan"}, "Hyperparameter eta: nan is not in [0, 1]", id="nan"),
        pytest.param(GOOD | {"subsample": "0"}, "Hyperparameter subsample: 0.0 is not in (0, 1]", id="open bound"),
        pytest.param(GOOD | {"nround": "3"}, "Extraneous hyperparameter found: nround", id="unknown"),
        pytest.param(GOOD | {"booster": "tree"}, "Hyperparameter booster: tree is not in ['gbtree', 'gblinear', 'dart']", id="word"),
        pytest.param(GOOD | {"objective": "multi:softmax"}, "Require input for parameter 'num_class' for multi-classification", id="classes"),
        pytest.param({"num_round": "1", "eval_metric": "auc"}, "Metric 'auc' can only be applied for classification and ranking problems.", id="auc"),
        pytest.param(GOOD | {"eval_metric": "best"}, "Hyperparameter eval_metric: value ['best'] not in range", id="metric"),
        pytest.param(GOOD | {"eval_metric": "error@x"}, "Threshold value 't' in 'error@t' expects float input.", id="threshold"),
        pytest.param(GOOD | {"eval_metric": "rmse@1"}, "Metric 'rmse@1' is not supported.", id="threshold of another"),
        pytest.param(GOOD | {"monotone_constraints": "(1,0,0)"}, "monotone_constraints can be used only when", id="constraints"),
        pytest.param(GOOD | {"monotone_constraints": "__import__('os')"}, "Hyperparameter monotone_constraints: could not parse value", id="code"),
        pytest.param(GOOD | {"monotone_constraints": "(2,0,0)"}, "Hyperparameter monotone_constraints: value (2, 0, 0) not in range [-1, 0, 1]", id="constraint"),
        pytest.param(GOOD | {"interaction_constraints": "[[0,1]]"}, "Hyperparameter interaction_constraints: value [[0, 1]] not in range [1, +inf)", id="nested"),
        pytest.param(GOOD | {"interaction_constraints": "[[1,2]]"}, "interaction_constraints can be used only when", id="interactions"),
        pytest.param(GOOD | {"eval_metric": "auc, error"}, "Hyperparameter eval_metric: value ['auc', ' error'] not in range", id="a space"),
        pytest.param(GOOD | {"eval_metric": "<function f>"}, "User defined evaluation metric <function f> is not supported yet.", id="function"),
        pytest.param(GOOD | {"eval_metric": "aft-nloglik"}, "Metric 'aft-nloglik' can only be applied for 'survival:aft' objective.", id="aft"),
        pytest.param(GOOD | {"_tuning_objective_metric": "train:error"}, "Hyperparameter _tuning_objective_metric: train:error is not in", id="tuning"),
        pytest.param(GOOD | {"_kfold": "1"}, "Hyperparameter _kfold: 1 is not in [2, +inf)", id="folds"),
        pytest.param(GOOD | {"csv_weights": "2"}, "Hyperparameter csv_weights: 2 is not in [0, 1]", id="weights"),
        pytest.param(GOOD | {"tweedie_variance_power": "2"}, "Hyperparameter tweedie_variance_power: 2.0 is not in (1, 2)", id="both open"),
        pytest.param(GOOD | {"seed": str(-(2**31))}, f"Hyperparameter seed: {-(2**31)} is not in ({-(2**31)}, {2**31 - 1})", id="seed"),
        pytest.param(GOOD | {"prob_buffer_row": "1"}, "Hyperparameter prob_buffer_row: 1 is not in (1, +inf)", id="buffer"),
        pytest.param(GOOD | {"silent": "1"}, "Extraneous hyperparameter found: silent", id="of an older version"),
        pytest.param(GOOD | {"booster": "gblinear", "updater": "prune"}, "Linear updater should be one of these options: 'shotgun', 'coord_descent'.", id="linear updater"),
        pytest.param(GOOD | {"process_type": "update", "updater": "sync"}, "process_type 'update' can only be used with", id="update"),
        pytest.param(GOOD | {"updater": "shotgun"}, "Tree updater should be selected from these options:", id="tree updater"),
        pytest.param(GOOD | {"updater": "grow_colmaker,distcol"}, "Only one tree grow plugin can be selected.", id="two growers"),
        pytest.param(GOOD | {"updater": "grow_quantile_histmaker"}, "Hyperparameter updater: value ['grow_quantile_histmaker'] not in range", id="grower"),
        pytest.param(GOOD | {"tree_method": "gpu_hist"}, "need a GPU; there is none here", id="gpu"),
        pytest.param(GOOD | {"use_dask_gpu_training": "true"}, "Dask training is only available for `gpu_hist` training on GPU instances.", id="dask"),
    ],
)  # fmt: skip
def test_refused_hyperparameters(
    ml: Path, capsys: pytest.CaptureFixture[str], hyperparameters: dict[str, str], reason: str
) -> None:
    """What AWS's container refuses is refused, in its words; nothing is trained."""
    lay(ml, hyperparameters, {"train": CSV})
    assert train() == 1
    assert failure(ml).startswith("Customer Error: ")
    assert reason in failure(ml)
    assert reason in capsys.readouterr().out
    assert not (ml / "model").exists()


@pytest.mark.parametrize(
    ("data", "content_type", "config", "reason"),
    [
        pytest.param({}, "text/csv", {}, "Missing required channel: train", id="no channel"),
        pytest.param({"train": CSV, "test": CSV}, "text/csv", {}, "Extraneous channel found: test", id="unknown channel"),
        pytest.param({"train": ""}, "text/csv", {}, "No data in training channel path", id="empty train"),
        pytest.param({"train": CSV, "validation": "\n"}, "text/libsvm", {}, "First line '0,0,0,0...' of file 'part-1' is not 'LIBSVM' format.", id="csv as libsvm"),
        pytest.param({"train": CSV, "validation": ""}, "text/csv", {}, "No data in validation channel path", id="empty validation"),
        pytest.param({"train": CSV}, "text/html", {}, "text/html is not an accepted ContentType: csv, libsvm,", id="content type"),
        pytest.param({"train": CSV}, "text/csv; label_size=2", {}, "label_size must be equal to 1", id="labels"),
        pytest.param({"train": CSV}, "recordio-protobuf", {}, "part-1: record 1: no RecordIO: 0x2c302c30 stands where 0xced7230a must", id="no records"),
        pytest.param({"train": "age,x\n1,2\n"}, "text/csv", {}, "part-1:1: column 1 is no number: 'age' (the file must not have a header", id="header"),
        pytest.param({"train": "1,2\n1,2,3\n"}, "text/csv", {}, "part-1:2: 3 columns, but 2 before", id="ragged"),
        pytest.param({"train": "1,2\n\n1,x\n"}, "text/csv", {}, "part-1:3: column 2 is no number: 'x'", id="word"),
        pytest.param({"train": "1,2\n\n,3\n"}, "text/csv", {}, "part-1:3: the label (first column) is missing", id="no label"),
        pytest.param({"train": "1\n2\n"}, "text/csv", {}, "Could not determine delimiter on line 1", id="one column"),
        pytest.param({"train": CSV, "validation": "1,2\n"}, "text/csv", {}, "feature_names mismatch: 3 columns in train, 1 in validation", id="widths"),
        pytest.param({"train": "1 1:2\n0 x\n"}, "text/libsvm", {}, "part-1:2: no libsvm: 'x' is not <index>:<value>", id="no pair"),
        pytest.param({"train": "1 1:2\n0 -1:3\n"}, "text/libsvm", {}, "part-1:2: no libsvm: the index '-1' is no whole number", id="index"),
        pytest.param({"train": "1:2 1:2\n0 1:3\n"}, "text/libsvm", {}, "1 of 2 lines in part-1 have weights", id="weights"),
        pytest.param({"train": CSV.replace("1,", "5,")}, "text/csv", {}, "label must be in [0,1] for logistic regression", id="labels out of range"),
        pytest.param({"train": CSV, "validation": "2,1,1,1\n"}, "text/csv", {}, "label must be in [0,1] for logistic regression", id="in validation"),
    ],
)  # fmt: skip
def test_refused_data(ml: Path, data: dict[str, str], content_type: str, config: dict[str, Any], reason: str) -> None:
    """Channels, content types and files that cannot be used: file and line, or AWS's text."""
    lay(ml, GOOD, data, content_type, **config)
    assert train() == 1
    assert failure(ml).startswith("Customer Error: ")
    assert reason in failure(ml)
    assert not (ml / "model").exists()


def test_missing_values_and_several_files(ml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty field is a missing value; all files count, except those whose names start with "_"."""
    lay(ml, GOOD, {"train": {"part-1": CSV, "_SUCCESS": "x"}})
    (ml / "input/data/train/more").mkdir()
    (ml / "input/data/train/more/part-2").write_text('1,,"3",4\n0,1,,2')
    assert train() == 0
    assert "Train matrix has 62 rows and 3 columns" in capsys.readouterr().out


def test_weights_and_groups_of_libsvm(ml: Path) -> None:
    """`label:weight` and, for rankings, `qid:n` are read; comments are not."""
    weighted = "".join(f"{i % 2}:{1 + i % 3} 0:{i} 2:{i % 5} # row {i}\n" for i in range(40))
    lay(ml, GOOD, {"train": weighted}, "libsvm")
    assert train() == 0
    ranked = "".join(f"{i % 3} qid:{i // 10} 0:{i} 2:{i % 5}\n" for i in range(40))
    lay(ml, {"num_round": "2", "objective": "rank:pairwise"}, {"train": ranked}, "libsvm")
    assert train() == 0
    assert booster(ml).num_boosted_rounds() == 2


def test_early_stopping_keeps_the_best_rounds(ml: Path) -> None:
    """It looks at the last metric on validation and keeps the model of the best round; without a metric it is off."""
    noise = "".join(f"{(i * 7919 >> 3) % 2},{i},{i % 7},{i % 11}\n" for i in range(60))
    data = {"train": CSV, "validation": noise}
    lay(ml, GOOD | {"num_round": "40", "early_stopping_rounds": "2", "eval_metric": "logloss"}, data)
    assert train() == 0
    assert booster(ml).num_boosted_rounds() < 38
    lay(ml, GOOD | {"num_round": "40", "early_stopping_rounds": "2"}, data)
    assert train() == 0
    assert booster(ml).num_boosted_rounds() == 40


def test_metrics_that_aws_adds(ml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """accuracy, mse and r2 are computed; a tuning's metric is measured, too."""
    tuning = {"_tuning_objective_metric": "validation:accuracy"}
    lay(
        ml,
        {"num_round": "20", "objective": "multi:softprob", "num_class": "2"} | tuning,
        {"train": CSV, "validation": CSV},
    )
    assert train() == 0
    assert "validation-accuracy:1.00000" in capsys.readouterr().out
    lay(ml, {"num_round": "30", "eval_metric": "mse,r2"}, {"train": CSV})
    assert train() == 0
    assert re.search(r"train-mse:0\.0\d+\ttrain-r2:0\.9", capsys.readouterr().out)


def test_hyperparameters_of_all_kinds(ml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Aliases, constraints, the retired and the SDKs' own are taken."""
    lay(
        ml,
        {
            "num_round": "2", "objective": "reg:linear", "learning_rate": "0.1", "reg_lambda": "2", "tree_method": "hist",
            "monotone_constraints": "(1,0,-1)", "interaction_constraints": "[[1, 2]]", "predictor": "cpu_predictor",
            "seed": "5", "sagemaker_region": '"us-east-1"', "verbosity": "1", "nthread": "1", "max_depth": "2",
        },
        {"train": CSV},
    )  # fmt: skip
    assert train() == 0, failure(ml)
    assert "Hyperparameter predictor has no effect" in capsys.readouterr().out


def test_what_is_unexpected_is_told_too(ml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged configuration is the platform's fault: a reason in the failure file all the same."""
    lay(ml, GOOD, {"train": CSV})
    (ml / "input/config/hyperparameters.json").write_text("{")
    assert train() == 1
    assert "hyperparameters.json is not JSON" in failure(ml)
    assert program.run(job.train, ["serve"]) == 2
    assert "usage:" in capsys.readouterr().err


def test_sigterm_saves_the_model_when_it_is_asked_to(ml: Path) -> None:
    """As a program: with save_model_on_termination the model of the last round is saved, and the exit code is 0."""
    lay(ml, GOOD | {"num_round": "100000000", "save_model_on_termination": "true"}, {"train": CSV})
    with start("xgboost", ml) as process:
        until_line(process, "[2]")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert booster(ml).num_boosted_rounds() >= 3


def test_sigterm_without_that_ends_it_at_once(ml: Path) -> None:
    """Nothing is saved but what was."""
    lay(ml, GOOD | {"num_round": "100000000"}, {"train": CSV})
    with start("xgboost", ml) as process:
        until_line(process, "[2]")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    assert not (ml / "model").exists()


def test_weights_in_csv(ml: Path) -> None:
    """With csv_weights the second column says how much a row counts: the model is XGBoost's own with these weights."""
    rows = np.array([[int(field) for field in line.split(",")] for line in CSV.splitlines()], float)
    weights = 1 + np.arange(len(rows)) % 3
    weighted = "".join(
        f"{int(row[0])},{weight}," + ",".join(map(str, row[1:])) + "\n"
        for row, weight in zip(rows, weights, strict=True)
    )
    lay(ml, GOOD | {"csv_weights": "1"}, {"train": weighted})
    assert train() == 0
    matrix = xgb.DMatrix(rows[:, 1:], label=rows[:, 0], weight=weights)
    want = xgb.train({"objective": "binary:logistic"}, matrix, 3).predict(matrix)
    assert booster(ml).predict(matrix) == pytest.approx(want)
    lay(ml, GOOD | {"csv_weights": "1"}, {"train": "1,,2\n0,1,3\n"})
    assert train() == 1
    assert "part-1:1: the weight (second column) is missing or no finite number" in failure(ml)


def test_warnings_of_the_data(ml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is in both channels, and files too deep in folders, are told as AWS's container does."""
    lay(ml, GOOD, {"train": CSV, "validation": CSV})
    deep = ml / "input/data/train/a/b/c"
    deep.mkdir(parents=True)
    (deep / "part-9").write_text("x")
    assert train() == 0
    said = capsys.readouterr().out
    assert "Suspected identical files found." in said
    assert "exceed the limit 3. Files in deeper sub dirs won't be loaded." in said


def test_a_hidden_file_is_refused(ml: Path) -> None:
    """As on AWS."""
    lay(ml, GOOD, {"train": {"part-1": CSV, ".DS_Store": "x"}})
    assert train() == 1
    assert failure(ml) == "Customer Error: Hidden file found in the data path! Remove that before training."


@pytest.mark.parametrize(
    ("version", "pickled"), [("1.2-2", True), ("1.0-1-cpu-py3", True), ("1.7-1", False), ("3.0-5", False)]
)
def test_the_format_of_the_model_is_that_of_the_version(
    ml: Path, monkeypatch: pytest.MonkeyPatch, version: str, *, pickled: bool
) -> None:
    """Up to 1.2 it is a pickle."""
    monkeypatch.setenv("TREADLE_ALGORITHM_VERSION", version)
    lay(ml, GOOD, {"train": CSV})
    assert train() == 0
    written = (ml / "model/xgboost-model").read_bytes()
    loaded = pickle.loads(written) if pickled else booster(ml)  # noqa: S301 (written here)
    assert loaded.num_boosted_rounds() == 3


def test_checkpoints(ml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last five stay; what is there goes on with the next round, and ends with the model that it would have been."""
    checkpoints: dict[str, Any] = {"checkpointconfig": {"LocalPath": "/opt/ml/checkpoints"}}
    lay(ml, GOOD | {"num_round": "9"}, {"train": CSV})
    assert train() == 0
    want = booster(ml).get_dump()
    lay(ml, GOOD | {"num_round": "7"}, {"train": CSV}, **checkpoints)
    assert train() == 0
    assert sorted(each.name for each in (ml / "checkpoints").iterdir()) == [
        f"xgboost-checkpoint.{n}" for n in range(2, 7)
    ]
    (ml / "checkpoints/xgboost-checkpoint.99").write_bytes(b"{")
    capsys.readouterr()
    lay(ml, GOOD | {"num_round": "9"}, {"train": CSV}, **checkpoints)
    assert train() == 0
    said = capsys.readouterr().out
    assert "Wrong checkpoint model format xgboost-checkpoint.99" in said
    assert "Resuming from iteration 7" in said
    assert re.findall(r"^\[(\d+)\]\t", said, re.MULTILINE) == ["7", "8"]
    assert booster(ml).get_dump() == want


def test_cross_validation(ml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model for each fold, measured on the rows that it has not seen; what was said of each row is kept."""
    lay(ml, GOOD | {"_kfold": "3", "_num_cv_round": "2", "eval_metric": "error"}, {"train": CSV, "validation": CSV})
    assert train() == 0, failure(ml)
    assert sorted(each.name for each in (ml / "model").iterdir()) == [f"xgboost-model-{n}" for n in range(6)]
    said = capsys.readouterr().out
    assert "Run 2-round of 3-fold cross validation with 120 rows" in said
    assert len(re.findall(r"^\[3\]\ttrain-error:\d\.\d{5}\tvalidation-error:\d\.\d{5}$", said, re.MULTILINE)) == 3
    rows = np.loadtxt(ml / "output/data/predictions.csv", delimiter=",")
    assert rows.shape == (120, 3)
    assert set(rows[:, 2]) <= {0, 1}
    assert np.array_equal(np.sort(rows[:, 0]), np.sort([i % 2 for i in range(120)]))


def test_cross_validation_of_a_regression(ml: Path) -> None:
    """Then there is no class to be said, but a number."""
    lay(ml, {"num_round": "20", "objective": "reg:squarederror", "_kfold": "4"}, {"train": CSV.replace("1,", "9.5,")})
    assert train() == 0, failure(ml)
    rows = np.loadtxt(ml / "output/data/predictions.csv", delimiter=",")
    assert rows.shape == (60, 2)
