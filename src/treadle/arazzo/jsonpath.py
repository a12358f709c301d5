"""JSONPath, RFC 9535: queries over JSON values, with bounded work.

Most queries of real documents are singular and plain (`$.a.b[0]`): those run here, as a walk over a tuple of keys.
All others go to jsonpath-rfc9535, as `jsonpath_library` bounds it, imported when the first one is met.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from treadle.errors import TreadleError
from treadle.seams import MISSING, Json, Missing

if TYPE_CHECKING:
    from treadle.arazzo.jsonpath_library import Environment

__all__ = ["JsonPathError", "Query", "compile_query", "goessner", "keys_of"]

LONGEST: Final = 10_000
"""Characters that a query may have."""


class JsonPathError(TreadleError):
    """A text is no query, or its evaluation went beyond the limits; `position` counts characters from 0."""

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, position: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.position = position


class Query(Protocol):
    """A compiled query. A singular one gives at most one node, whatever the value."""

    @property
    def singular(self) -> bool:
        """Tell whether the grammar promises at most one node."""
        ...

    def find(self, value: Json) -> list[Json]:
        """Give the values of the node list. Raises `JsonPathError` when the work exceeds the limits."""
        ...

    def first(self, value: Json) -> Json | Missing:
        """Give the first node's value, or MISSING for an empty node list. Raises as `find`."""
        ...

    def locations(self, value: Json) -> list[tuple[str | int, ...]]:
        """Give the ways to the nodes: names, and indices from 0. Raises as `find`.

        A plain singular query that finds nothing gives the way to where it would be: something can be put there.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Keys:
    """A singular query: names and indices."""

    keys: tuple[str | int, ...]
    singular: ClassVar[bool] = True

    def find(self, value: Json) -> list[Json]:
        found = self.first(value)
        return [] if found is MISSING else [found]

    def first(self, value: Json) -> Json | Missing:
        for key in self.keys:
            if isinstance(key, str):
                if not isinstance(value, Mapping) or key not in value:
                    return MISSING
                value = value[key]
            else:
                if not isinstance(value, list) or not -len(value) <= key < len(value):
                    return MISSING
                value = value[key]
        return value

    def locations(self, value: Json) -> list[tuple[str | int, ...]]:
        way: list[str | int] = []
        for key in self.keys:
            from_end = isinstance(key, int) and key < 0 and isinstance(value, list)
            way.append(len(value) + int(key) if from_end else key)
            value = _Keys((way[-1],)).first(value)
        return [tuple(way)]


# `$`, then `.name`, `['name']` without escapes, or `[index]`; what does not fit is left to the library.
# Letters, digits, `_` and all of Unicode that ASCII lacks, by what is left out: a class of large ranges takes 3 ms.
_NAME: Final = r"[^\x00-@\[-^`{-\x7f\ud800-\udfff][^\x00-/:-@\[-^`{-\x7f\ud800-\udfff]*"
_SEGMENT: Final = (
    rf"\s*(?:\.({_NAME})|\[\s*(?:'([^'\\\x00-\x1f]*)'|\"([^\"\\\x00-\x1f]*)\"|(0|-?[1-9][0-9]{{0,14}}))\s*\])"
)


@cache
def _segment() -> re.Pattern[str]:
    """Compile the pattern with the first query: so many characters take milliseconds."""
    return re.compile(_SEGMENT)


def keys_of(text: str) -> tuple[str | int, ...] | None:
    """Give the keys of a plain singular query, or None for every other text."""
    keys, end = _keys_at_start(text)
    return keys if end == len(text) else None


def _keys_at_start(text: str) -> tuple[tuple[str | int, ...], int]:
    """Give the keys of the plain singular query that a text begins with, and where it ends; 0 where there is none."""
    if not text.startswith("$"):
        return (), 0
    keys: list[str | int] = []
    position = 1
    while match := _segment().match(text, position):
        shorthand, single, double, index = match.groups()
        name = next((each for each in (shorthand, single, double) if each is not None), None)
        keys.append(int(index) if name is None else name)
        position = match.end()
    return tuple(keys), position


_OPERATOR: Final = re.compile(r"\s*(==|!=|<=?|>=?|&&|\|\|)")


@lru_cache(maxsize=1024)
def compile_query(text: str, *, count_elements: bool = False) -> Query:
    """Compile a query. Raises `JsonPathError` for what is no RFC 9535 query.

    `count_elements` is for the dialect rule `root-filter-on-object` alone: `count(@.x)` of a single array is then the
    number of its elements, as the authors of `$[?count(@.pets) > 0]` mean it.
    """
    if len(text) > LONGEST:
        raise JsonPathError(f"the query is longer than {LONGEST} characters", position=LONGEST)
    keys, end = _keys_at_start(text)
    if end == len(text) and end:
        return _Keys(keys)
    if end and (operator := _OPERATOR.match(text, end)):
        # Nothing but segments can follow segments: this needs no library, which takes 40 ms to load.
        raise JsonPathError(f"'{operator[1]}' cannot stand outside of a filter", position=operator.start(1))
    return _Compiled(text, _environment(count_elements=count_elements))


def goessner(text: str) -> str:
    """Rewrite what Goessner's draft writes differently and RFC 9535 can say: `[(@.length-1)]` is `[-1]`.

    Raises `JsonPathError` for other script expressions: they are code.
    """
    rewritten = _FROM_END.sub(r"[-\1]", text)
    if script := _SCRIPT.search(rewritten):
        raise JsonPathError(
            "script expressions '[(…)]' of the Goessner draft are code and are not run",
            position=script.start(),
            hint="write an index, a slice or a filter '[?(…)]'",
        )
    return rewritten


_FROM_END: Final = re.compile(r"\[\s*\(\s*@\.length\s*-\s*([1-9][0-9]{0,8})\s*\)\s*\]")
_SCRIPT: Final = re.compile(r"\[\s*\(")


# ---------------------------------------------------------------------------------------------------------------------
# The library, behind a seam
# ---------------------------------------------------------------------------------------------------------------------


class _Compiled:
    """A query that the library evaluates; its exceptions end here."""

    __slots__ = ("_query", "singular", "text")

    def __init__(self, text: str, environment: Environment) -> None:
        self.text = text
        try:
            self._query: Any = environment.compile(text)
            self.singular = bool(self._query.singular_query())
        except RecursionError:
            raise JsonPathError("the query is nested too deeply") from None
        except Exception as error:
            token = getattr(error, "token", None)
            message = str(error.args[0]) if error.args else type(error).__name__
            raise JsonPathError(message, position=getattr(token, "index", 0)) from error

    def find(self, value: Json) -> list[Json]:
        return [node.value for node in self._nodes(value)]

    def first(self, value: Json) -> Json | Missing:
        return next((node.value for node in self._nodes(value)), MISSING)

    def locations(self, value: Json) -> list[tuple[str | int, ...]]:
        located = _Compiled(self.text, _environment(count_elements=False, located=True))
        return [tuple(node.location) for node in located._nodes(value)]

    def _nodes(self, value: Json) -> Iterable[Any]:
        try:
            yield from self._query.start(value)
        except RecursionError:
            raise JsonPathError(f"'{self.text}' cannot be evaluated: the value is nested too deeply") from None
        except Exception as error:
            raise JsonPathError(f"'{self.text}' cannot be evaluated: {error}") from error


@lru_cache(maxsize=3)
def _environment(*, count_elements: bool, located: bool = False) -> Environment:
    from treadle.arazzo.jsonpath_library import Environment  # for the first query that needs it

    return Environment(count_elements=count_elements, located=located)
