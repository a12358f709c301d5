"""What criteria claim about an answer, and whether that can be: reasoning over outlines with few values.

A criterion compares values with constants. Whether it can hold for any value is decided by trying: those constants,
their neighbours, and one value of every other kind stand for all (comparisons cannot tell the rest apart). Only one
value of the answer is tried at a time, together with the status; what the others would say is unknown, so a judgement
has three outcomes, and "never" is said only when every trial says no.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from treadle.arazzo.criteria import outline as outlines
from treadle.arazzo.criteria.compare import loose, strict
from treadle.arazzo.criteria.conditions import truthy
from treadle.arazzo.criteria.outline import Outline
from treadle.arazzo.expressions import Expression, nodes, text_of
from treadle.arazzo.rules.planned.shapes import ARRAY, BOOLEAN, KINDS, NULL, NUMBER, OBJECT, STRING, Shape
from treadle.seams import MISSING, Json, Missing

__all__ = [
    "STATUS",
    "Claim",
    "Trial",
    "Variable",
    "body_path",
    "constants",
    "is_body",
    "judge",
    "leaves",
    "statuses",
    "trials",
    "variables",
]

Variable: TypeAlias = "tuple[object, ...]"
"""("status",), ("body", *names), ("length", …) or ("other", text): what an operand looks at."""

STATUS: Final[Variable] = ("status",)

Trial: TypeAlias = "Mapping[Variable, Json | Missing]"

Claim: TypeAlias = "tuple[Outline | None, bool]"
"""An outline (None: unknown), and whether its comparisons are strict, as those of JSONPath."""


# ---------------------------------------------------------------------------------------------------------------------
# Variables
# ---------------------------------------------------------------------------------------------------------------------


def is_body(variable: Variable) -> bool:
    """Tell whether it is a value in the body of the response; the names that lead to it follow."""
    return variable[0] == "body"


def body_path(expression: Expression) -> tuple[str | int, ...] | None:
    """Give the path of an expression into the response's body; None for every other, and for `[*]` and `.length`."""
    if not isinstance(expression, nodes.Body) or expression.side != "response":
        return None
    path: list[str | int] = []
    for part in expression.tail:
        if isinstance(part, nodes.Pointer):
            path += part.tokens
        elif isinstance(part, nodes.Member):
            path.append(part.name)
        elif isinstance(part, nodes.Index):
            path.append(part.index)
        else:
            return None
    return None if path and path[-1] == "length" else tuple(path)


def variable_of(operand: outlines.Operand) -> Variable | None:
    """Give the variable that an operand looks at, None for a constant."""
    match operand:
        case outlines.Constant():
            return None
        case outlines.Looked(expression=nodes.Plain(name="statusCode")):
            return STATUS
        case outlines.Looked():
            path = body_path(operand.expression)
            return ("body", *path) if path is not None else ("other", str(operand.expression))
        case outlines.Selected():
            start = body_path(operand.context) if operand.context is not None else None
            plain = all(isinstance(each, (str, int)) for each in operand.path)
            return ("body", *start, *operand.path) if start is not None and plain else ("other", repr(operand))
        case outlines.Length():
            return ("length", variable_of(operand.of))


def _operands(outline: Outline | None) -> Iterator[tuple[outlines.Operand, outlines.Operand | None]]:
    """Give every operand with the one that it is compared with."""
    match outline:
        case outlines.All(parts=parts) | outlines.Either(parts=parts):
            for part in parts:
                yield from _operands(part)
        case outlines.Not():
            yield from _operands(outline.inner)
        case outlines.Compare():
            yield outline.left, outline.right
            yield outline.right, outline.left
        case outlines.Test():
            yield outline.operand, None
        case outlines.Matches():
            yield outline.subject, None


def variables(claims: Iterable[Claim]) -> list[Variable]:
    """Give what the claims look at, each once, in order."""
    found = (variable_of(operand) for outline, _ in claims for operand, _ in _operands(outline))
    return list(dict.fromkeys(each for each in found if each is not None))


def constants(claims: Iterable[Claim], variable: Variable) -> list[Json]:
    """Give the constants that a variable is compared with."""
    return [
        other.value
        for outline, _ in claims
        for operand, other in _operands(outline)
        if isinstance(other, outlines.Constant) and variable_of(operand) == variable
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Judging
# ---------------------------------------------------------------------------------------------------------------------


def judge(claims: Iterable[Claim], trial: Trial, *, exact: bool = False) -> bool | None:
    """Tell whether all claims hold for these values; None when that depends on others.

    `exact` says that the values are what they are, and do not stand for others: only then patterns are tried on them.
    """
    return _every(_Judge(trial, strictly, exact).of(outline) for outline, strictly in claims)


class _Judge(NamedTuple):
    trial: Trial
    strictly: bool
    exact: bool

    def of(self, outline: Outline | None) -> bool | None:
        match outline:
            case outlines.All(parts=parts):
                return _every(self.of(part) for part in parts)
            case outlines.Either(parts=parts):
                return _negated(_every(_negated(self.of(part)) for part in parts))
            case outlines.Not():
                return _negated(self.of(outline.inner))
            case outlines.Compare():
                left, right = self.value(outline.left), self.value(outline.right)
                if left is _UNKNOWN or right is _UNKNOWN:
                    return None
                return (strict if self.strictly else loose)(outline.operator, left, right)[0]
            case outlines.Test():
                value = self.value(outline.operand)
                return None if value is _UNKNOWN else value is not MISSING if outline.exists else truthy(value)
            case outlines.Matches():
                return _matches(outline, self.value(outline.subject)) if self.exact else None
            case _:
                return None

    def value(self, operand: outlines.Operand) -> Json | Missing:
        if isinstance(operand, outlines.Constant):
            return operand.value
        return self.trial.get(variable_of(operand) or (), _UNKNOWN)


def _every(judgements: Iterable[bool | None]) -> bool | None:
    outcome: bool | None = True
    for each in judgements:
        if each is False:
            return False
        outcome = outcome and each
    return outcome


def _negated(judgement: bool | None) -> bool | None:
    return None if judgement is None else not judgement


_UNKNOWN: Final = object()


def _matches(outline: outlines.Matches, value: Json | Missing) -> bool | None:
    from treadle.arazzo.criteria.regex import compile_pattern  # RE2, only where there are patterns

    if value is _UNKNOWN:
        return None
    if value is MISSING or value is None:
        return False
    pattern, text = compile_pattern(outline.pattern), text_of(value).encode("utf-8", "replace")
    return bool(pattern.fullmatch(text) if outline.whole else pattern.search(text))


# ---------------------------------------------------------------------------------------------------------------------
# Values to try
# ---------------------------------------------------------------------------------------------------------------------

_CLASSES: Final = (100, 199, 200, 204, 299, 300, 399, 400, 404, 499, 500, 599)


def statuses(claims: Sequence[Claim], described: Iterable[str]) -> list[int]:
    """Give the statuses for which the claims may hold: of the described ones, the mentioned ones, and each class."""
    values = {*_CLASSES}
    for key in described:
        if key.isdecimal():
            values.add(int(key))
        elif key[:1].isdecimal():
            values.add(int(key[0]) * 100 + 50)
    for each in constants(claims, STATUS):
        number = _number(each)
        if number is not None and 100 <= number < 600:
            values |= {int(number) - 1, int(number), int(number) + 1}
    if any(isinstance(part, outlines.Matches) for outline, _ in claims for part in leaves(outline)):
        values |= set(range(100, 600))
    return sorted(each for each in values if judge(claims, {STATUS: each}, exact=True) is not False)


def leaves(outline: Outline | None) -> Iterator[Outline]:
    """Give the comparisons, tests and patterns of an outline."""
    match outline:
        case outlines.All(parts=parts) | outlines.Either(parts=parts):
            for part in parts:
                yield from leaves(part)
        case outlines.Not():
            yield from leaves(outline.inner)
        case None:
            return
        case _:
            yield outline


def trials(variable: Variable, shape: Shape | None, compared: Sequence[Json]) -> list[Json | Missing]:
    """Give values that stand for all that a variable can have; `shape` says what those are."""
    if variable[0] == "length":
        numbers = [number for each in compared if (number := _number(each)) is not None and number >= 0]
        return [0, 1, *(max(0, int(each) + step) for each in numbers for step in (-1, 0, 1)), 10**6]
    missing = [MISSING] if shape is None or shape.optional else []
    if shape is not None and shape.values is not None:
        return [*shape.values, *missing]
    kinds = KINDS if shape is None else shape.kinds
    return [*missing, *(each for kind in sorted(kinds) for each in _of_kind(kind, compared))]


def _of_kind(kind: str, compared: Sequence[Json]) -> list[Json]:
    numbers = [number for each in compared if (number := _number(each)) is not None]
    around = [each + step for each in numbers for step in (-1, -0.5, 0, 0.5, 1)]
    if kind == STRING:
        texts = [each for each in compared if isinstance(each, str)]
        return ["", "\x01", "\uffff", *texts, *(f"{each}\x01" for each in texts), *(text_of(each) for each in around)]
    if kind == NUMBER:
        return [-1e300, -1, 0, 1, 1e300, *around]
    constant: Mapping[str, list[Json]] = {
        BOOLEAN: [True, False],
        NULL: [None],
        ARRAY: [[], ["x"]],
        OBJECT: [{}, {"x": "x"}],
    }
    return constant[kind]


def _number(value: Json) -> int | float | None:
    """Give a number, or the one that a text is."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return value if abs(value) < 1e15 else None
    try:
        number = float(value) if isinstance(value, str) and len(value) < 20 else None
    except ValueError:
        return None
    return number if number is not None and abs(number) < 1e15 else None
