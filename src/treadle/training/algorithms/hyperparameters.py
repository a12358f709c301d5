"""Hyperparameters as a table: each has a kind, which reads its text, and values that it may have.

The order of the checks is that of AWS's algorithms: required ones first, then each is read, then each is checked. What
a refusal says is the family's: `Texts`; those of the open XGBoost container are `OPEN_TEXTS` (hyperparameter_validation
of its sagemaker_algorithm_toolkit). Values that AWS evaluates as Python are read as literals here.
"""

from __future__ import annotations

import ast
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from treadle.training.algorithms.program import UserError

__all__ = [
    "CLOSED_TEXTS",
    "OPEN_TEXTS",
    "Categorical",
    "CommaSeparated",
    "Continuous",
    "Hyperparameter",
    "Integer",
    "Interval",
    "JsonList",
    "Literals",
    "Text",
    "Texts",
    "validated",
]


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
    several: bool = False
    """Whether its value is a list of values."""

    @abstractmethod
    def parse(self, text: str) -> Any:
        """Read the value. Raises ValueError."""

    @abstractmethod
    def allows(self, value: Any) -> bool:
        """Say whether the value is allowed. Raises `UserError` where a kind has more to say than no."""

    @property
    @abstractmethod
    def values(self) -> str:
        """The allowed values, as a refusal names them."""


@dataclass(frozen=True, slots=True)
class Integer(Hyperparameter):
    """A whole number, or one of some words instead."""

    range: Interval = Interval()
    words: tuple[str, ...] = ()

    def parse(self, text: str) -> int | str:
        """Read the value."""
        return text if text in self.words else int(text)

    def allows(self, value: int | str) -> bool:
        """Say whether it is in the interval."""
        return isinstance(value, str) or value in self.range

    @property
    def values(self) -> str:
        """The interval."""
        return str(self.range)


@dataclass(frozen=True, slots=True)
class Continuous(Hyperparameter):
    """A number; NaN is in no interval."""

    range: Interval = Interval()

    def parse(self, text: str) -> float:
        """Read the value."""
        return float(text)

    def allows(self, value: float) -> bool:
        """Say whether it is in the interval."""
        return value in self.range

    @property
    def values(self) -> str:
        """The interval."""
        return str(self.range)


@dataclass(frozen=True, slots=True)
class Categorical(Hyperparameter):
    """One of some words."""

    words: tuple[str, ...] = ()

    def parse(self, text: str) -> str:
        """Give the word."""
        return text

    def allows(self, value: str) -> bool:
        """Say whether it is one of them."""
        return value in self.words

    @property
    def values(self) -> str:
        """The words."""
        return str(list(self.words))


@dataclass(frozen=True, slots=True)
class Text(Hyperparameter):
    """Any text."""

    def parse(self, text: str) -> str:
        """Give the text."""
        return text

    def allows(self, _value: str) -> bool:
        """Say yes."""
        return True

    @property
    def values(self) -> str:
        """Anything."""
        return "any text"


@dataclass(frozen=True, slots=True)
class CommaSeparated(Hyperparameter):
    """Words with commas between them, and nothing else; `allowed` says which."""

    allowed: Callable[[str], bool] = bool
    words: tuple[str, ...] = ()
    several: bool = True

    def parse(self, text: str) -> list[str]:
        """Give the words."""
        return text.split(",")

    def allows(self, value: list[str]) -> bool:
        """Say whether each is allowed."""
        return all(self.allowed(word) for word in value)

    @property
    def values(self) -> str:
        """The words."""
        return str(list(self.words))


@dataclass(frozen=True, slots=True)
class JsonList(Hyperparameter):
    """Words in a JSON list."""

    words: tuple[str, ...] = ()
    several: bool = True

    def parse(self, text: str) -> Any:
        """Read the list."""
        try:
            return json.loads(text)
        except RecursionError as error:
            raise ValueError(text) from error

    def allows(self, value: Any) -> bool:
        """Say whether it is a list of some of them."""
        return isinstance(value, list) and bool(value) and all(word in self.words for word in value)

    @property
    def values(self) -> str:
        """The words."""
        return json.dumps(self.words)


@dataclass(frozen=True, slots=True)
class Literals(Hyperparameter):
    """Whole numbers in nested brackets, `(1,0,-1)` or `[[1,2],[3,4]]`; `numbers` are the ones that are allowed."""

    depth: int = 1
    numbers: Interval | tuple[int, ...] = Interval()
    several: bool = True

    def parse(self, text: str) -> Any:
        """Read the brackets. Not evaluated: only literals are taken."""
        try:
            value = ast.literal_eval(text.strip())
        except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise ValueError(text) from error
        if not _nested(value, self.depth):
            raise ValueError(text)
        return value

    def allows(self, value: Any) -> bool:
        """Say whether every number is allowed."""
        rows = value if self.depth > 1 else [value]
        return all(number in self.numbers for row in rows for number in row)

    @property
    def values(self) -> str:
        """The numbers."""
        return str(self.numbers if isinstance(self.numbers, Interval) else list(self.numbers))


def _nested(value: Any, depth: int) -> bool:
    if depth == 0:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, list | tuple) and all(_nested(each, depth - 1) for each in value)


# ---------------------------------------------------------------------------------------------------------------------
# Texts
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Texts:
    """What a family says when required ones are missing, when one is unknown, unreadable, or out of its range."""

    missing: Callable[[Sequence[str]], str]
    unknown: Callable[[str], str]
    unreadable: Callable[[Hyperparameter, str], str]
    refused: Callable[[Hyperparameter, Any, str], str]


def _open_refusal(kind: Hyperparameter, value: Any, _text: str) -> str:
    if kind.several:
        return f"Hyperparameter {kind.name}: value {value} not in range {kind.values}"
    return f"Hyperparameter {kind.name}: {value} is not in {kind.values}"


OPEN_TEXTS: Final = Texts(
    missing=lambda names: f"Missing required hyperparameter: {names[0]}",
    unknown=lambda name: f"Extraneous hyperparameter found: {name}",
    unreadable=lambda kind, _: f"Hyperparameter {kind.name}: could not parse value (caused by ValueError)",
    refused=_open_refusal,
)

# The sentences are those of AWS's own library for these algorithms, as far as it is public: a copy of it is in AWS's
# container for Vowpal Wabbit (config_helper.py), and there are jobs that failed with them. The patterns and bounds in
# the last one are [guess].
_BY_SCHEMA: Final = " (caused by ValidationError)"


def _closed_refusal(kind: Hyperparameter, text: str) -> str:
    what = f"The value '{text}' is not valid for the '{kind.name}' hyperparameter which"
    if isinstance(kind, Categorical):
        return f"{what} accepts one of the following: {', '.join(map(repr, kind.words))}{_BY_SCHEMA}"
    return f"{what} expects one of the following: {_expected(kind)}{_BY_SCHEMA}"


def _expected(kind: Hyperparameter) -> str:
    if isinstance(kind, Integer):
        words = "".join(f"; or '{word}'" for word in kind.words)
        return f"an integer {_bounds(kind.range)}{words}".replace(" ;", ";").rstrip()
    if isinstance(kind, Continuous):
        return f"a number {_bounds(kind.range)}".rstrip()
    return f"a list of some of {kind.values}"


def _bounds(interval: Interval) -> str:
    if interval.low is not None and interval.high is not None:
        return f"between {interval.low:g} and {interval.high:g}"
    return f"greater than or equal to {interval.low:g}" if interval.low is not None else ""


CLOSED_TEXTS: Final = Texts(
    missing=lambda names: (
        f"No value(s) were specified for {', '.join(map(repr, names))} which are required hyperparameter(s)"
        + _BY_SCHEMA
    ),
    unknown=lambda name: f"Additional hyperparameters are not allowed ({name!r} was unexpected){_BY_SCHEMA}",
    unreadable=_closed_refusal,
    refused=lambda kind, _, text: _closed_refusal(kind, text),
)


# ---------------------------------------------------------------------------------------------------------------------
# The check
# ---------------------------------------------------------------------------------------------------------------------


def validated(
    table: Sequence[Hyperparameter],
    given: Mapping[str, str],
    aliases: Mapping[str, str] | None = None,
    texts: Texts = OPEN_TEXTS,
) -> dict[str, Any]:
    """Give the typed values of what is given; the rest is missing. Raises `UserError`."""
    known = {each.name: each for each in table}
    written = {(aliases or {}).get(name, name): text for name, text in given.items()}
    if missing := [each.name for each in table if each.required and each.name not in written]:
        raise UserError(texts.missing(missing))
    values: dict[str, Any] = {}
    for name, text in written.items():
        if name not in known:
            raise UserError(texts.unknown(name))
        try:
            values[name] = known[name].parse(text)
        except ValueError as error:
            raise UserError(texts.unreadable(known[name], text)) from error
    for name, value in values.items():
        if not known[name].allows(value):
            raise UserError(texts.refused(known[name], value, written[name]))
    return values
