"""Runtime expressions as operands of conditions, and how far they reach in a condition's text."""

from __future__ import annotations

from dataclasses import dataclass

from treadle.arazzo.criteria.conditions import truthy
from treadle.arazzo.criteria.verdict import ConditionError, look
from treadle.arazzo.expressions import Context, Expression, ExpressionError, Scope, Template, compile_expression
from treadle.arazzo.expressions.parse import declared_extent
from treadle.arazzo.expressions.text import brief
from treadle.seams import Json, Missing

__all__ = ["Spoken", "Value", "extent", "read_expression"]


@dataclass(frozen=True, slots=True)
class Value:
    """A runtime expression as an operand."""

    text: str
    expression: Expression

    def value(self, context: Context, data: Json) -> Json | Missing:  # noqa: ARG002  (protocol)
        """Give its value."""
        return look(self.expression, context)

    def holds(self, context: Context, data: Json) -> tuple[bool, str]:  # noqa: ARG002  (protocol)
        """Alone it passes when it is truthy."""
        value = look(self.expression, context)
        return truthy(value), brief(value)


@dataclass(frozen=True, slots=True)
class Spoken:
    """A string literal with `{$expr}` in it."""

    text: str
    template: Template

    def value(self, context: Context, data: Json) -> Json | Missing:  # noqa: ARG002  (protocol)
        """Give the text."""
        return self.template.evaluate(context)

    def holds(self, context: Context, data: Json) -> tuple[bool, str]:
        """Alone it passes when it is not empty."""
        value = self.value(context, data)
        return truthy(value), brief(value)


_ENDS = frozenset(" \t\r\n)<>")


def extent(text: str, start: int, scope: Scope) -> int:
    """Give where the expression that begins at `start` ends: before white space, a parenthesis or an operator."""
    at = max(declared_extent(text, start, scope), start + 1)
    while at < len(text) and text[at] not in _ENDS:
        if text.startswith(("==", "!=", "&&", "||"), at):
            break
        if text.startswith(("['", '["'), at):
            close = text.find(text[at + 1] + "]", at + 2)
            at = close + 1 if close > 0 else at
        at += 1
    return at


def read_expression(text: str, start: int, scope: Scope, at: str, found: list[Expression]) -> tuple[Value, int]:
    """Read the runtime expression that begins at `start`. Raises `ConditionError`."""
    end = extent(text, start, scope)
    source = text[start:end]
    try:
        expression = compile_expression(source, scope, at)
    except ExpressionError as error:
        hint = "write '==' to compare" if "=" in source else error.hint
        instead = text[:start] + error.meant + text[end:] if error.meant else ""
        raise ConditionError(error.message, position=start + error.position, hint=hint, instead=instead) from error
    found.append(expression)
    return Value(source, expression), end
