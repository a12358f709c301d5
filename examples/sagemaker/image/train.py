"""Learns to tell handwritten digits, with gradient-boosted trees.

A training program as it runs on SageMaker: it finds its hyperparameters and its data below /opt/ml, prints what it
measures, leaves the model in /opt/ml/model, and says in /opt/ml/output/failure why it could not. The channels `train`
and `validation` hold CSV files without a header, the label first.

Hyperparameters (all optional): epochs, eta, max_depth, subsample, seed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType

import numpy as np
import xgboost as xgb

# SAGEMAKER_BASE_DIR is where the contract's directories are when they cannot be at /opt/ml.
ML = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))

DEFAULTS = {"epochs": 30, "eta": 0.3, "max_depth": 4, "subsample": 0.8, "seed": 7}


def read_hyperparameters() -> dict[str, float]:
    """Give the defaults, overruled by what the request says. All values arrive as text."""
    path = ML / "input" / "config" / "hyperparameters.json"
    given = json.loads(path.read_text()) if path.exists() else {}
    unknown = sorted(set(given) - set(DEFAULTS))
    if unknown:
        raise ValueError(f"unknown hyperparameters: {', '.join(unknown)}; known are {', '.join(DEFAULTS)}")
    return {name: number(name, given.get(name, default), type(default)) for name, default in DEFAULTS.items()}


def number(name: str, value: str | float, kind: type[int | float]) -> float:
    """Read a number; say which one is wrong."""
    try:
        return kind(value)
    except ValueError:
        raise ValueError(f"the hyperparameter {name} must be of type {kind.__name__}, not {value!r}") from None


def read_channel(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Give features and labels of all CSV files of a channel."""
    files = sorted((ML / "input" / "data" / name).rglob("*.csv"))
    if not files:
        raise FileNotFoundError(f"the channel {name!r} holds no CSV file")
    rows = np.concatenate([np.loadtxt(file, delimiter=",", dtype=np.float32, ndmin=2) for file in files])
    return rows[:, 1:], rows[:, 0].astype(int)


class Interruption(xgb.callback.TrainingCallback):
    """Ends the training after the current epoch once SIGTERM has come, so that what was learned is kept."""

    def __init__(self) -> None:
        self.came = False
        signal.signal(signal.SIGTERM, self.note)

    def note(self, _number: int, _frame: FrameType | None) -> None:
        """Remember that the signal has come. Python calls this between two instructions, at once."""
        self.came = True

    def after_iteration(self, _model: xgb.Booster, epoch: int, _measured: dict) -> bool:
        """Tell XGBoost whether to stop."""
        if self.came:
            print(f"SIGTERM: stopping after epoch {epoch}, the model is kept")
        return self.came


class Progress(xgb.callback.TrainingCallback):
    """Prints a line for each epoch, in a form that a metric's regular expression can read."""

    def after_iteration(self, _model: xgb.Booster, epoch: int, measured: dict) -> bool:
        """Print, for both data sets, the last value of each metric."""
        print(
            f"epoch={epoch}",
            *(
                f"{data}:{metric}={values[-1]:.4f}"
                for data, each in measured.items()
                for metric, values in each.items()
            ),
        )
        return False


def accuracy(chances: np.ndarray, labels: np.ndarray) -> float:
    """Give the part of the rows for which the likeliest class is the right one."""
    return float(np.mean(chances.argmax(axis=1) == labels))


def train(interruption: Interruption) -> None:
    """Learn, measure, save."""
    hyperparameters = read_hyperparameters()
    print("hyperparameters:", json.dumps(hyperparameters))
    features, labels = read_channel("train")
    validation_features, validation_labels = read_channel("validation")
    print(f"{len(labels)} rows to learn from, {len(validation_labels)} to validate with, {features.shape[1]} features")

    classes = int(max(labels.max(), validation_labels.max())) + 1
    training = xgb.DMatrix(features, labels)
    validation = xgb.DMatrix(validation_features, validation_labels)
    parameters = {name: value for name, value in hyperparameters.items() if name != "epochs"}
    model = xgb.train(
        {"objective": "multi:softprob", "num_class": classes, "eval_metric": "mlogloss", **parameters},
        training,
        num_boost_round=int(hyperparameters["epochs"]),
        evals=[(training, "train"), (validation, "validation")],
        verbose_eval=False,
        callbacks=[Progress(), interruption],
    )

    # The lines that count: a metric definition such as {"Name": "accuracy", "Regex": "validation:accuracy=([0-9.]+)"}.
    score = accuracy(model.predict(validation), validation_labels)
    print(f"train:accuracy={accuracy(model.predict(training), labels):.4f}")
    print(f"validation:accuracy={score:.4f}")

    target = ML / "model"
    target.mkdir(parents=True, exist_ok=True)
    model.save_model(target / "model.ubj")
    metadata = {
        "features": int(features.shape[1]),
        "classes": classes,
        "epochs": model.num_boosted_rounds(),
        "hyperparameters": hyperparameters,
        "validation_accuracy": round(score, 4),
        "xgboost": xgb.__version__,
    }
    (target / "metadata.json").write_text(json.dumps(metadata, indent=2) + "\n")
    print(f"model of {model.num_boosted_rounds()} epochs written to {target}")


def main() -> int:
    """Train; give the exit code."""
    # The word `train` that AWS starts containers with is accepted; there is nothing else that could be asked for.
    if sys.argv[1:] not in ([], ["train"]):
        print(f"usage: {sys.argv[0]} [train]", file=sys.stderr)
        return 2
    try:
        train(Interruption())
    except Exception as error:  # the job's FailureReason shows this text
        failure = ML / "output" / "failure"
        failure.parent.mkdir(parents=True, exist_ok=True)
        failure.write_text(f"{type(error).__name__}: {error}")
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
