"""What the built-in algorithms share: their directories, how they refuse, and hyperparameters as a table.

The rules, their order and the texts of refusals are those of AWS's own XGBoost container (`sagemaker_algorithm_toolkit`
in aws/sagemaker-xgboost-container), so that what fails there fails here, with the same words. Two things differ. Values
that AWS evaluates as Python are read as literals. And where that container writes a traceback whose last line is the
text, the failure file here holds the text after `Customer Error: `, the form of AWS's own algorithms [guess].
"""

from __future__ import annotations

import ast
import json
import os
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = [
    "AlgorithmError",
    "Categorical",
    "CommaSeparated",
    "Continuous",
    "Directories",
    "Hyperparameter",
    "Integer",
    "Interval",
    "Literals",
    "UserError",
    "check_channels",
    "log",
    "run",
    "validated",
]

_LONGEST_REASON: Final = 1024
"""Characters of the failure file that become the FailureReason."""


class UserError(Exception):
    """The user's mistake: hyperparameters, channels or data. Its text is the job's FailureReason."""


class AlgorithmError(Exception):
    """The algorithm failed, and not visibly by the user's mistake."""


# ---------------------------------------------------------------------------------------------------------------------
# The program
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Directories:
    """The contract's directories. `SAGEMAKER_BASE_DIR` is where they are when they cannot be at /opt/ml."""

    base: Path

    @classmethod
    def find(cls, environment: Mapping[str, str] = os.environ) -> Directories:
        """Give those of this process."""
        return cls(Path(environment.get("SAGEMAKER_BASE_DIR") or "/opt/ml"))

    @property
    def model(self) -> Path:
        """What becomes model.tar.gz."""
        return self.base / "model"

    def channel(self, name: str) -> Path:
        """Give the data of a channel."""
        return self.base / "input" / "data" / name

    def config(self, name: str) -> Any:
        """Read one of the JSON files in input/config; {} where there is none. Raises `AlgorithmError`."""
        path = self.base / "input" / "config" / f"{name}.json"
        try:
            return json.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise AlgorithmError(f"{path} is not JSON: {error}") from error


def log(text: str, level: str = "INFO") -> None:
    """Print a line as AWS's container does."""
    print(f"[{time.strftime('%Y-%m-%d:%H:%M:%S')}:{level}] {text}", flush=True)


def run(program: Callable[[Directories], None], arguments: Sequence[str]) -> int:
    """Run a training program to its exit code; what goes wrong is told in the log and in output/failure."""
    if list(arguments) != ["train"]:
        print(f"usage: {sys.argv[0]} train", file=sys.stderr)
        return 2
    directories = Directories.find()
    try:
        program(directories)
    except UserError as error:
        return _failed(directories, f"Customer Error: {error}")
    except AlgorithmError as error:
        return _failed(directories, str(error))
    except Exception as error:  # noqa: BLE001  (the one place where everything unexpected ends; the log has all of it)
        traceback.print_exc()
        return _failed(directories, f"Unexpected error: {type(error).__name__}: {error}")
    return 0


def _failed(directories: Directories, reason: str) -> int:
    log(reason, "ERROR")
    path = directories.base / "output" / "failure"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(reason[:_LONGEST_REASON], encoding="utf-8")
    except OSError as error:
        log(f"{path} cannot be written: {error.strerror}", "ERROR")
    return 1


# ---------------------------------------------------------------------------------------------------------------------
# Channels
# ---------------------------------------------------------------------------------------------------------------------


def check_channels(given: Iterable[str], *, required: Sequence[str], optional: Sequence[str]) -> None:
    """See that all required channels are there and no unknown ones. Raises `UserError`."""
    given = list(given)
    for name in required:
        if name not in given:
            raise UserError(f"Missing required channel: {name}")
    for name in given:
        if name not in {*required, *optional}:
            raise UserError(f"Extraneous channel found: {name}")


# ---------------------------------------------------------------------------------------------------------------------
# Hyperparameters
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers between two bounds, which belong to it unless they are open; None is no bound."""

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = self.low is None or (value > self.low if self.open_low else value >= self.low)
        below = self.high is None or (value < self.high if self.open_high else value <= self.high)
        return above and below

    def __str__(self) -> str:
        low = "(-inf" if self.low is None else f"{'(' if self.open_low else '['}{self.low}"
        high = "+inf)" if self.high is None else f"{self.high}{')' if self.open_high else ']'}"
        return f"{low}, {high}"


@dataclass(frozen=True, slots=True)
class Hyperparameter(ABC):
    """A hyperparameter: how its text is read, and which values it may have."""

    name: str
    required: bool = False

    @abstractmethod
    def parse(self, text: str) -> Any:
        """Read the value. Raises ValueError."""

    @abstractmethod
    def check(self, value: Any) -> None:
        """See that the value is allowed. Raises `UserError`."""


@dataclass(frozen=True, slots=True)
class Integer(Hyperparameter):
    """A whole number."""

    range: Interval = Interval()

    def parse(self, text: str) -> int:
        """Read the value."""
        return int(text)

    def check(self, value: int) -> None:
        """See that it is in the interval."""
        if value not in self.range:
            raise UserError(f"Hyperparameter {self.name}: {value} is not in {self.range}")


@dataclass(frozen=True, slots=True)
class Continuous(Hyperparameter):
    """A number."""

    range: Interval = Interval()

    def parse(self, text: str) -> float:
        """Read the value."""
        return float(text)

    def check(self, value: float) -> None:
        """See that it is in the interval; NaN is in none."""
        if value not in self.range:
            raise UserError(f"Hyperparameter {self.name}: {value} is not in {self.range}")


@dataclass(frozen=True, slots=True)
class Categorical(Hyperparameter):
    """One of some words."""

    values: tuple[str, ...] = ()

    def parse(self, text: str) -> str:
        """Give the word."""
        return text

    def check(self, value: str) -> None:
        """See that it is one of them."""
        if value not in self.values:
            raise UserError(f"Hyperparameter {self.name}: {value} is not in {list(self.values)}")


@dataclass(frozen=True, slots=True)
class CommaSeparated(Hyperparameter):
    """Words with commas between them; `allowed` says which."""

    allowed: Callable[[str], bool] = bool
    values: tuple[str, ...] = ()

    def parse(self, text: str) -> list[str]:
        """Give the words."""
        return [word.strip() for word in text.split(",")]

    def check(self, value: list[str]) -> None:
        """See that each is allowed."""
        if not all(self.allowed(word) for word in value):
            raise UserError(f"Hyperparameter {self.name}: value {value} not in range {list(self.values)}")


@dataclass(frozen=True, slots=True)
class Literals(Hyperparameter):
    """Numbers in nested brackets, `(1,0,-1)` or `[[1,2],[3,4]]`."""

    depth: int = 1
    range: Interval = Interval()

    def parse(self, text: str) -> Any:
        """Read the brackets. Not evaluated: only literals are taken."""
        try:
            value = ast.literal_eval(text.strip())
        except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise ValueError(text) from error
        if not _nested(value, self.depth):
            raise ValueError(text)
        return value

    def check(self, value: Any) -> None:
        """See that every number is in the interval."""
        rows = value if self.depth > 1 else [value]
        if not all(number in self.range for row in rows for number in row):
            raise UserError(f"Hyperparameter {self.name}: value {value} not in range {self.range}")


def _nested(value: Any, depth: int) -> bool:
    if depth == 0:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, list | tuple) and all(_nested(each, depth - 1) for each in value)


def validated(
    table: Sequence[Hyperparameter], given: Mapping[str, str], aliases: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Give the typed values: required ones first, then each is read, then each is checked. Raises `UserError`."""
    known = {each.name: each for each in table}
    texts = {(aliases or {}).get(name, name): text for name, text in given.items()}
    for each in table:
        if each.required and each.name not in texts:
            raise UserError(f"Missing required hyperparameter: {each.name}")
    values: dict[str, Any] = {}
    for name, text in texts.items():
        if name not in known:
            raise UserError(f"Extraneous hyperparameter found: {name}")
        try:
            values[name] = known[name].parse(text)
        except ValueError as error:
            raise UserError(f"Hyperparameter {name}: could not parse value (caused by ValueError)") from error
    for name, value in values.items():
        known[name].check(value)
    return values
