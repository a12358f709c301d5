"""Cross validation, `_kfold` and `_num_cv_round`: how rows are dealt into folds, and what is kept of predictions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from treadle.training.algorithms.program import log

__all__ = ["Predictions", "folds"]


def folds(labels: Any, count: int, repeats: int, seed: int, *, stratified: bool) -> Iterator[tuple[Any, Any]]:
    """Give the rows to train on and those to validate on, for each fold of each repetition.

    `stratified` deals the rows of each label evenly.
    """
    random = np.random.default_rng(seed)
    for _ in range(repeats):
        fold_of = np.empty(len(labels), np.int64)
        for rows in _groups(labels) if stratified else [np.arange(len(labels))]:
            fold_of[random.permutation(rows)] = (np.arange(len(rows)) + random.integers(count)) % count
        for fold in range(count):
            yield np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)


def _groups(labels: Any) -> list[Any]:
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


class Predictions:
    """What is said of each row while it is not trained on, once in each repetition."""

    def __init__(self, labels: Any, repeats: int, *, classification: bool) -> None:
        self._labels = labels
        self._classification = classification
        self._said = np.zeros((len(labels), repeats))
        self._sure = np.zeros((len(labels), repeats))

    def record(self, repetition: int, rows: Any, predicted: Any) -> None:
        """Take the predictions for the rows of a fold."""
        said, sure = predicted, predicted
        if predicted.ndim > 1:
            said, sure = predicted.argmax(axis=1), predicted.max(axis=1)
        elif self._classification:
            said = predicted > 0.5
        self._said[rows, repetition] = said
        self._sure[rows, repetition] = sure

    def save(self, directory: Path) -> None:
        """Write predictions.csv: the label, for a class how sure it was (mean), and what was said (mode or mean)."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "predictions.csv"
        log(f"Storing predictions on validation set(s) in {path}")
        columns = [self._labels, self._said.mean(axis=1)]
        if self._classification:
            columns = [self._labels, self._sure.mean(axis=1), _mode(self._said)]
        np.savetxt(path, np.column_stack(columns), delimiter=",", fmt="%f")


def _mode(said: Any) -> Any:
    """Give the most frequent value of each row, the smallest of those that are equally frequent."""
    values = np.unique(said)
    return values[np.stack([(said == value).sum(axis=1) for value in values]).argmax(axis=0)]
