"""What a compiled criterion asks for, as plain values: for tools that construct answers, or look for contradictions.

A criterion judges; it does not say what it would like to see. Its outline does: a tree of `All`, `Any` and `Not` over
comparisons, tests, patterns and queries. It means the same as the criterion, but for corners (an outline knows no
problem, and of a query with slices or recursive descent only the names): who needs certainty asks `judge`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from treadle.arazzo.criteria import conditions, operands
from treadle.arazzo.criteria.verdict import ConditionError, Criterion
from treadle.arazzo.expressions import Context, EvaluationError, Expression
from treadle.arazzo.jsonpath import JsonPathError, Query, compile_query, keys_of
from treadle.seams import Json

if TYPE_CHECKING:
    from treadle.arazzo.criteria.jsonpath import JsonPath

__all__ = [
    "ANY",
    "NEGATED",
    "All",
    "Compare",
    "Constant",
    "Either",
    "Length",
    "Looked",
    "Matches",
    "Not",
    "Operand",
    "Outline",
    "Selected",
    "Step",
    "Test",
    "Where",
    "XPath",
    "outline",
    "query_path",
]


class _Any:
    def __repr__(self) -> str:
        return "[*]"


ANY: Final = _Any()
"""A wildcard, a slice: any element or member."""


class Where(msgspec.Struct, frozen=True):
    """A filter: an element for which the condition holds; in it `Selected(None, …)` is relative to the element."""

    condition: Outline


Step: TypeAlias = "str | int | _Any | Where"


class Constant(msgspec.Struct, frozen=True):
    """A value."""

    value: Json


class Looked(msgspec.Struct, frozen=True):
    """The value of a runtime expression."""

    expression: Expression


class Selected(msgspec.Struct, frozen=True):
    """What a JSONPath query selects in the value of `context`; None: in the element that a filter looks at."""

    context: Expression | None
    path: tuple[Step, ...]


class Length(msgspec.Struct, frozen=True):
    """The number of elements, characters or members of something."""

    of: Selected


Operand: TypeAlias = Constant | Looked | Selected | Length


class Compare(msgspec.Struct, frozen=True):
    """A comparison."""

    left: Operand
    operator: str
    right: Operand


class Test(msgspec.Struct, frozen=True):
    """An operand alone: it is truthy, or (`exists`) it is there at all."""

    __test__ = False  # pytest takes it for a class of tests

    operand: Operand
    exists: bool = False


class Matches(msgspec.Struct, frozen=True):
    """A pattern is found in a value (`whole`: matches all of it)."""

    subject: Operand
    pattern: str
    whole: bool = False


class XPath(msgspec.Struct, frozen=True):
    """An XPath holds in the value of `context`, which is XML text."""

    context: Expression
    text: str


class Not(msgspec.Struct, frozen=True):
    """A negation."""

    inner: Outline


class All(msgspec.Struct, frozen=True):
    """Every part holds; with no parts it holds."""

    parts: tuple[Outline, ...]


class Either(msgspec.Struct, frozen=True):
    """Some part holds; with no parts it does not hold."""

    parts: tuple[Outline, ...]


Outline: TypeAlias = Compare | Test | Matches | XPath | Not | All | Either

NEGATED: Final = {"==": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}


def outline(criterion: Criterion, context: Context) -> Outline | None:
    """Give the outline of a criterion, what is substituted taken from the context; None where it has none."""
    try:
        found: Any = criterion
        match getattr(criterion, "kind", ""):
            case "simple":
                return _condition(found.node, None, context)
            case "regex":
                return Matches(Looked(found.context), found.pattern.fill(context))
            case "xpath":
                return XPath(found.context, found.text.fill(context))
            case "jsonpath":
                return _json_path(found, context)
            case _:
                return None
    except (EvaluationError, ConditionError, JsonPathError, _NoOutline):
        return None


class _NoOutline(Exception):  # noqa: N818  (never leaves this module)
    pass


def _json_path(criterion: JsonPath, context: Context) -> Outline | None:
    plan = criterion.plan or criterion.planned(criterion.text.fill(context))
    if plan.node is not None:
        return _condition(plan.node, criterion.context, context)
    if plan.query is None:
        return None
    return Test(Selected(criterion.context, _path(plan.query)), exists=True)


def _condition(node: Any, subject: Expression | None, context: Context) -> Outline:
    if isinstance(node, conditions._Not):  # noqa: SLF001  (a module of the same package)
        return Not(_condition(node.inner, subject, context))
    if isinstance(node, conditions._Chain):  # noqa: SLF001
        parts = tuple(_condition(each, subject, context) for each in node.parts)
        return Either(parts) if node.ends_with else All(parts)
    if isinstance(node, conditions._Comparison):  # noqa: SLF001
        left, right = _operand(node.left, subject, context), _operand(node.right, subject, context)
        return Compare(left, node.operator, right)
    if isinstance(node, conditions._Test):  # noqa: SLF001
        operand = _operand(node.operand, subject, context)
        return Test(operand, exists=isinstance(operand, Selected))
    raise _NoOutline


def _operand(operand: Any, subject: Expression | None, context: Context) -> Operand:
    match operand:
        case conditions.Literal():
            return Constant(operand.constant)
        case operands.Value():
            return Looked(operand.expression)
        case operands.Spoken():
            return Constant(operand.template.evaluate(context))
        case _ if getattr(operand, "selects", ""):
            selected = Selected(subject, _path(operand.query))
            return selected if operand.selects == "value" else Length(selected)
        case _:
            raise _NoOutline


# ---------------------------------------------------------------------------------------------------------------------
# Queries
# ---------------------------------------------------------------------------------------------------------------------


def query_path(text: str) -> tuple[Step, ...] | None:
    """Give the path of a JSONPath query; None where it is none, or has no path that could be said."""
    try:
        return _path(compile_query(text))
    except (JsonPathError, _NoOutline):
        return None


def _path(query: Query) -> tuple[Step, ...]:
    keys = getattr(query, "keys", None)
    if isinstance(keys, tuple):
        return keys
    text = getattr(query, "text", "")
    plain = keys_of(text)
    if plain is not None:
        return plain
    compiled = getattr(query, "_query", None)
    if compiled is None:
        raise _NoOutline
    return _segments(compiled.segments)


def _segments(segments: Any) -> tuple[Step, ...]:
    return tuple(_selector(segment.selectors[0]) for segment in segments if segment.selectors)


def _selector(selector: Any) -> Step:
    from jsonpath_rfc9535 import selectors  # loaded already: it has compiled the query

    match selector:
        case selectors.NameSelector():
            return str(selector.name)
        case selectors.IndexSelector():
            return int(selector.index)
        case selectors.WildcardSelector() | selectors.SliceSelector():
            return ANY
        case selectors.FilterSelector():
            return Where(_filter(selector.expression.expression))
        case _:
            raise _NoOutline


def _filter(node: Any) -> Outline:
    from jsonpath_rfc9535 import filter_expressions as filters  # loaded already, as above

    match node:
        case filters.PrefixExpression():
            return Not(_filter(node.right))
        case filters.LogicalExpression():
            parts = (_filter(node.left), _filter(node.right))
            return All(parts) if node.operator == "&&" else Either(parts)
        case filters.ComparisonExpression():
            return Compare(_value(node.left), node.operator, _value(node.right))
        case filters.FunctionExtension() if node.name in ("match", "search"):
            pattern = _value(node.args[1])
            if isinstance(pattern, Constant) and isinstance(pattern.value, str):
                return Matches(_value(node.args[0]), pattern.value, whole=node.name == "match")
            raise _NoOutline
        case filters.FilterQuery():
            return Test(_value(node), exists=True)
        case _:
            raise _NoOutline


def _value(node: Any) -> Operand:
    from jsonpath_rfc9535 import filter_expressions as filters  # loaded already, as above

    match node:
        case filters.FilterExpressionLiteral():
            return Constant(None if isinstance(node, filters.NullLiteral) else node.value)
        case filters.RelativeFilterQuery():
            return Selected(None, _segments(node.query.segments))
        case filters.FunctionExtension() if node.name in ("length", "count"):
            of = _value(node.args[0])
            if isinstance(of, Selected):
                return Length(of)
        case filters.FunctionExtension() if node.name == "value":
            return _value(node.args[0])
    raise _NoOutline
