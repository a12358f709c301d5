"""What a request tells about the run that sent it.

A mock does not know the inputs of a run, but it sees them arrive: a step's request is built anew with a mark in the
place of every input, and where the marks stand in it the values stand in the request that came. The same comparison
says whether the request can be that step's at all: what is no mark must be equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from treadle.arazzo.expressions import nodes
from treadle.arazzo.expressions.text import text_of
from treadle.errors import CallError
from treadle.mock.paths import put, remove
from treadle.mock.patterns import compiled
from treadle.mock.play import Position
from treadle.mock.samples import Path
from treadle.seams import MISSING, Json, Missing, Request
from treadle.sources.bodies import decode

__all__ = ["Fit", "fit"]

# Letters and digits only: no encoding changes them, wherever they land.
_MARK: Final = re.compile(r"zQ(\d{5})Qz")


@dataclass(frozen=True, slots=True)
class Fit:
    """How well a request fits a step: `conflicts` say that it is another's, `extras` that more came than expected."""

    position: Position
    conflicts: int
    extras: int


@dataclass(slots=True)
class _Marks:
    """The marks that were put into inputs: where each stands, and what stood there."""

    places: list[tuple[Path, Json]] = field(default_factory=list)

    def mark(self, path: Path, value: Json) -> str:
        self.places.append((path, value))
        return f"zQ{len(self.places) - 1:05d}Qz"

    def marked(self, path: Path, value: Json, *, deep: bool) -> Json:
        if deep and isinstance(value, dict) and value:
            return {name: self.marked((*path, name), each, deep=True) for name, each in value.items()}
        if deep and isinstance(value, list) and value:
            return [self.marked((*path, index), each, deep=True) for index, each in enumerate(value)]
        return self.mark(path, value)


def fit(position: Position, request: Request) -> Fit:
    """Hold a request against the step that is due; the position of the fit knows what was learned from it."""
    navigated = {
        each.name for each in position.step.expressions if isinstance(each, nodes.InputReference) and each.tail
    }
    marks = _Marks()
    inputs = {
        name: marks.marked((name,), value, deep=name in navigated) for name, value in position.frame.inputs.items()
    }
    try:
        expected = position.step.bound.request(position.call(inputs))
    except CallError:
        return Fit(position, 0, 1)
    found = _Comparison()
    found.requests(expected, request, position)
    if not found.learned:
        return Fit(position, found.conflicts, found.extras)
    learned = _applied(position.frame.inputs, marks, found.learned)
    return Fit(position.with_inputs(learned), found.conflicts, found.extras)


def _applied(inputs: Mapping[str, Json], marks: _Marks, learned: Mapping[int, Json | Missing]) -> dict[str, Json]:
    made: Json = dict(inputs)
    # From the end, so that removing an element does not move those that come.
    for index in sorted(learned, reverse=True):
        path, before = marks.places[index]
        value = learned[index]
        made = remove(made, path) if value is MISSING else put(made, path, _like(before, value))
    return dict(made)


def _like(before: Json, value: Json) -> Json:
    """Read a text as what stood there before: a query knows no numbers."""
    if not isinstance(value, str) or isinstance(before, str):
        return value
    if isinstance(before, bool):
        return {"true": True, "false": False}.get(value, value)
    if isinstance(before, (int, float)):
        try:
            return float(value) if "." in value else int(value)
        except ValueError:
            return value
    return value


@dataclass(slots=True)
class _Comparison:
    learned: dict[int, Json | Missing] = field(default_factory=dict)
    conflicts: int = 0
    extras: int = 0

    def requests(self, expected: Request, actual: Request, position: Position) -> None:
        one, other = urlsplit(expected.url), urlsplit(actual.url)
        # Prefixes differ where a client found the operation another way.
        self.texts(unquote(one.path), unquote(other.path), suffix=True)
        self.members(_pairs(one.query), _pairs(other.query))
        named = {each.name.lower() for each in position.step.arguments if each.location == "header"}
        for name in named - {"content-type", "accept", "authorization"}:
            value, came = expected.header(name), actual.header(name)
            if value is not None:
                self.values(value, MISSING if came is None else came)
        self.bodies(expected, actual)

    def bodies(self, expected: Request, actual: Request) -> None:
        if not expected.body or not actual.body:
            self.conflicts += bool(expected.body) and not _MARK.search(expected.body.decode("utf-8", "replace"))
            self.extras += bool(actual.body) and not expected.body
            return
        kind = (expected.header("content-type") or "").partition(";")[0].strip().lower()
        if kind == "application/x-www-form-urlencoded":
            self.members(_pairs(expected.body.decode()), _pairs(actual.body.decode("utf-8", "replace")))
            return
        if kind.startswith("multipart/"):
            return
        wanted, _ = decode(expected.body, expected.header("content-type"))
        came, _ = decode(actual.body, actual.header("content-type"))
        if wanted is not MISSING and came is not MISSING:
            self.values(wanted, came)

    def members(self, expected: Mapping[str, Json], actual: Mapping[str, Json]) -> None:
        for name, value in expected.items():
            self.values(value, actual.get(name, MISSING))
        self.extras += len(actual.keys() - expected.keys())

    def values(self, expected: Json, actual: Json | Missing) -> None:
        if actual is MISSING:
            marks = list(_marks(expected))
            self.learned.update(dict.fromkeys(marks, MISSING))
            self.conflicts += not marks
        elif isinstance(expected, str):
            whole = _MARK.fullmatch(expected)
            if whole:
                self.learned[int(whole[1])] = actual
            else:
                self.texts(expected, actual if isinstance(actual, str) else text_of(actual))
        elif isinstance(expected, dict) and isinstance(actual, dict):
            self.members(expected, actual)
        elif isinstance(expected, list) and isinstance(actual, list):
            for one, other in zip(expected, actual, strict=False):
                self.values(one, other)
            self.extras += abs(len(expected) - len(actual))
        else:
            self.conflicts += expected != actual and text_of(expected) != text_of(actual)

    def texts(self, expected: str, actual: str, *, suffix: bool = False) -> None:
        """Compare texts with marks in them."""
        parts = _MARK.split(expected)
        if len(parts) == 1:
            self.conflicts += not (expected == actual or (suffix and _ends_alike(expected, actual)))
            return
        pattern = "".join("(.*?)" if position % 2 else re.escape(part) for position, part in enumerate(parts))
        known = compiled(f"(?s){pattern}")  # a document's text with many marks would keep `re` busy for hours
        found = known and known.fullmatch(actual.encode("utf-8", "replace"))
        if not found:
            self.conflicts += 1
            return
        for mark, value in zip(parts[1::2], found.groups(), strict=True):
            self.learned[int(mark)] = value.decode("utf-8", "replace")


def _ends_alike(expected: str, actual: str) -> bool:
    return expected.endswith(actual) or actual.endswith(expected)


def _pairs(query: str) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in found:
            held = found[name]
            found[name] = [*held, value] if isinstance(held, list) else [held, value]
        else:
            found[name] = value
    return found


def _marks(value: Json) -> Iterator[int]:
    if isinstance(value, str):
        yield from (int(each) for each in _MARK.findall(value))
    elif isinstance(value, dict):
        for each in value.values():
            yield from _marks(each)
    elif isinstance(value, list):
        for each in value:
            yield from _marks(each)
