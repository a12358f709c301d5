"""Payload Replacement Objects: a place in a payload, and the value that goes there (§1.12).

A target is a JSON Pointer, a JSONPath or an XPath. What the payload is decides what a pointer means: JSON is edited as
data (a text is read first), a form by the names of its fields, XML as text: only the characters of the place are
exchanged, so that prefixes, comments and layout stay what they were.

A JSON Pointer adds as RFC 6902 §4.1 does: the last token may be new, `-` appends, the parents must be there; at an
element that exists the value takes its place, which is what replacing says. A value that is missing takes away what it
should have replaced: missing is not null. Nothing here changes a value that it was given: what is on the way to a
change is copied, the rest is shared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias
from urllib.parse import parse_qsl

from treadle.arazzo.expressions import EvaluationError, Template, pointer
from treadle.arazzo.jsonpath import JsonPathError, Query, compile_query, goessner
from treadle.errors import TreadleError
from treadle.seams import MISSING, Json, Missing

if TYPE_CHECKING:
    from treadle.arazzo.expressions.xpath import XPath

__all__ = ["Form", "PlannedReplacement", "Target", "TargetError", "compile_target", "form_of", "replaced"]

Form: TypeAlias = Literal["json", "xml", "form", "other"]

Location: TypeAlias = "tuple[str | int, ...]"


class TargetError(Exception):
    """A target that can never be found; the text says why."""


class Target(Protocol):
    """A compiled target."""

    def put(self, payload: Json, value: Json | Missing) -> Json:
        """Give the payload with the value in its place. Raises `EvaluationError`."""
        ...


@dataclass(frozen=True, slots=True)
class PlannedReplacement:
    """A place in the payload and what to put there."""

    target: Target
    value: Template


def form_of(media_type: str) -> Form:
    """Tell what kind of payload a media type is; without one it is taken for JSON."""
    kind = media_type.partition(";")[0].strip().lower()
    subtype = kind.partition("/")[2]
    if kind == "application/x-www-form-urlencoded":
        return "form"
    if subtype == "xml" or subtype.endswith("+xml"):
        return "xml"
    return "json" if not kind or kind.startswith("*") or "json" in subtype else "other"


def compile_target(text: str, kind: str | None, version: str, form: Form) -> Target:
    """Compile a target. `kind` and `version` are those of `targetSelectorType`. Raises `TargetError`.

    Without a kind the payload decides: XPath for XML, JSON Pointer for everything else.
    """
    kind = kind or ("xpath" if form == "xml" else "jsonpointer")
    if (kind == "xpath") != (form == "xml"):
        wanted = "XML" if kind == "xpath" else "JSON"
        raise TargetError(f"a target of type {kind} needs a payload of {wanted}")
    try:
        if kind == "xpath":
            from treadle.arazzo.expressions.xpath import compile_xpath  # it needs XML, which few documents do

            return _XPathTarget(text, compile_xpath(text, version or "xpath-31"))
        if kind == "jsonpath":
            return _JsonPathTarget(text, compile_query(goessner(text) if "goessner" in version else text))
        return _PointerTarget(text, pointer.tokens_of(text.removeprefix("#")))
    except ValueError as error:
        raise TargetError(f"{text!r} is no JSON Pointer: {error}") from None
    except TreadleError as error:  # of JSONPath, or of XPath
        raise TargetError(f"{text!r} is no {kind}: {error.message}") from error


def replaced(payload: Json | Missing, form: Form, values: Iterable[tuple[Target, Json | Missing]]) -> Json | Missing:
    """Give a payload with all values in their places, one after the other. Raises `EvaluationError`."""
    if payload is MISSING:
        payload = {}
    payload = _opened(payload, form)
    for target, value in values:
        payload = target.put(payload, value)
    return payload


def _opened(payload: Json, form: Form) -> Json:
    """Give the data of a payload that is text. XML stays text: that is what its targets work on."""
    if form == "xml":
        if isinstance(payload, str):
            return payload
        raise EvaluationError("a replacement in XML needs a payload that is text")
    if not isinstance(payload, str):
        return payload
    if form == "form":
        return _fields(payload)
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f"nothing can be replaced in the payload: it is text, and no JSON: {error}") from None


def _fields(text: str) -> dict[str, Json]:
    """Read a form; a field that comes several times is a list."""
    fields: dict[str, Json] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        known = fields.get(name)
        if known is None:
            fields[name] = value
        elif isinstance(known, list):
            known.append(value)
        else:
            fields[name] = [known, value]
    return fields


# ---------------------------------------------------------------------------------------------------------------------
# JSON
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _PointerTarget:
    text: str
    tokens: tuple[str, ...]

    def put(self, payload: Json, value: Json | Missing) -> Json:
        return _placed(payload, self.tokens, value, self.text)


@dataclass(frozen=True, slots=True)
class _JsonPathTarget:
    """Every place that a query finds; one that can find one place only may also make it."""

    text: str
    query: Query

    def put(self, payload: Json, value: Json | Missing) -> Json:
        try:
            places = self.query.locations(payload)
        except JsonPathError as error:
            raise EvaluationError(f"the target {self.text!r} cannot be looked for: {error.message}") from error
        if not places:
            raise EvaluationError(f"the target {self.text!r} is nowhere in the payload")
        # From behind, so that what is taken out of a list does not move what is still to be looked at.
        for place in sorted(places, key=_from_behind, reverse=True):
            payload = _placed(payload, place, value, self.text)
        return payload


def _from_behind(location: Location) -> tuple[tuple[bool, str | int], ...]:
    return tuple((isinstance(key, str), key) for key in location)


def _placed(payload: Json, tokens: Sequence[str | int], value: Json | Missing, target: str) -> Json:
    if not tokens:
        if value is MISSING:
            raise EvaluationError(f"the value for {target!r}, the whole payload, is missing")
        return value
    head, *rest = tokens
    if isinstance(payload, Mapping) and isinstance(head, str):
        return _placed_in_object(payload, head, rest, value, target)
    if isinstance(payload, list):
        return _placed_in_list(payload, str(head), rest, value, target)
    raise EvaluationError(f"the payload has nothing at {target!r}: {str(head)!r} is below a value that has no members")


def _placed_in_object(
    payload: Mapping[str, Json], name: str, rest: Sequence[str | int], value: Json | Missing, target: str
) -> Json:
    if rest:
        if name not in payload:
            raise EvaluationError(f"the payload has nothing at {target!r}: there is no member {name!r}")
        return {**payload, name: _placed(payload[name], rest, value, target)}
    if value is MISSING:
        return {key: each for key, each in payload.items() if key != name}
    return {**payload, name: value}


def _placed_in_list(
    payload: list[Json], step: str, rest: Sequence[str | int], value: Json | Missing, target: str
) -> Json:
    if step == "-" and not rest:
        return payload if value is MISSING else [*payload, value]
    # RFC 6901 §4: digits without leading zeros; a longer number is no index of anything here.
    is_index = step.isascii() and step.isdigit() and (step == "0" or step[0] != "0") and len(step) < 10
    index = int(step) if is_index else -1
    if not 0 <= index < len(payload) + (not rest and value is not MISSING):
        raise EvaluationError(f"the payload has nothing at {target!r}: a list of {len(payload)} has no element {step}")
    before, after = payload[:index], payload[index + 1 :]
    if rest:
        return [*before, _placed(payload[index], rest, value, target), *after]
    return [*before, *after] if value is MISSING else [*before, value, *after]


# ---------------------------------------------------------------------------------------------------------------------
# XML
# ---------------------------------------------------------------------------------------------------------------------

_WORDS: Final = "the target {!r} cannot be replaced: {}"


@dataclass(frozen=True, slots=True)
class _XPathTarget:
    text: str
    path: XPath

    def put(self, payload: Json, value: Json | Missing) -> Json:
        from treadle.arazzo.expressions.xpath import XPathError  # as above
        from treadle.arazzo.xmltext import XmlText

        try:
            document = XmlText(payload)
            nodes = self.path.nodes(document.root, document.defaults)
            if not nodes:
                raise EvaluationError(f"the target {self.text!r} is nowhere in the payload")
            return document.edited([document.edit(node, value) for node in nodes])
        except XPathError as error:
            raise EvaluationError(_WORDS.format(self.text, error.message)) from error
