"""The hyperparameters of the sagemaker-xgboost container (algorithm_mode/hyperparameter_validation.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from treadle.training.algorithms.hyperparameters import (
    Categorical,
    CommaSeparated,
    Continuous,
    Hyperparameter,
    Integer,
    Interval,
    Literals,
    validated,
)
from treadle.training.algorithms.program import UserError, log
from treadle.training.algorithms.xgboost.metrics import MAXIMISED, METRICS, MINIMISED

__all__ = ["HYPERPARAMETERS", "read"]

_FROM_ZERO: Final = Interval(0)
_FROM_ONE: Final = Interval(1)
_ZERO_TO_ONE: Final = Interval(0, 1)
_PART: Final = Interval(0, 1, open_low=True)
_POSITIVE: Final = Interval(0, open_low=True)
_TRUTH: Final = ("true", "false")

_OBJECTIVES: Final = (
    "aft_loss_distribution", "binary:logistic", "binary:logitraw", "binary:hinge", "count:poisson", "multi:softmax",
    "multi:softprob", "rank:pairwise", "rank:ndcg", "rank:map", "reg:linear", "reg:squarederror", "reg:logistic",
    "reg:gamma", "reg:pseudohubererror", "reg:squaredlogerror", "reg:tweedie", "survival:aft", "survival:cox",
)  # fmt: skip
_WITH_THRESHOLD: Final = ("error", "ndcg", "map")

_GROWERS: Final = ("grow_colmaker", "distcol", "grow_histmaker", "grow_local_histmaker", "grow_quantile_histmaker")
_TREE_UPDATERS: Final = (*_GROWERS, "grow_skmaker", "sync", "refresh", "prune")
_LINEAR_UPDATERS: Final = ("shotgun", "coord_descent")
# As in the container, where grow_quantile_histmaker is not in the list although the check of trees knows it.
_UPDATERS: Final = (
    "grow_colmaker", "distcol", "grow_histmaker", "grow_local_histmaker", "grow_skmaker", "sync", "refresh", "prune",
    *_LINEAR_UPDATERS,
)  # fmt: skip


def _is_metric(name: str) -> bool:
    if "<function" in name:
        raise UserError(f"User defined evaluation metric {name} is not supported yet.")
    if "@" not in name:
        return name in METRICS
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
    Categorical("booster", words=("gbtree", "gblinear", "dart")),
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
    Categorical("tree_method", words=("auto", "exact", "approx", "hist", "gpu_hist")),
    Continuous("sketch_eps", range=Interval(0, 1, open_low=True, open_high=True)),
    Continuous("scale_pos_weight", range=_POSITIVE),
    CommaSeparated("updater", allowed=_UPDATERS.__contains__, words=_UPDATERS),
    Categorical("dsplit", words=("row", "col")),
    Integer("refresh_leaf", range=_ZERO_TO_ONE),
    Categorical("process_type", words=("default", "update")),
    Categorical("grow_policy", words=("depthwise", "lossguide")),
    Integer("max_leaves", range=_FROM_ZERO),
    Integer("max_bin", range=_FROM_ZERO),
    Categorical("predictor", words=("auto", "cpu_predictor", "gpu_predictor")),
    Literals("monotone_constraints", depth=1, numbers=(-1, 0, 1)),
    Literals("interaction_constraints", depth=2, numbers=_FROM_ONE),
    Categorical("sample_type", words=("uniform", "weighted")),
    Categorical("normalize_type", words=("tree", "forest")),
    Continuous("rate_drop", range=_ZERO_TO_ONE),
    Integer("one_drop", range=_ZERO_TO_ONE),
    Continuous("skip_drop", range=_ZERO_TO_ONE),
    Continuous("lambda_bias", range=_ZERO_TO_ONE),
    Continuous("tweedie_variance_power", range=Interval(1, 2, open_low=True, open_high=True)),
    Categorical("objective", words=_OBJECTIVES),
    Integer("num_class", range=Interval(2)),
    Continuous("base_score", range=_FROM_ZERO),
    Integer("_kfold", range=Interval(2)),
    Integer("_num_cv_round", range=_FROM_ONE),
    Categorical("_tuning_objective_metric", words=tuple(f"validation:{name}" for name in (*MAXIMISED, *MINIMISED))),
    CommaSeparated("eval_metric", allowed=_is_metric, words=(*MAXIMISED, *MINIMISED)),
    Integer("seed", range=Interval(-(2**31), 2**31 - 1, open_low=True, open_high=True)),
    Integer("num_parallel_tree", range=_FROM_ONE),
    Categorical("save_model_on_termination", words=_TRUTH),
    Categorical("aft_loss_distribution", words=("normal", "logistic", "extreme")),
    Continuous("aft_loss_distribution_scale", range=_FROM_ZERO),
    Categorical("single_precision_histogram", words=_TRUTH),
    Categorical("deterministic_histogram", words=_TRUTH),
    Categorical("sampling_method", words=("uniform", "gradient_based")),
    Integer("prob_buffer_row", range=Interval(1, open_low=True)),
    Categorical("use_dask_gpu_training", words=_TRUTH),
)

_ALIASES: Final = {
    "learning_rate": "eta", "min_split_loss": "gamma", "reg_lambda": "lambda", "reg_alpha": "alpha",
}  # fmt: skip


def read(given: Mapping[str, str]) -> dict[str, Any]:
    """Read and check all of them. Those of the SDKs' script mode (`sagemaker_…`) are not the algorithm's.

    Raises `UserError`.
    """
    own = {name: str(text) for name, text in given.items() if not name.startswith("sagemaker_")}
    values = validated(HYPERPARAMETERS, own, _ALIASES)
    _check_objective(values)
    _check_constraints(values)
    _check_updater(values)
    return values


def _check_objective(values: Mapping[str, Any]) -> None:
    objective, metrics = values.get("objective", "reg:squarederror"), values.get("eval_metric", ())
    if objective in {"multi:softmax", "multi:softprob"} and "num_class" not in values:
        raise UserError("Require input for parameter 'num_class' for multi-classification")
    if "auc" in metrics and not objective.startswith(("binary:", "rank:")):
        raise UserError("Metric 'auc' can only be applied for classification and ranking problems.")
    if "aft-nloglik" in metrics and objective != "survival:aft":
        raise UserError("Metric 'aft-nloglik' can only be applied for 'survival:aft' objective.")
    if metrics and "objective" not in values:
        log("On AWS eval_metric without objective fails with KeyError: 'objective'; give both", "WARNING")


def _check_constraints(values: Mapping[str, Any]) -> None:
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


def _check_updater(values: Mapping[str, Any]) -> None:
    updaters = values.get("updater")
    if not updaters:
        return
    if values.get("booster") == "gblinear":
        if len(updaters) != 1 or updaters[0] not in _LINEAR_UPDATERS:
            raise UserError("Linear updater should be one of these options: 'shotgun', 'coord_descent'.")
    elif values.get("process_type") == "update":
        if not set(updaters) <= {"refresh", "prune"}:
            raise UserError("process_type 'update' can only be used with updater 'refresh' and 'prune'")
    elif not set(updaters) <= set(_TREE_UPDATERS):
        raise UserError(
            "Tree updater should be selected from these options: 'grow_colmaker', 'distcol', 'grow_histmaker', "
            "'grow_local_histmaker', 'grow_skmaker', 'grow_quantile_histmaker', 'sync', 'refresh', 'prune', "
            "'shortgun', 'coord_descent'."
        )
    elif sum(each in _GROWERS for each in updaters) > 1:
        raise UserError(
            "Only one tree grow plugin can be selected. Choose one from thefollowing: 'grow_colmaker', 'distcol', "
            "'grow_histmaker', 'grow_local_histmaker', 'grow_skmaker'"
        )
