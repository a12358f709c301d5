"""`{$expr}` in conditions of type regex, jsonpath and xpath: evaluated first, written into the text (1.1, "Criterion").

The specification inserts plain text. A value must still not change what the condition says, so inside quotes the
quote and the backslash are escaped, and where an operand stands a value becomes a literal of its own type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from treadle.arazzo.criteria.verdict import ConditionError
from treadle.arazzo.expressions import Context, EvaluationError, Expression, ExpressionError, Scope, compile_expression
from treadle.arazzo.expressions.template import UNBRACED, placeholders, require
from treadle.arazzo.expressions.text import text_of
from treadle.seams import Json

__all__ = ["Substituted", "find_json_path", "find_plain", "find_xpath"]

Where: TypeAlias = Literal["plain", "'", '"', "literal", "name", "xpath'", 'xpath"', "xpath"]
"""Where a value lands: as it is; in a JSONPath string; as an operand; as a member's name; the same for XPath."""


@dataclass(frozen=True, slots=True)
class Substituted:
    """A text with places for values."""

    text: str
    places: tuple[tuple[int, int, Expression, Where], ...]

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """The expressions, in order."""
        return tuple(each[2] for each in self.places)

    def fill(self, context: Context) -> str:
        """Give the text for one context. Raises `EvaluationError`."""
        return self._with(lambda expression, where: _WRITE[where](require(expression, context), expression))

    def sample(self) -> str | None:
        """Give a text of the same form, to check its syntax early; None where its form depends on a value."""
        if any(where in ("plain", "name") for *_, where in self.places):
            return None
        return self._with(lambda expression, where: _WRITE[where]("x", expression))

    def _with(self, write: Callable[[Expression, Where], str]) -> str:
        parts, position = [], 0
        for start, end, expression, where in self.places:
            parts += [self.text[position:start], write(expression, where)]
            position = end
        return "".join([*parts, self.text[position:]])


def _in_single(value: Json, _: Expression) -> str:
    return json.dumps(text_of(value), ensure_ascii=False)[1:-1].replace('\\"', '"').replace("'", "\\'")


def _in_double(value: Json, _: Expression) -> str:
    return json.dumps(text_of(value), ensure_ascii=False)[1:-1]


def _literal(value: Json, expression: Expression) -> str:
    if isinstance(value, (dict, list)):
        message = f"{expression} is {'an object' if isinstance(value, dict) else 'an array'}, which no literal can be"
        raise EvaluationError(message, expression=str(expression))
    return json.dumps(value, ensure_ascii=False)


_NAME: Final = re.compile(r"[\w\-]+\Z")


def _name(value: Json, expression: Expression) -> str:
    text = text_of(value)
    if not _NAME.match(text):
        raise EvaluationError(f"{expression} is no name or index that a query can hold", expression=str(expression))
    return text


def _xpath_literal(value: Json, expression: Expression) -> str:
    if isinstance(value, (bool, type(None), dict, list)):
        return (
            "true()" if value is True else "false()" if value is False else _xpath_literal(text_of(value), expression)
        )
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"'
    return text_of(value)


_WRITE: Final[dict[Where, Callable[[Json, Expression], str]]] = {
    "plain": lambda value, _: text_of(value),
    "'": _in_single,
    '"': _in_double,
    "literal": _literal,
    "name": _name,
    "xpath'": lambda value, _: text_of(value).replace("'", "''"),
    'xpath"': lambda value, _: text_of(value).replace('"', '""'),
    "xpath": _xpath_literal,
}


def find_plain(text: str, scope: Scope) -> Substituted:
    """For patterns: values are parts of the pattern, as in the specification's `^({$inputs.statusPattern})$`."""
    found = placeholders(text, scope, unbraced=False)
    return Substituted(text, tuple((each.start, each.end, each.expression, "plain") for each in found))


def find_xpath(text: str, scope: Scope) -> Substituted:
    """For XPath: in quotes the quote is doubled, elsewhere a value is a literal."""
    found = placeholders(text, scope, unbraced=False)
    quotes = _quotes(text)
    places: list[tuple[int, int, Expression, Where]] = []
    for each in found:
        quote = quotes[each.start]
        where: Where = "xpath'" if quote == "'" else 'xpath"' if quote else "xpath"
        places.append((each.start, each.end, each.expression, where))
    return Substituted(text, tuple(places))


def find_json_path(text: str, scope: Scope, found: Callable[[str], None]) -> Substituted:
    """For JSONPath; `found` is told about expressions without braces (a dialect rule).

    Those can only stand where JSONPath has no meaning for them: as a whole string literal, or inside brackets.
    """
    quotes = _quotes(text)
    places: list[tuple[int, int, Expression, Where]] = []
    for each in placeholders(text, scope, unbraced=False):
        whole = each.start == 0 and each.end == len(text)
        places.append((each.start, each.end, each.expression, "plain" if whole else _where(text, quotes, each.start)))
    for match in UNBRACED.finditer(text):
        start, end = match.span()
        if any(begin <= start < stop for begin, stop, *_ in places) or not _free(text, quotes, start, end):
            continue
        try:
            expression = compile_expression(match.group(), scope)
        except ExpressionError as error:
            raise ConditionError(error.message, position=start, hint=error.hint) from error
        found(match.group())
        places.append((start, end, expression, _where(text, quotes, start)))
    return Substituted(text, tuple(sorted(places, key=lambda place: place[0])))


def _where(text: str, quotes: list[str], start: int) -> Where:
    if quotes[start]:
        return "'" if quotes[start] == "'" else '"'
    before = text[:start].rstrip()
    return "name" if before.endswith((".", "[")) else "literal"


def _free(text: str, quotes: list[str], start: int, end: int) -> bool:
    quote = quotes[start]
    if quote:
        return text[start - 1] == quote and text.startswith(quote, end)
    depth = sum((each == "[") - (each == "]") for index, each in enumerate(text[:start]) if not quotes[index])
    return depth > 0


def _quotes(text: str) -> list[str]:
    """Give, for each character, the quote that it stands in ("" outside)."""
    inside, skip, found = "", False, []
    for each in text:
        found.append(inside)
        if skip:
            skip = False
        elif inside:
            skip = each == "\\"
            inside = "" if each == inside else inside
        elif each in "'\"":
            inside = each
    return found
