"""Checkpoints: the model after each round, as `xgboost-checkpoint.<round>`; the last five stay.

What the platform has brought back is where a job that was interrupted goes on. A file is written beside its place and
then renamed, so one with the right name is whole.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import xgboost as xgb

from treadle.training.algorithms.program import log

__all__ = ["Checkpoints", "save_whole"]

_NAME: Final = "xgboost-checkpoint"
_PATTERN: Final = re.compile(rf"{_NAME}\.(\d{{1,9}})", re.ASCII)
_KEPT: Final = 5


def save_whole(model: Any, path: Path) -> None:
    """Write a model whole or not at all, in XGBoost's UBJSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.sagemaker-ignore.ubj")  # XGBoost takes the format from the name
    model.save_model(temporary)
    temporary.replace(path)


class Checkpoints(xgb.callback.TrainingCallback):
    """The checkpoints of a directory; without one there are none. A callback of the training that writes them."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._written: list[int] = []
        self.begun = 0
        """How many rounds have been done before."""

    def rounds(self) -> list[int]:
        """Give the rounds after which there is a checkpoint that can be loaded, at most the last five."""
        usable: list[int] = []
        for number in sorted(self._found(), reverse=True)[:_KEPT]:
            try:
                xgb.Booster().load_model(self._data(number))
                usable.append(number)
            except (xgb.core.XGBoostError, ValueError, OSError):
                log(f"Wrong checkpoint model format {_NAME}.{number}", "WARNING")
        return usable

    def resume(self, agreed: Sequence[int]) -> bytearray | None:
        """Go on from the last of the rounds that all hosts have; give its model, or None where there is none."""
        if not agreed or self._directory is None:
            return None
        last = max(agreed)
        self.begun = last + 1
        log(f"Checkpoint loaded from {self._path(last)}")
        log(f"Resuming from iteration {self.begun}")
        return self._data(last)

    def after_iteration(self, model: Any, epoch: int, _evals_log: Any) -> bool:
        """Write the checkpoint of a round, and take away the one that is too old."""
        if self._directory is not None:
            number = self.begun + epoch
            save_whole(model, self._path(number))
            self._written.append(number)
            if len(self._written) > _KEPT:
                with contextlib.suppress(OSError):
                    self._path(self._written.pop(0)).unlink()
        return False

    def _found(self) -> list[int]:
        if self._directory is None or not self._directory.is_dir():
            return []
        names = (_PATTERN.fullmatch(path.name) for path in self._directory.iterdir())
        return [int(match[1]) for match in names if match]

    def _path(self, number: int) -> Path:
        return (self._directory or Path()) / f"{_NAME}.{number}"

    def _data(self, number: int) -> bytearray:
        return bytearray(self._path(number).read_bytes())
