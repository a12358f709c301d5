"""The training itself, on one host or as one of several: XGBoost's own collective, callbacks, early stopping, folds."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

import numpy as np
import xgboost as xgb
from xgboost import collective
from xgboost.tracker import RabitTracker

from treadle.training.algorithms.cluster import Cluster
from treadle.training.algorithms.program import AlgorithmError, UserError, log
from treadle.training.algorithms.tables import Table
from treadle.training.algorithms.xgboost import metrics
from treadle.training.algorithms.xgboost.checkpoints import Checkpoints, save_whole
from treadle.training.algorithms.xgboost.data import joined
from treadle.training.algorithms.xgboost.folds import Predictions, folds

__all__ = ["MODEL_NAME", "Places", "Training", "group"]

MODEL_NAME: Final = "xgboost-model"
_SAVE_EVERY: Final = 10.0
"""Seconds after which a model that may have to be saved at any moment is, while rounds go on."""
# A host that is slow is no host that is lost: those are noticed by their connections.
_SILENCE: Final = 24 * 3600
_GOODBYES: Final = 60

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

# Taken, checked, and without effect in the versions of XGBoost that run here.
_WITHOUT_EFFECT: Final = (
    "sketch_eps", "dsplit", "predictor", "lambda_bias", "single_precision_histogram", "deterministic_histogram",
    "prob_buffer_row",
)  # fmt: skip
# Images up to 1.2 wrote their models with pickle, those from 1.3 on with Booster.save_model.
_PICKLED: Final = re.compile(r"(?:0\.90|1\.[0-2])(?:[.-]|$)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Places:
    """Where a training writes: models, predictions, checkpoints or None."""

    model: Path
    output: Path
    checkpoints: Path | None


@contextlib.contextmanager
def group(cluster: Cluster, members: Sequence[str]) -> Iterator[bool]:
    """Be one of the members that train together; gives whether this host is their master.

    All hosts of the cluster come here, so that they hear where the members meet. Raises `AlgorithmError`.
    """
    place = {}
    tracker = None
    if len(members) > 1 and cluster.host == members[0]:
        tracker = RabitTracker(n_workers=len(members), host_ip=cluster.address, sortby="task")
        tracker.start()
        place = tracker.worker_args()
    place = next((each for each in cluster.gather(place) if each), {})
    cluster.keep(members)
    if len(members) == 1 or cluster.host not in members:
        yield cluster.host == members[0]
        return
    number = members.index(cluster.host)
    try:
        with collective.CommunicatorContext(**place, dmlc_task_id=f"{number:05}", dmlc_timeout=_SILENCE):
            yield number == 0
        if tracker is not None:
            tracker.wait_for(_GOODBYES)
    finally:
        if tracker is not None:
            with contextlib.suppress(xgb.core.XGBoostError):  # it complains of members that have gone
                tracker.free()


class _Monitor(xgb.callback.TrainingCallback):
    """Prints `[0]<tab>train-rmse:0.10000<tab>validation-rmse:0.20000` after every round."""

    def __init__(self, begun: int) -> None:
        self._begun = begun

    def after_iteration(self, _model: Any, epoch: int, evals_log: Any) -> bool:
        words = [f"{on}-{name}:{values[-1]:.5f}" for on, each in evals_log.items() for name, values in each.items()]
        print("\t".join([f"[{self._begun + epoch}]", *words]), flush=True)
        return False


class _Termination(xgb.callback.TrainingCallback):
    """With `save_model_on_termination`, SIGTERM ends the training after the round, so that the model can be saved.

    All hosts end after the same round. As a round may take longer than there is time, the master keeps a model of some
    seconds ago in its place.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._came = False
        self._saved = time.monotonic()
        signal.signal(signal.SIGTERM, self._note)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._came = True

    def after_iteration(self, model: Any, epoch: int, _evals_log: Any) -> bool:
        if _total(np.array([int(self._came)]))[0]:
            log(f"SIGTERM: the model of round {epoch} is saved")
            return True
        if self._path is not None and time.monotonic() - self._saved > _SAVE_EVERY:
            save_whole(model, self._path)
            self._saved = time.monotonic()
        return False


def _total(numbers: Any) -> Any:
    """Add up an array over the hosts."""
    if collective.get_world_size() == 1:
        return numbers
    return collective.allreduce(np.ascontiguousarray(numbers), collective.Op.SUM).reshape(numbers.shape)


class Training:
    """What the hyperparameters ask for. `values` as they were read; the members are taken out of them."""

    def __init__(self, values: Mapping[str, Any], places: Places) -> None:
        values = dict(values)
        self._places = places
        self._rounds: int = values.pop("num_round")
        self._patience: int | None = values.pop("early_stopping_rounds", None)
        self._terminable = values.pop("save_model_on_termination", "false") == "true"
        self._folds: int | None = values.pop("_kfold", None)
        self._repeats: int = values.pop("_num_cv_round", 1)
        self.csv_weights = bool(values.pop("csv_weights", 0))
        self.objective: str = values.get("objective", "")
        self.classes: int = values.get("num_class", 0)
        self._seed: int = abs(values.get("seed", 0))
        asked, tuned = values.pop("eval_metric", []), values.pop("_tuning_objective_metric", "").partition(":")[2]
        # That of a tuning is among them, sorted as AWS does, and the one that early stopping looks at.
        asked = sorted({*asked, tuned}) if tuned and asked else [tuned] if tuned else asked
        self._watched = tuned or (asked[-1] if asked else "")
        own, self._added = metrics.split(asked)
        self._parameters = _for_this_version(values) | ({"eval_metric": own} if own else {})
        self.checkpoints = Checkpoints(places.checkpoints)

    def check(self, hosts: Sequence[str]) -> None:
        """Refuse what cannot be had here. Raises `UserError`."""
        if self._folds and len(hosts) > 1:
            raise UserError("Hyperparameter _kfold: cross validation runs on one host")

    def run(self, train: Table, validation: Table | None, agreed: Sequence[int], *, master: bool) -> None:
        """Train with the rows of this host, and save what was learned where this host is the master.

        `agreed` are the rounds of which all hosts have a checkpoint.
        """
        if self._folds:
            models = self._cross_validated(joined(train, validation), self._folds)
        else:
            models = [self._trained(train, validation, agreed, master=master)]
        if not master:
            return
        for number, model in enumerate(models):
            name = f"{MODEL_NAME}-{number}" if self._folds else MODEL_NAME
            _save(model, self._places.model / name)
            log(f"Stored trained model at {self._places.model / name}")

    def _trained(self, train: Table, validation: Table | None, agreed: Sequence[int], *, master: bool) -> Any:
        matrices = [(_matrix(train, train.columns), "train")]
        if validation is not None:
            matrices.append((_matrix(validation, train.columns), "validation"))
        log(f"Train matrix has {matrices[0][0].num_row()} rows and {matrices[0][0].num_col()} columns")
        for matrix, _ in matrices[1:]:
            log(f"Validation matrix has {matrix.num_row()} rows")
        begun = self.checkpoints.resume(agreed)
        callbacks = [self.checkpoints] if master else []
        return self._boosted(matrices, begun, self.checkpoints.begun, callbacks, master=master)

    def _boosted(
        self,
        matrices: list[tuple[Any, str]],
        model: bytearray | None,
        begun: int,
        callbacks: list[Any],
        *,
        master: bool = True,
        evals: dict[str, Any] | None = None,
        name: str = MODEL_NAME,
    ) -> Any:
        callbacks = [*([_Monitor(begun)] if master else []), *callbacks]
        if self._patience and self._watched and len(matrices) > 1:
            callbacks.append(
                xgb.callback.EarlyStopping(
                    rounds=self._patience,
                    data_name="validation",
                    metric_name=self._watched,
                    maximize=self._watched.partition("@")[0] in metrics.MAXIMISED,
                    save_best=True,
                )
            )
        if self._terminable:
            callbacks.append(_Termination(self._places.model / name if master else None))
        try:
            return xgb.train(
                self._parameters,
                matrices[0][0],
                num_boost_round=max(self._rounds - begun, 0),
                evals=matrices,
                evals_result=evals,
                xgb_model=model,
                custom_metric=metrics.computed(self._added, self.objective, self.classes, _total),
                callbacks=callbacks,
                verbose_eval=False,
            )
        except (xgb.core.XGBoostError, ValueError) as error:
            told = str(error).partition("Stack trace")[0].strip()
            if any(each in told for each in _CUSTOMER_ERRORS):
                raise UserError(told) from error
            raise AlgorithmError(f"XGB train call failed with exception:\n {told}") from error

    def _cross_validated(self, both: Table, count: int) -> list[Any]:
        whole = _matrix(both, both.columns)
        log(f"Run {self._repeats}-round of {count}-fold cross validation with {len(both)} rows")
        classification = bool(self.classes) or self.objective.startswith("binary:")
        predictions = Predictions(both.labels, self._repeats, classification=classification)
        models: list[Any] = []
        results: list[dict[str, Any]] = []
        dealt = folds(both.labels, count, self._repeats, self._seed, stratified=classification)
        for number, (train, validation) in enumerate(dealt):
            log(f"Train cross validation fold {number % count + 1}")
            matrices = [(whole.slice(train), "train"), (whole.slice(validation), "validation")]
            directory = self._places.checkpoints
            checkpoints = Checkpoints(directory / f"model-{number}" if directory else None)
            begun = checkpoints.resume(checkpoints.rounds())
            results.append({})
            models.append(
                self._boosted(
                    matrices, begun, checkpoints.begun, [checkpoints], evals=results[-1], name=f"{MODEL_NAME}-{number}"
                )
            )
            predictions.record(number // count, validation, models[-1].predict(matrices[1][0]))
            if len(models) % count == 0:
                log(f"The metrics of round {len(models) // count} cross validation")
                self._print_means(results[-count:])
        predictions.save(self._places.output)
        if self._repeats > 1:
            log(f"The overall metrics of {self._repeats}-round cross validation")
            self._print_means(results)
        return models

    def _print_means(self, results: list[dict[str, Any]]) -> None:
        """Print the means of the last values; a fold that had nothing left to train has none."""
        told = [each for each in results if each]
        words = [
            f"{on}-{name}:{np.mean([each[on][name][-1] for each in told]):.5f}"
            for name in (told[0]["train"] if told else ())
            for on in ("train", "validation")
        ]
        print("\t".join([f"[{self._rounds}]", *words]), flush=True)


def _matrix(table: Table, columns: int) -> Any:
    features = table.features
    if table.sparse:
        from scipy.sparse import csr_matrix  # type: ignore[import-untyped]  # XGBoost brings it; only these need it

        features = csr_matrix(features, shape=(len(table), columns))
    return xgb.DMatrix(features, label=table.labels, weight=table.weights, qid=table.groups)


def _save(model: Any, path: Path) -> None:
    if not _PICKLED.match(os.environ.get("TREADLE_ALGORITHM_VERSION", "")):
        save_whole(model, path)
        return
    temporary = path.with_name(f".{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_bytes(pickle.dumps(model))
    temporary.replace(path)


def _for_this_version(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give the hyperparameters as the installed XGBoost knows them. Raises `UserError`."""
    for name in _WITHOUT_EFFECT:
        if name in values:
            log(f"Hyperparameter {name} has no effect in XGBoost {xgb.__version__}", "WARNING")
    kept = {name: value for name, value in values.items() if name not in (*_WITHOUT_EFFECT, "use_dask_gpu_training")}
    if kept.get("objective") == "reg:linear":
        kept["objective"] = "reg:squarederror"  # its name since 0.90
    if values.get("tree_method") == "gpu_hist":
        kept |= {"tree_method": "hist", "device": "cuda"}  # its name since 2.0
    if "monotone_constraints" in kept:
        kept["monotone_constraints"] = str(tuple(kept["monotone_constraints"]))
    if "interaction_constraints" in kept:
        kept["interaction_constraints"] = json.dumps(kept["interaction_constraints"])
    if "updater" in kept:
        kept["updater"] = ",".join(kept["updater"])
    return kept
