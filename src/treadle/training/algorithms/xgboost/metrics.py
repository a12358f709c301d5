"""The metrics that may be asked for, and those of them that AWS's container adds to XGBoost's own.

The added ones are scikit-learn's (metrics/custom_metrics.py of the container), computed here of counts and sums, which
can be added up over the hosts of a job: so each is what it is of all rows together. Weights of rows have no part in
them, as on AWS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from treadle.training.algorithms.program import UserError

__all__ = ["MAXIMISED", "METRICS", "MINIMISED", "computed", "split"]

MAXIMISED: Final = (
    "accuracy", "auc", "aucpr", "balanced_accuracy", "f1", "f1_binary", "f1_macro", "map", "ndcg", "precision", "r2",
    "recall", "precision_macro", "precision_micro", "recall_macro", "recall_micro",
)  # fmt: skip
MINIMISED: Final = (
    "aft-nloglik", "cox-nloglik", "error", "gamma-deviance", "gamma-nloglik", "interval-regression-accuracy", "logloss",
    "mae", "mape", "merror", "mlogloss", "mphe", "mse", "poisson-nloglik", "rmse", "rmsle", "tweedie-nloglik",
)  # fmt: skip
METRICS: Final = frozenset((*MAXIMISED, *MINIMISED))

Total: TypeAlias = Callable[[Any], Any]
"""Adds up an array of numbers over the hosts."""

_ONLY_BINARY: Final = ("f1_binary", "precision", "recall")


def _ratio(part: Any, whole: Any) -> Any:
    """Divide; what has nothing to be divided by counts as 0, as in scikit-learn."""
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole) != 0)


class _Classes:
    """What is told by a confusion matrix: `counts[i, j]` rows of class i were taken for j."""

    def __init__(self, counts: Any) -> None:
        self._counts = counts
        self._hits = np.diagonal(counts).astype(float)
        self._true = counts.sum(axis=1)
        self._said = counts.sum(axis=0)
        self._seen = (self._true + self._said) > 0

    @property
    def binary(self) -> bool:
        return not self._seen[2:].any()

    def accuracy(self) -> float:
        return float(self._hits.sum() / self._counts.sum())

    def balanced_accuracy(self) -> float:
        present = self._true > 0
        return float((self._hits[present] / self._true[present]).mean())

    def precision(self) -> Any:
        return _ratio(self._hits, self._said)

    def recall(self) -> Any:
        return _ratio(self._hits, self._true)

    def f1(self) -> Any:
        return _ratio(2 * self._hits, self._true + self._said)

    def macro(self, of_classes: Any) -> float:
        return float(of_classes[self._seen].mean())


_OF_CLASSES: Final[dict[str, Callable[[_Classes], float]]] = {
    "accuracy": _Classes.accuracy,
    "balanced_accuracy": _Classes.balanced_accuracy,
    "f1": lambda found: found.macro(found.f1()),
    "f1_binary": lambda found: float(found.f1()[1]),
    "f1_macro": lambda found: found.macro(found.f1()),
    "precision": lambda found: float(found.precision()[1]),
    "precision_macro": lambda found: found.macro(found.precision()),
    "precision_micro": _Classes.accuracy,  # where every row has one class, the micro averages are the accuracy
    "recall": lambda found: float(found.recall()[1]),
    "recall_macro": lambda found: found.macro(found.recall()),
    "recall_micro": _Classes.accuracy,
}

# Of [rows, sum of squared errors, sum of errors' sizes, sum of squares of what is left of labels without their mean].
_OF_ERRORS: Final[dict[str, Callable[[Any], float]]] = {
    "mse": lambda sums: float(sums[1] / sums[0]),
    "rmse": lambda sums: float(np.sqrt(sums[1] / sums[0])),
    "mae": lambda sums: float(sums[2] / sums[0]),
    "r2": lambda sums: _r2(sums[1], sums[3]),
}


def _r2(squared: float, spread: float) -> float:
    if spread:
        return float(1 - squared / spread)
    return 0.0 if squared else 1.0


def split(asked: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell XGBoost's metrics and the added ones apart, each in the order in which they were asked for."""
    added = [name for name in asked if name in _OF_CLASSES or name in _OF_ERRORS]
    return [name for name in asked if name not in added], added


def computed(names: Sequence[str], objective: str, classes: int, total: Total) -> Callable[[Any, Any], Any] | None:
    """Give what computes the added metrics of predictions and a DMatrix; None when there are none.

    `classes` is num_class, 0 where there is none.
    """
    if not names:
        return None

    def measure(predicted: Any, matrix: Any) -> list[tuple[str, float]]:
        labels = matrix.get_label()
        values = {}
        if of_errors := [name for name in names if name in _OF_ERRORS]:
            sums = _errors(predicted, labels, total)
            values = {name: _OF_ERRORS[name](sums) for name in of_errors}
        if of_classes := [name for name in names if name in _OF_CLASSES]:
            counts = _Classes(total(_confusion(_decided(predicted, objective), labels, max(classes, 2))))
            values |= {name: _of_classes(name, counts) for name in of_classes}
        return [(name, values[name]) for name in names]

    return measure


def _of_classes(name: str, counts: _Classes) -> float:
    if name in _ONLY_BINARY and not counts.binary:
        raise UserError(
            "Target is multiclass but average='binary'. Please choose another average setting, one of [None, 'micro', "
            "'macro', 'weighted']."
        )
    return _OF_CLASSES[name](counts)


def _decided(predicted: Any, objective: str) -> Any:
    """Give the class of each row."""
    if predicted.ndim > 1:
        return predicted.argmax(axis=1)
    if objective == "multi:softmax":
        return predicted.astype(np.int64)
    return (predicted > (0.5 if objective in {"binary:logistic", "binary:hinge", "reg:logistic"} else 0.0)).astype(int)


def _confusion(said: Any, labels: Any, classes: int) -> Any:
    true = labels.astype(np.int64)
    if len(labels) and ((true != labels).any() or true.min() < 0 or true.max() >= classes):
        raise UserError("Classification metrics can't handle a mix of continuous and binary targets")
    return np.bincount(true * classes + said, minlength=classes * classes).reshape(classes, classes)


def _errors(predicted: Any, labels: Any, total: Total) -> Any:
    if predicted.ndim > 1:
        raise UserError(
            "y_true and y_pred have different number of output: metrics of regressions need one number a row"
        )
    labels = labels.astype(np.float64)
    errors = labels - predicted
    rows, sum_of_labels = total(np.array([len(labels), labels.sum()]))
    spread = ((labels - sum_of_labels / max(rows, 1)) ** 2).sum()
    squared, sizes, spread = total(np.array([(errors**2).sum(), np.abs(errors).sum(), spread]))
    return rows, squared, sizes, spread
