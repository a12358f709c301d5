"""The built-in XGBoost, held to what AWS's container takes, prints and refuses."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from treadle.training.algorithms import toolkit

xgb = pytest.importorskip("xgboost")
from treadle.training.algorithms import xgboost as algorithm  # noqa: E402  (only where xgboost is installed)

CSV = "".join(f"{i % 2},{i},{i % 7},{(i * 37) % 11}\n" for i in range(60))
LIBSVM = "".join(f"{i % 2} 0:{i} 1:{i % 7} 3:{(i * 37) % 11}\n" for i in range(60))
GOOD = {"num_round": "3", "objective": "binary:logistic"}


@pytest.fixture
def ml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    return tmp_path


def lay(
    ml: Path,
    hyperparameters: dict[str, str],
    data: dict[str, str] | None = None,
    content_type: str = "text/csv",
    **config: Any,
) -> None:
    """Lay out what the platform puts before a program."""
    (ml / "input/config").mkdir(parents=True, exist_ok=True)
    channels = {}
    for channel, text in ({"train": CSV} if data is None else data).items():
        (ml / "input/data" / channel).mkdir(parents=True, exist_ok=True)
        if text:
            (ml / "input/data" / channel / "part-1").write_text(text)
        channels[channel] = {
            "TrainingInputMode": "File",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
        }
        if content_type:
            channels[channel]["ContentType"] = content_type
    for name, value in {"hyperparameters": hyperparameters, "inputdataconfig": channels, **config}.items():
        (ml / f"input/config/{name}.json").write_text(json.dumps(value))


def train() -> int:
    return toolkit.run(algorithm._program, ["train"])


def failure(ml: Path) -> str:
    return (ml / "output/failure").read_text()


def model(ml: Path) -> Any:
    booster = xgb.Booster()
    booster.load_model(bytearray((ml / "model/xgboost-model").read_bytes()))
    return booster


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
    assert model(ml).num_boosted_rounds() == 3
    assert [each.name for each in (ml / "model").iterdir()] == ["xgboost-model"]
    assert not (ml / "output").exists()


def test_the_defaults_are_xgboosts(ml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without an objective it is a regression, measured by rmse; without validation only train is measured."""
    lay(ml, {"num_round": "1"})
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
        pytest.param(GOOD | {"_kfold": "3"}, "cross validation is not supported by Treadle's XGBoost yet", id="folds"),
        pytest.param(GOOD | {"csv_weights": "1"}, "instance weights in CSV is not supported", id="weights"),
        pytest.param(GOOD | {"tree_method": "gpu_hist"}, "need a GPU", id="gpu"),
        pytest.param(GOOD | {"eval_metric": "f1"}, "Hyperparameter eval_metric: f1 is not supported by Treadle's XGBoost yet", id="f1"),
    ],
)  # fmt: skip
def test_refused_hyperparameters(
    ml: Path, capsys: pytest.CaptureFixture[str], hyperparameters: dict[str, str], reason: str
) -> None:
    """What AWS's container refuses is refused, in its words; nothing is trained."""
    lay(ml, hyperparameters)
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
        pytest.param({"train": CSV}, "application/x-parquet", {}, "Parquet is not supported", id="parquet"),
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
        pytest.param({"train": CSV}, "text/csv", {"resourceconfig": {"hosts": ["algo-1", "algo-2"]}}, "Training on 2 hosts is not supported", id="hosts"),
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
    """An empty field is a missing value; all files count, except those that start with "." or "_"."""
    lay(ml, GOOD)
    (ml / "input/data/train/more").mkdir()
    (ml / "input/data/train/more/part-2").write_text('1,,"3",4\n0,1,,2')
    (ml / "input/data/train/_SUCCESS").write_text("")
    (ml / "input/data/train/.hidden").write_text("x")
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
    assert model(ml).num_boosted_rounds() == 2


def test_early_stopping_keeps_the_best_rounds(ml: Path) -> None:
    """It looks at the last metric on validation and keeps the model of the best round; without a metric it is off."""
    noise = "".join(f"{(i * 7919 >> 3) % 2},{i},{i % 7},{i % 11}\n" for i in range(60))
    data = {"train": CSV, "validation": noise}
    lay(ml, GOOD | {"num_round": "40", "early_stopping_rounds": "2", "eval_metric": "logloss"}, data)
    assert train() == 0
    assert model(ml).num_boosted_rounds() < 38
    lay(ml, GOOD | {"num_round": "40", "early_stopping_rounds": "2"}, data)
    assert train() == 0
    assert model(ml).num_boosted_rounds() == 40


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
    lay(ml, {"num_round": "30", "eval_metric": "mse,r2"})
    assert train() == 0
    assert re.search(r"train-mse:0\.0\d+\ttrain-r2:0\.9", capsys.readouterr().out)


def test_hyperparameters_of_all_kinds(ml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Aliases, constraints, the retired and the SDKs' own are taken."""
    lay(
        ml,
        {
            "num_round": "2", "objective": "reg:linear", "learning_rate": "0.1", "reg_lambda": "2", "tree_method": "hist",
            "monotone_constraints": "(1,0,-1)", "interaction_constraints": "[[1, 2]]", "predictor": "cpu_predictor",
            "seed": "5", "sagemaker_program": '"train.py"', "verbosity": "1", "nthread": "1", "max_depth": "2",
        },
    )  # fmt: skip
    assert train() == 0, failure(ml)
    assert "Hyperparameter predictor has no effect" in capsys.readouterr().out


def test_what_is_unexpected_is_told_too(ml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged configuration is the platform's fault: a reason in the failure file all the same."""
    lay(ml, GOOD)
    (ml / "input/config/hyperparameters.json").write_text("{")
    assert train() == 1
    assert "hyperparameters.json is not JSON" in failure(ml)
    assert toolkit.run(algorithm._program, ["serve"]) == 2
    assert "usage:" in capsys.readouterr().err


def test_sigterm_saves_the_model_when_it_is_asked_to(ml: Path) -> None:
    """As a program: with save_model_on_termination the model of the last round is saved, and the exit code is 0."""
    lay(ml, GOOD | {"num_round": "100000000", "save_model_on_termination": "true"})
    command = [sys.executable, "-u", "-m", "treadle.training.algorithms.xgboost", "train"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        assert process.stdout
        while not process.stdout.readline().startswith(b"[2]"):
            assert select.select([process.stdout], [], [], 60)[0]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert model(ml).num_boosted_rounds() >= 3
