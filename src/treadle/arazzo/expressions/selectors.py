"""Selector Objects of Arazzo 1.1: `{context, selector, type}`, a part of structured data as a value.

The text leaves open how many results a selector has: a singular query gives its value or nothing, every other one a
list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from treadle.arazzo import jsonpath
from treadle.arazzo.expressions import pointer
from treadle.arazzo.expressions.nodes import Expression
from treadle.arazzo.expressions.parse import compile_expression
from treadle.arazzo.expressions.scope import Context, EvaluationError, ExpressionError, Scope
from treadle.errors import TreadleError
from treadle.seams import MISSING, Json, Missing

__all__ = ["VERSIONS", "Selector", "compile_selector", "kind_of", "looks_like_selector"]

VERSIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "jsonpath": ("rfc9535", "draft-goessner-dispatch-jsonpath-00"),
    "xpath": ("xpath-31", "xpath-30", "xpath-20", "xpath-10"),
    "jsonpointer": ("rfc6901",),
}
"""Expression types with their versions, the default first (Expression Type Object)."""

_MEMBERS: Final = frozenset({"context", "selector", "type"})


def looks_like_selector(value: Mapping[str, Json]) -> bool:
    """Tell a Selector Object from an object that is data: exactly its members, an expression, a known type."""
    if value.keys() != _MEMBERS:
        return False
    context, selector = value["context"], value["selector"]
    return (
        isinstance(context, str)
        and context.lstrip("{").startswith("$")
        and isinstance(selector, str)
        and kind_of(value["type"])[0] in VERSIONS
    )


def kind_of(kind: Json) -> tuple[str, str]:
    """Give the name and version ("" when none is given) of a `type`: a string or an Expression Type Object."""
    if isinstance(kind, str):
        return kind, ""
    if isinstance(kind, Mapping):
        return str(kind.get("type", "")), str(kind.get("version", ""))
    return "", ""


_Select: TypeAlias = Callable[[Json], Json | Missing]


@dataclass(frozen=True, slots=True)
class Selector:
    """A compiled Selector Object."""

    context: Expression
    select: _Select
    kind: str = ""
    text: str = ""

    def evaluate(self, context: Context) -> Json | Missing:
        """Give what is selected, or MISSING. Raises `EvaluationError`."""
        value = self.context.evaluate(context)
        if value is MISSING or value is None:
            return MISSING
        try:
            return self.select(value)
        except TreadleError as error:  # of JSONPath, or of XPath
            raise EvaluationError(error.message, expression=str(self.context), hint=error.hint) from error


def compile_selector(value: Mapping[str, Json], scope: Scope, at: str = "") -> Selector | None:
    """Compile a Selector Object; None, with an error in the notes, for one that can never work."""
    if scope.version.startswith("1.0"):
        message = f"Selector Objects belong to Arazzo 1.1, the document says {scope.version}; it is honoured"
        scope.note("newer-feature", message, "warning", at)
    name, version = kind_of(value["type"])
    if version and version not in VERSIONS[name]:
        hint = "known: " + ", ".join(VERSIONS[name])
        scope.note("unknown-version", f"there is no version '{version}' of {name}", "error", f"{at}/type", hint)
        return None
    text = value["context"]
    inner = text[1:-1] if text.startswith("{") and text.endswith("}") else text
    try:
        context = compile_expression(inner, scope, f"{at}/context")
    except ExpressionError as error:
        scope.note("bad-expression", error.message, "error", f"{at}/context", error.hint, instead=error.meant)
        return None
    try:
        return Selector(context, _selection(name, version, value["selector"], scope), name, value["selector"])
    except TreadleError as error:
        message = f"'{value['selector']}' is no {name}: {error.message}"
        scope.note("bad-selector", message, "error", f"{at}/selector", error.hint)
        return None


def _selection(name: str, version: str, text: str, scope: Scope) -> _Select:
    if name == "jsonpointer":
        try:
            tokens = pointer.tokens_of(text.removeprefix("#"))
        except ValueError as error:
            raise jsonpath.JsonPathError(str(error)) from None
        return lambda value: pointer.follow(value, tokens)
    if name == "xpath":
        from treadle.arazzo.expressions.xpath import compile_xpath  # it needs XML, which few documents do

        query = compile_xpath(text, version or "xpath-31")
        return partial(query.select, any_namespace=scope.allows("xpath-default-namespace"))
    path = jsonpath.compile_query(jsonpath.goessner(text) if "goessner" in version else text)
    return path.first if path.singular else path.find
