"""What a criterion says: passed or not, and why."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import msgspec

from treadle.arazzo.expressions import Context, EvaluationError, Expression
from treadle.errors import TreadleError
from treadle.seams import MISSING, Json, Missing

__all__ = ["Broken", "ConditionError", "Criterion", "Verdict", "look", "place"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A criterion's verdict. A `problem` says why it could not be evaluated; it has then not passed.

    `reasons` are one line for each thing that was looked at, `rules` the dialect rules that were needed.
    """

    condition: str
    passed: bool
    reasons: tuple[str, ...] = ()
    problem: str = ""
    rules: tuple[str, ...] = ()


@runtime_checkable
class Criterion(Protocol):
    """A compiled criterion."""

    @property
    def condition(self) -> str:
        """The condition as the document has it."""
        ...

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """Every runtime expression in condition and context, for static checks."""
        ...

    def judge(self, context: Context) -> Verdict:
        """Judge. Raises nothing: what cannot be evaluated has not passed, and says so in `problem`."""
        ...


class ConditionError(TreadleError):
    """A condition that can never be evaluated; `position` counts characters from 0.

    `instead` is what the condition should be, where that is certain.
    """

    def __init__(self, message: str, *, position: int = 0, hint: str = "", instead: str = "") -> None:
        super().__init__(message, hint=hint)
        self.position = position
        self.instead = instead


class Broken(msgspec.Struct, frozen=True):
    """Stands for a condition that cannot be compiled: it never passes and always says why."""

    condition: str
    problem: str
    expressions: tuple[Expression, ...] = ()

    def judge(self, context: Context) -> Verdict:  # noqa: ARG002  (protocol)
        """Give the problem."""
        return Verdict(passed=False, problem=self.problem, condition=self.condition)


def look(expression: Expression, context: Context) -> Json | Missing:
    """Give an operand's value, or MISSING. Raises `EvaluationError` when the body it reads could not be decoded."""
    value = expression.evaluate(context)
    if value is MISSING and expression.reads_answer_body:
        response = context.response
        if response is not None and response.problem:
            raise EvaluationError(f"{expression} cannot be read: {response.problem}", expression=str(expression))
    return value


def place(text: str, position: int) -> str:
    """Say where in a condition something is."""
    rest = text[position : position + 20]
    return f"at '{rest}{'…' if len(text) > position + 20 else ''}'" if rest else "at its end"
