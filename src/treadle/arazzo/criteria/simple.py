"""Criteria of type `simple`: `$statusCode == 200 && $response.body#/state != 'failed'`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from treadle.arazzo.criteria.compare import loose
from treadle.arazzo.criteria.conditions import Condition, Dialect, Operand, parse_condition
from treadle.arazzo.criteria.operands import Spoken, Value, read_expression
from treadle.arazzo.criteria.verdict import ConditionError, Verdict
from treadle.arazzo.expressions import (
    Context,
    EvaluationError,
    Expression,
    ExpressionError,
    Scope,
    compile_expression,
    compile_value,
    meant,
)

__all__ = ["Simple", "compile_simple"]

_MEANT = {
    "double-quoted-string": "{} is in double quotes; Arazzo's strings have single ones",
    "bare-word": "{} stands without quotes; it is taken as a text",
    "foreign-constant": "{} is how other languages write a constant",
    "braced-operand": "{} stands in braces, which conditions of type simple do not have",
}


@dataclass(frozen=True, slots=True)
class Simple:
    """A compiled condition."""

    kind: ClassVar[str] = "simple"
    condition: str
    node: Condition
    expressions: tuple[Expression, ...]
    rules: tuple[str, ...]

    def judge(self, context: Context) -> Verdict:
        """Judge; never raises."""
        reasons: list[str] = []
        try:
            passed = self.node.judge(context, None, reasons)
        except EvaluationError as error:
            return Verdict(
                passed=False, reasons=tuple(reasons), problem=error.message, rules=self.rules, condition=self.condition
            )
        except RecursionError:
            return Verdict(
                passed=False,
                reasons=tuple(reasons),
                problem="the values are nested too deeply",
                rules=self.rules,
                condition=self.condition,
            )
        return Verdict(passed=passed, reasons=tuple(reasons), rules=self.rules, condition=self.condition)


def compile_simple(condition: str, scope: Scope) -> Simple:
    """Compile. Raises `ConditionError`."""
    rules: list[str] = []
    expressions: list[Expression] = []

    def found(rule: str, text: str) -> None:
        rules.append(rule)
        quoted = "'" + text.strip("\"'").replace("'", "''") + "'"
        hint = f"write {quoted}" if rule in {"double-quoted-string", "bare-word"} else ""
        scope.dialect(rule, _MEANT[rule].format(text), hint=hint)

    def read(text: str, start: int) -> tuple[Operand, int] | None:
        if text.startswith("{$", start):
            return braced(text, start)
        return read_expression(text, start, scope, "", expressions) if text.startswith("$", start) else None

    def braced(text: str, start: int) -> tuple[Operand, int]:
        end = text.find("}", start)
        try:
            expression = compile_expression(text[start + 1 : end if end > 0 else len(text)], scope)
        except ExpressionError as error:
            raise ConditionError(error.message, position=start, hint=error.hint) from error
        if end < 0:
            raise ConditionError("a brace is not closed", position=start)
        found("braced-operand", text[start : end + 1])
        expressions.append(expression)
        return Value(text[start : end + 1], expression), end + 1

    def quoted(source: str, content: str) -> Operand | None:
        template = compile_value(content, scope, kind="text")
        if template.constant:
            return None
        found("braced-operand", source)
        expressions.extend(template.expressions)
        return Spoken(source, template)

    def likely(word: str) -> str:
        return meant(word, scope)[0]

    dialect = Dialect(read, loose, doubled_quotes=True, found=found, quoted=quoted, likely=likely)
    node = parse_condition(condition, dialect)
    return Simple(condition, node, tuple(expressions), tuple(dict.fromkeys(rules)))
