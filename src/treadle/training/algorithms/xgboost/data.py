"""What the channels of an XGBoost job hold: tables of this host's rows, checked as AWS's container checks them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from treadle.training.algorithms.inputs import Input, content_type
from treadle.training.algorithms.parquet import read_parquet
from treadle.training.algorithms.program import Directories, UserError, log
from treadle.training.algorithms.tables import Table, read_csv, read_libsvm, read_records

__all__ = ["Data", "check_channels", "joined"]

_CSV, _LIBSVM, _PARQUET, _RECORDS = "csv", "libsvm", "parquet", "recordio-protobuf"
_FORMATS: Final = {
    "csv": _CSV, "text/csv": _CSV,
    "libsvm": _LIBSVM, "text/libsvm": _LIBSVM, "text/x-libsvm": _LIBSVM,
    "parquet": _PARQUET, "application/x-parquet": _PARQUET,
    "recordio-protobuf": _RECORDS, "application/x-recordio-protobuf": _RECORDS,
}  # fmt: skip
_ACCEPTED: Final = (
    "csv, libsvm, parquet, recordio-protobuf, text/csv, text/libsvm, text/x-libsvm, application/x-parquet, "
    "application/x-recordio-protobuf"
)
_DEFAULT: Final = "text/libsvm"
_CHANNELS: Final = ("train", "validation", "code")
_DEPTH: Final = 3


def check_channels(channels: Mapping[str, Mapping[str, str]]) -> None:
    """See that `train` is there and no unknown channel, and that each has a supported configuration.

    Raises `UserError`.
    """
    if "train" not in channels:
        raise UserError("Missing required channel: train")
    for name, channel in channels.items():
        if name not in _CHANNELS:
            raise UserError(f"Extraneous channel found: {name}")
        if name == "code":
            continue
        if _format(channel) == _LIBSVM and channel.get("TrainingInputMode") == "Pipe":
            told = {"ContentType": _DEFAULT, **channel}
            raise UserError(f"Channel configuration for '{name}' channel is not supported: {told}")


def _format(channel: Mapping[str, str]) -> str:
    given = channel.get("ContentType", _DEFAULT)
    kind, parameters = content_type(given)
    if kind not in _FORMATS:
        raise UserError(f"{given} is not an accepted ContentType: {_ACCEPTED}.")
    if _FORMATS[kind] == _CSV and parameters.get("label_size", "1") != "1":
        raise UserError(f"{given} is not an accepted csv ContentType. Optional parameter label_size must be equal to 1")
    return _FORMATS[kind]


@dataclass(frozen=True, slots=True)
class Data:
    """The rows of this host; a channel without rows is None."""

    train: Table | None
    validation: Table | None
    validated: bool
    """Whether there is a validation channel."""

    @classmethod
    def read(cls, channels: Mapping[str, Mapping[str, str]], directories: Directories, *, weights: bool) -> Data:
        """Read both channels; that of the validation has the content type of the training's. Raises `UserError`."""
        kind = _format(channels["train"])
        inputs = {
            name: Input.of(name, channels[name], directories, kind, _DEPTH)
            for name in ("train", "validation")
            if name in channels
        }
        if not any(each.piped for each in inputs.values()):
            _warn_of_copies(inputs)
        tables = {name: _read(each, weights=weights) for name, each in inputs.items()}
        return cls(tables["train"], tables.get("validation"), "validation" in inputs)

    @property
    def usable(self) -> bool:
        """Whether this host has what training needs."""
        return self.train is not None and (self.validation is not None or not self.validated)

    def check(self, objective: str, classes: int) -> None:
        """See that the tables fit to each other, and the labels to the objective. Raises `UserError`."""
        for table in (self.train, self.validation):
            if table is not None:
                _check_labels(table.labels, objective, classes)
        if self.train is None or self.validation is None:
            return
        columns, others = self.train.columns, self.validation.columns
        if others > columns or (others != columns and not self.train.sparse):
            raise UserError(f"feature_names mismatch: {columns} columns in train, {others} in validation")


def _read(channel: Input, *, weights: bool) -> Table | None:
    readers: dict[str, Callable[[list[Path]], Table]] = {
        _CSV: lambda files: read_csv(files, weights=weights),
        _LIBSVM: read_libsvm,
        _PARQUET: lambda files: read_parquet(files, piped=channel.piped),
        _RECORDS: read_records,
    }
    table = readers[channel.format](channel.epoch())
    return table if len(table) else None


def _warn_of_copies(inputs: Mapping[str, Input]) -> None:
    """Say which files look as if they were in both channels."""
    if len(inputs) < 2:
        return
    train, validation = ({path.name: path for path in each.path.glob("*")} for each in inputs.values())
    for name in sorted(train.keys() & validation.keys()):
        if train[name].is_file() and (size := train[name].stat().st_size) == validation[name].stat().st_size:
            log(
                f"Suspected identical files found. ({train[name]} and {validation[name]} with same size {size} bytes). "
                "Note: Duplicate data in the training set and validation set is usually not intentional and can impair "
                "the validity of the model evaluation by the validation score.",
                "WARNING",
            )


def _check_labels(labels: Any, objective: str, classes: int) -> None:
    """Say what XGBoost says of labels that do not suit, before it derives something confusing from them."""
    low, high = labels.min(), labels.max()
    if objective in {"binary:logistic", "binary:logitraw", "reg:logistic"} and not (low >= 0 and high <= 1):
        raise UserError("label must be in [0,1] for logistic regression")
    if objective.startswith("multi:") and not (low >= 0 and high < classes):
        raise UserError("SoftmaxMultiClassObj: label must be in [0, num_class).")


def joined(train: Table, validation: Table | None) -> Table:
    """Put the rows of both tables into one."""
    if validation is None:
        return train
    if train.groups is not None:
        raise UserError("Hyperparameter _kfold: rows with query ids cannot be dealt into folds")
    both = (train, validation)
    weights = [each.weights for each in both]
    if any(each is None for each in weights) and any(each is not None for each in weights):
        weights = [np.ones(len(each), np.float32) if each.weights is None else each.weights for each in both]
    return Table(
        labels=np.concatenate([each.labels for each in both]),
        features=_joined_features(train, validation),
        columns=max(each.columns for each in both),
        weights=None if weights[0] is None else np.concatenate(weights),
    )


def _joined_features(one: Table, other: Table) -> Any:
    if not one.sparse:
        return np.concatenate([one.features, other.features])
    values, indices = (np.concatenate([one.features[part], other.features[part]]) for part in (0, 1))
    return values, indices, np.concatenate([one.features[2], other.features[2][1:] + one.features[2][-1]])
