"""The built-in XGBoost: gradient-boosted trees under the training container's contract, `… xgboost train`.

It stands in for AWS's `sagemaker-xgboost` images in algorithm mode (aws/sagemaker-xgboost-container): the same
hyperparameters, channels, content types and refusals, the same lines in the log (`[0]<tab>train-rmse:0.10000`),
whichever version of XGBoost is installed. The model is `xgboost-model`, written by `Booster.save_model` as in images
from 1.3 on (older ones pickled it), in XGBoost's UBJSON format: `Booster.load_model` reads it.

What those images can and this cannot is refused by name: Pipe mode, Parquet and RecordIO, instance weights in CSV,
cross validation, several hosts, GPUs, and some of the metrics that AWS adds to XGBoost's own.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import numpy as np
import xgboost as xgb

from treadle.training.algorithms.tables import Table, data_files, read_csv, read_libsvm
from treadle.training.algorithms.toolkit import (
    AlgorithmError,
    Categorical,
    CommaSeparated,
    Continuous,
    Directories,
    Hyperparameter,
    Integer,
    Interval,
    Literals,
    UserError,
    check_channels,
    log,
    run,
    validated,
)

__all__ = ["HYPERPARAMETERS", "MODEL_NAME", "main"]

MODEL_NAME: Final = "xgboost-model"

# ---------------------------------------------------------------------------------------------------------------------
# Hyperparameters
# ---------------------------------------------------------------------------------------------------------------------

_FROM_ZERO: Final = Interval(0)
_FROM_ONE: Final = Interval(1)
_ZERO_TO_ONE: Final = Interval(0, 1)
_PART: Final = Interval(0, 1, open_low=True)
_POSITIVE: Final = Interval(0, open_low=True)

_OBJECTIVES: Final = (
    "aft_loss_distribution", "binary:logistic", "binary:logitraw", "binary:hinge", "count:poisson", "multi:softmax",
    "multi:softprob", "rank:pairwise", "rank:ndcg", "rank:map", "reg:linear", "reg:squarederror", "reg:logistic",
    "reg:gamma", "reg:pseudohubererror", "reg:squaredlogerror", "reg:tweedie", "survival:aft", "survival:cox",
)  # fmt: skip

# Metrics that XGBoost has, where less is better and where more is; then those that AWS's container adds to them.
_MINIMISED: Final = (
    "aft-nloglik", "cox-nloglik", "error", "gamma-deviance", "gamma-nloglik", "interval-regression-accuracy", "logloss",
    "mae", "mape", "merror", "mlogloss", "mphe", "poisson-nloglik", "rmse", "rmsle", "tweedie-nloglik",
)  # fmt: skip
_MAXIMISED: Final = ("auc", "aucpr", "map", "ndcg")
_ADDED_MAXIMISED: Final = (
    "accuracy", "balanced_accuracy", "f1", "f1_binary", "f1_macro", "precision", "r2", "recall", "precision_macro",
    "precision_micro", "recall_macro", "recall_micro",
)  # fmt: skip
_METRICS: Final = (*_MAXIMISED, *_ADDED_MAXIMISED, *_MINIMISED, "mse")
_WITH_THRESHOLD: Final = ("error", "ndcg", "map")

_UPDATERS: Final = (
    "grow_colmaker", "distcol", "grow_histmaker", "grow_local_histmaker", "grow_skmaker", "sync", "refresh", "prune",
    "grow_quantile_histmaker", "shotgun", "coord_descent",
)  # fmt: skip


def _is_metric(name: str) -> bool:
    if "@" not in name:
        return name in _METRICS
    metric, _, threshold = (part.strip() for part in name.partition("@"))
    if metric not in _WITH_THRESHOLD:
        raise UserError(
            f"Metric '{name}' is not supported. Parameter 'eval_metric' with customized threshold should be one of "
            "these options: 'error', 'ndcg', 'map'."
        )
    try:
        float(threshold)
    except ValueError as error:
        raise UserError(f"Threshold value 't' in '{metric}@t' expects float input.") from error
    return True


HYPERPARAMETERS: Final[tuple[Hyperparameter, ...]] = (
    Integer("num_round", required=True, range=_FROM_ONE),
    Integer("csv_weights", range=_ZERO_TO_ONE),
    Integer("early_stopping_rounds", range=_FROM_ONE),
    Categorical("booster", values=("gbtree", "gblinear", "dart")),
    Integer("verbosity", range=Interval(0, 3)),
    Integer("nthread", range=_FROM_ONE),
    Continuous("eta", range=_ZERO_TO_ONE),
    Continuous("gamma", range=_FROM_ZERO),
    Integer("max_depth", range=_FROM_ZERO),
    Continuous("min_child_weight", range=_FROM_ZERO),
    Continuous("max_delta_step", range=_FROM_ZERO),
    Continuous("subsample", range=_PART),
    Continuous("colsample_bytree", range=_PART),
    Continuous("colsample_bylevel", range=_PART),
    Continuous("colsample_bynode", range=_PART),
    Continuous("lambda", range=_FROM_ZERO),
    Continuous("alpha", range=_FROM_ZERO),
    Categorical("tree_method", values=("auto", "exact", "approx", "hist", "gpu_hist")),
    Continuous("sketch_eps", range=Interval(0, 1, open_low=True, open_high=True)),
    Continuous("scale_pos_weight", range=_POSITIVE),
    CommaSeparated("updater", allowed=_UPDATERS.__contains__, values=_UPDATERS),
    Categorical("dsplit", values=("row", "col")),
    Integer("refresh_leaf", range=_ZERO_TO_ONE),
    Categorical("process_type", values=("default", "update")),
    Categorical("grow_policy", values=("depthwise", "lossguide")),
    Integer("max_leaves", range=_FROM_ZERO),
    Integer("max_bin", range=_FROM_ZERO),
    Categorical("predictor", values=("auto", "cpu_predictor", "gpu_predictor")),
    Literals("monotone_constraints", depth=1, range=Interval(-1, 1)),
    Literals("interaction_constraints", depth=2, range=_FROM_ONE),
    Categorical("sample_type", values=("uniform", "weighted")),
    Categorical("normalize_type", values=("tree", "forest")),
    Continuous("rate_drop", range=_ZERO_TO_ONE),
    Integer("one_drop", range=_ZERO_TO_ONE),
    Continuous("skip_drop", range=_ZERO_TO_ONE),
    Continuous("lambda_bias", range=_ZERO_TO_ONE),
    Continuous("tweedie_variance_power", range=Interval(1, 2, open_low=True, open_high=True)),
    Categorical("objective", values=_OBJECTIVES),
    Integer("num_class", range=Interval(2)),
    Continuous("base_score", range=_FROM_ZERO),
    Integer("_kfold", range=Interval(2)),
    Integer("_num_cv_round", range=_FROM_ONE),
    Categorical(
        "_tuning_objective_metric", values=tuple(f"{on}:{m}" for on in ("train", "validation") for m in _METRICS)
    ),
    CommaSeparated("eval_metric", allowed=_is_metric, values=_METRICS),
    Integer("seed", range=Interval(-(2**31), 2**31 - 1, open_low=True, open_high=True)),
    Integer("num_parallel_tree", range=_FROM_ONE),
    Categorical("save_model_on_termination", values=("true", "false")),
    Categorical("aft_loss_distribution", values=("normal", "logistic", "extreme")),
    Continuous("aft_loss_distribution_scale", range=_FROM_ZERO),
    Categorical("single_precision_histogram", values=("true", "false")),
    Categorical("deterministic_histogram", values=("true", "false")),
    Categorical("sampling_method", values=("uniform", "gradient_based")),
    Integer("prob_buffer_row", range=Interval(1, open_low=True)),
)

_ALIASES: Final = {
    "learning_rate": "eta", "min_split_loss": "gamma", "reg_lambda": "lambda", "reg_alpha": "alpha",
}  # fmt: skip

# Taken, checked, and without effect in the versions of XGBoost that run here.
_WITHOUT_EFFECT: Final = (
    "sketch_eps", "dsplit", "predictor", "lambda_bias", "single_precision_histogram", "deterministic_histogram",
    "prob_buffer_row",
)  # fmt: skip


def _hyperparameters(given: dict[str, str]) -> dict[str, Any]:
    """Read and check all of them. Those of the SDKs' script mode (`sagemaker_…`) are not the algorithm's."""
    own = {name: str(text) for name, text in given.items() if not name.startswith("sagemaker_")}
    values = validated(HYPERPARAMETERS, own, _ALIASES)
    _check_together(values)
    for name, unsupported in (
        ("_kfold", "cross validation"),
        ("_num_cv_round", "cross validation"),
        ("csv_weights", "instance weights in CSV"),
    ):
        if values.pop(name, 0):
            raise UserError(f"Hyperparameter {name}: {unsupported} is not supported by Treadle's XGBoost yet")
    if values.get("tree_method") == "gpu_hist" or values.get("predictor") == "gpu_predictor":
        raise UserError(
            "Hyperparameters tree_method gpu_hist and predictor gpu_predictor need a GPU; there is none here"
        )
    return values


def _check_together(values: dict[str, Any]) -> None:
    objective, metrics = values.get("objective", "reg:squarederror"), values.get("eval_metric", ())
    if objective in {"multi:softmax", "multi:softprob"} and "num_class" not in values:
        raise UserError("Require input for parameter 'num_class' for multi-classification")
    if "auc" in metrics and not objective.startswith(("binary:", "rank:")):
        raise UserError("Metric 'auc' can only be applied for classification and ranking problems.")
    if "aft-nloglik" in metrics and objective != "survival:aft":
        raise UserError("Metric 'aft-nloglik' can only be applied for 'survival:aft' objective.")
    method = values.get("tree_method")
    if "monotone_constraints" in values and method not in {"exact", "hist"}:
        raise UserError(
            "monotone_constraints can be used only when the tree_method parameter is set to either 'exact' or 'hist'."
        )
    if "interaction_constraints" in values and method not in {"exact", "hist", "approx"}:
        raise UserError(
            "interaction_constraints can be used only when the tree_method parameter is set to either 'exact', 'hist' "
            "or 'approx'."
        )
    _check_updater(values)


def _check_updater(values: dict[str, Any]) -> None:
    updater = values.get("updater")
    if not updater:
        return
    if values.get("booster") == "gblinear":
        if len(updater) != 1 or updater[0] not in {"shotgun", "coord_descent"}:
            raise UserError("Linear updater should be one of these options: 'shotgun', 'coord_descent'.")
    elif values.get("process_type") == "update" and not set(updater) <= {"refresh", "prune"}:
        raise UserError("process_type 'update' can only be used with updater 'refresh' and 'prune'")


# ---------------------------------------------------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------------------------------------------------

_CSV: Final = {"csv", "text/csv"}
_LIBSVM: Final = {"libsvm", "text/libsvm", "text/x-libsvm"}
_NOT_YET: Final = {
    "parquet": "Parquet", "application/x-parquet": "Parquet",
    "recordio-protobuf": "RecordIO", "application/x-recordio-protobuf": "RecordIO",
}  # fmt: skip
_ACCEPTED: Final = (
    "csv, libsvm, parquet, recordio-protobuf, text/csv, text/libsvm, text/x-libsvm, application/x-parquet, "
    "application/x-recordio-protobuf"
)


def _reader(content_type: str | None) -> Callable[[list[Path]], Table]:
    """Give what reads a ContentType; without one it is libsvm, as on AWS."""
    if content_type is None:
        return read_libsvm
    kind, *parameters = (part.strip() for part in content_type.lower().split(";"))
    if kind in _LIBSVM:
        return read_libsvm
    if kind in _CSV:
        if any(each.startswith("label_size=") and each != "label_size=1" for each in parameters):
            raise UserError(
                f"{content_type} is not an accepted csv ContentType. Optional parameter label_size must be equal to 1"
            )
        return read_csv
    if kind in _NOT_YET:
        raise UserError(f"ContentType {content_type}: {_NOT_YET[kind]} is not supported by Treadle's XGBoost yet")
    raise UserError(f"{content_type} is not an accepted ContentType: {_ACCEPTED}.")


def _check_modes(channels: dict[str, dict[str, str]]) -> None:
    for name, channel in channels.items():
        if channel.get("TrainingInputMode") == "Pipe":
            raise UserError(f"Channel {name}: Pipe mode is not supported by Treadle's XGBoost yet; use File")


def _matrix(table: Table, columns: int) -> Any:
    features = table.features
    if isinstance(features, tuple):
        from scipy.sparse import csr_matrix  # type: ignore[import-untyped]  # XGBoost brings it, and only libsvm needs it

        features = csr_matrix(features, shape=(len(table), columns))
    return xgb.DMatrix(features, label=table.labels, weight=table.weights, qid=table.groups)


def _matrices(directories: Directories, channels: dict[str, dict[str, str]]) -> list[tuple[Any, str]]:
    """Give the matrices and their names, that of the training first."""
    read = _reader(channels["train"].get("ContentType"))
    tables: dict[str, Table] = {}
    for name, told in (("train", "training"), ("validation", "validation")):
        if name in channels:
            tables[name] = read(data_files(directories.channel(name)))
            if not len(tables[name]):
                raise UserError(f"No data in {told} channel path {directories.channel(name)}")
    columns = tables["train"].columns
    validation = tables.get("validation")
    if validation and (validation.columns > columns or (validation.columns != columns and read is read_csv)):
        raise UserError(f"feature_names mismatch: {columns} columns in train, {validation.columns} in validation")
    matrices = [(_matrix(table, columns), name) for name, table in tables.items()]
    log(f"Train matrix has {matrices[0][0].num_row()} rows and {matrices[0][0].num_col()} columns")
    for matrix, _ in matrices[1:]:
        log(f"Validation matrix has {matrix.num_row()} rows")
    return matrices


# ---------------------------------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------------------------------


class _Monitor(xgb.callback.TrainingCallback):
    """Prints `[0]<tab>train-rmse:0.10000<tab>validation-rmse:0.20000` after every round."""

    def after_iteration(self, _model: Any, epoch: int, evals_log: Any) -> bool:
        words = [f"{on}-{name}:{values[-1]:.5f}" for on, each in evals_log.items() for name, values in each.items()]
        print("\t".join([f"[{epoch}]", *words]), flush=True)
        return False


class _Termination(xgb.callback.TrainingCallback):
    """With `save_model_on_termination`, SIGTERM ends the training after the round, so that the model can be saved."""

    def __init__(self) -> None:
        self._came = False
        signal.signal(signal.SIGTERM, self._note)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._came = True

    def after_iteration(self, _model: Any, epoch: int, _evals_log: Any) -> bool:
        if self._came:
            log(f"SIGTERM: the model of round {epoch} is saved")
        return self._came


def _accuracy(predicted: Any, labels: Any, objective: str) -> float:
    if predicted.ndim > 1:
        classes = predicted.argmax(axis=1)
    elif objective == "multi:softmax":
        classes = predicted
    else:
        classes = predicted > (0.0 if objective == "binary:logitraw" else 0.5)
    return float(np.mean(classes == labels))


def _mse(predicted: Any, labels: Any, _objective: str) -> float:
    return float(np.mean((predicted - labels) ** 2))


def _r2(predicted: Any, labels: Any, _objective: str) -> float:
    spread = float(np.sum((labels - labels.mean()) ** 2))
    return 1.0 - float(np.sum((labels - predicted) ** 2)) / spread if spread else 0.0


_ADDED: Final[dict[str, Callable[[Any, Any, str], float]]] = {"accuracy": _accuracy, "mse": _mse, "r2": _r2}


def _metrics(values: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Give XGBoost's metrics and those computed here; that of a tuning is among them, sorted as AWS does."""
    asked: list[str] = values.pop("eval_metric", [])
    tuning = values.pop("_tuning_objective_metric", "").partition(":")[2]
    if tuning:
        asked = sorted({*asked, tuning})
    added = [name for name in asked if name in _ADDED_MAXIMISED or name == "mse"]
    missing = [name for name in added if name not in _ADDED]
    if missing:
        raise UserError(f"Hyperparameter eval_metric: {missing[0]} is not supported by Treadle's XGBoost yet")
    return [name for name in asked if name not in added], added


def _computed(names: list[str], objective: str) -> Callable[[Any, Any], list[tuple[str, float]]] | None:
    if not names:
        return None
    return lambda predicted, matrix: [(name, _ADDED[name](predicted, matrix.get_label(), objective)) for name in names]


def _early_stopping(values: dict[str, Any], metrics: list[str], *, validated_too: bool) -> list[Any]:
    """As on AWS it looks at the last metric asked for, on `validation`, and without one of them does nothing."""
    rounds = values.pop("early_stopping_rounds", None)
    if not (rounds and metrics and validated_too):
        return []
    metric = metrics[-1]
    maximise = metric.partition("@")[0] in {*_MAXIMISED, *_ADDED_MAXIMISED}
    return [
        xgb.callback.EarlyStopping(
            rounds=rounds, data_name="validation", metric_name=metric, maximize=maximise, save_best=True
        )
    ]


# What XGBoost says when the data do not suit the objective (constants/xgb_constants.py of AWS's container).
_CUSTOMER_ERRORS: Final = (
    "label must be in [0,1] for logistic regression",
    "label must be in [0, num_class)",
    "feature_names mismatch",
    "preds.size() == info.labels",
    "the dataset only contains pos or neg samples",
    "base_score must be in (0,1)",
    "label must be nonnegative",
    "reg_lambda should be greater equal to 0",
)


def _check_labels(matrix: Any, objective: str, classes: int) -> None:
    """Say what XGBoost says of labels that do not suit, before it derives something confusing from them."""
    labels = matrix.get_label()
    if objective in {"binary:logistic", "binary:logitraw", "reg:logistic"} and not (
        labels.min() >= 0 and labels.max() <= 1
    ):
        raise UserError("label must be in [0,1] for logistic regression")
    if objective.startswith("multi:") and not (labels.min() >= 0 and labels.max() < classes):
        raise UserError("SoftmaxMultiClassObj: label must be in [0, num_class).")


def _train(values: dict[str, Any], matrices: list[tuple[Any, str]]) -> Any:
    rounds = values.pop("num_round")
    objective = values.get("objective", "reg:squarederror")
    for matrix, _ in matrices:
        _check_labels(matrix, objective, values.get("num_class", 1))
    asked = list(values.get("eval_metric", []))
    metrics, added = _metrics(values)
    callbacks = [_Monitor(), *_early_stopping(values, asked, validated_too=len(matrices) > 1)]
    if values.pop("save_model_on_termination", "false") == "true":
        callbacks.append(_Termination())
    try:
        return xgb.train(
            values | ({"eval_metric": metrics} if metrics else {}),
            matrices[0][0],
            num_boost_round=rounds,
            evals=matrices,
            custom_metric=_computed(added, objective),
            callbacks=callbacks,
            verbose_eval=False,
        )
    except (xgb.core.XGBoostError, ValueError) as error:
        told = str(error).partition("Stack trace")[0].strip()
        if any(each in told for each in _CUSTOMER_ERRORS):
            raise UserError(told) from error
        raise AlgorithmError(f"XGB train call failed with exception:\n {told}") from error


def _for_this_version(values: dict[str, Any]) -> dict[str, Any]:
    """Give the hyperparameters as the installed XGBoost knows them."""
    for name in _WITHOUT_EFFECT:
        if name in values:
            log(f"Hyperparameter {name} has no effect in XGBoost {xgb.__version__}", "WARNING")
    kept = {name: value for name, value in values.items() if name not in _WITHOUT_EFFECT}
    if kept.get("objective") == "reg:linear":
        kept["objective"] = "reg:squarederror"  # its name since 0.90
    for name in ("monotone_constraints", "interaction_constraints"):
        if name in kept:
            kept[name] = json.dumps(kept[name]) if name == "interaction_constraints" else str(tuple(kept[name]))
    if "updater" in kept:
        kept["updater"] = ",".join(kept["updater"])
    return kept


def _save(model: Any, directory: Path) -> None:
    """Write the model whole or not at all: the job may be ended at any moment."""
    directory.mkdir(parents=True, exist_ok=True)
    temporary = directory / f".{MODEL_NAME}.ubj"  # XGBoost takes the format from the name
    model.save_model(temporary)
    temporary.replace(directory / MODEL_NAME)
    log(f"Stored trained model at {directory / MODEL_NAME}")


def _program(directories: Directories) -> None:
    version = os.environ.get("TREADLE_ALGORITHM_VERSION", "")
    log(
        f"Running XGBoost Sagemaker in algorithm mode: XGBoost {xgb.__version__}"
        + (f" for {version}" if version else "")
    )
    values = _hyperparameters(directories.config("hyperparameters"))
    channels = directories.config("inputdataconfig")
    check_channels(channels, required=["train"], optional=["validation", "code"])
    _check_modes(channels)
    hosts = directories.config("resourceconfig").get("hosts", [])
    if len(hosts) > 1:
        raise UserError(f"Training on {len(hosts)} hosts is not supported by Treadle's XGBoost yet; use one")
    if directories.config("checkpointconfig"):
        log("Checkpoints are not written by Treadle's XGBoost yet", "WARNING")
    matrices = _matrices(directories, channels)
    log("Single node training.")
    _save(_train(_for_this_version(values), matrices), directories.model)


def main() -> int:
    """Train; give the exit code."""
    return run(_program, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
