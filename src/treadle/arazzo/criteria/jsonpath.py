"""Criteria of type `jsonpath`.

In this order: `{$expr}` is substituted; an RFC 9535 query passes when its node list is not empty; otherwise the
dialect rule `jsonpath-comparison` takes the text as a boolean condition over queries, literals and runtime
expressions, which is what nearly every public document writes (`$.TrainingJobStatus == "InProgress"`); otherwise the
criterion is wrong, and says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Final

from treadle.arazzo.criteria.compare import strict
from treadle.arazzo.criteria.conditions import Condition, Dialect, Operand, Token, parse_condition, tokens
from treadle.arazzo.criteria.operands import extent, read_expression
from treadle.arazzo.criteria.substitution import Substituted, find_json_path
from treadle.arazzo.criteria.verdict import ConditionError, Verdict, look
from treadle.arazzo.expressions import Context, EvaluationError, Expression, Scope, nodes
from treadle.arazzo.expressions.pointer import print_pointer, tokens_of
from treadle.arazzo.expressions.text import brief
from treadle.arazzo.jsonpath import JsonPathError, Query, compile_query, goessner, keys_of
from treadle.seams import MISSING, Json, Missing

__all__ = ["JsonPath", "as_query", "compile_jsonpath", "condition_tokens", "is_runtime", "with_quoted_names"]


# ---------------------------------------------------------------------------------------------------------------------
# Plans: what a text without placeholders means
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Plan:
    """How to judge: a query or a condition, with the dialect rules that it needs."""

    judge: Callable[[Context, Json, list[str], list[str]], bool]
    """(context, data, reasons, rules that were needed on the way)"""
    rules: tuple[str, ...]
    expressions: tuple[Expression, ...] = ()
    query: Query | None = None
    """The query, where it is one; else `node` is the condition. Only `outline` looks at these."""
    node: Condition | None = None


def _plan(text: str, scope: Scope, hint_for: Expression | None) -> _Plan:
    """Decide what a text is. Raises `ConditionError`."""
    try:
        query = compile_query(text)
    except JsonPathError as refusal:
        return _comparison(text, scope, refusal, hint_for)
    lenient = None
    if _ROOT_FILTER.match(text) and scope.allows("root-filter-on-object"):
        lenient = compile_query(text, count_elements=True)
    return _Plan(partial(_by_query, query, lenient, text), (), query=query)


_ROOT_FILTER: Final = re.compile(r"\$\s*\[\s*\?")


def _by_query(
    query: Query, lenient: Query | None, text: str, _: Context, data: Json, reasons: list[str], rules: list[str]
) -> bool:
    found = query.first(data)
    if found is not MISSING:
        reasons.append(f"{text} selects {brief(found)}")
        return True
    if lenient is not None and isinstance(data, Mapping) and lenient.first([data]) is not MISSING:
        # The specification's own `$[?count(@.pets) > 0]` means the object, where RFC 9535 filters its members.
        rules.append("root-filter-on-object")
        reasons.append(f"{text} selects nothing in the members of the object, but the object itself fits")
        return True
    reasons.append(f"{text} selects nothing")
    return False


def _comparison(text: str, scope: Scope, refusal: JsonPathError, hint_for: Expression | None) -> _Plan:
    rules = ["jsonpath-comparison"]
    expressions: list[Expression] = []

    def found(rule: str, source: str) -> None:
        rules.append(rule)
        constant = rule == "foreign-constant"
        what = "is how other languages write a constant" if constant else "stands without quotes; it is taken as a text"
        scope.dialect(rule, f"{source} {what}", hint="" if constant else f"write '{source}'")

    def read(text: str, start: int) -> tuple[Operand, int] | None:
        if text.startswith("$", start):
            if _RUNTIME.match(text, start):
                return read_expression(text, start, scope, "", expressions)
            return _query_operand(text, start)
        pointer = _POINTER.match(text, start)
        if pointer:
            return _Selected(pointer.group(), _query(as_query(pointer.group()), start)), pointer.end()
        function = _FUNCTION.match(text, start)
        return _function_operand(text, function) if function else None

    try:
        node = parse_condition(text, Dialect(read, strict, doubled_quotes=False, found=found, likely=_rooted))
    except ConditionError as error:
        hint = next((hint for pattern, hint in _FOREIGN if pattern.search(text)), "")
        if not _CONDITION.search(text):
            message = f"it is no JSONPath query: {refusal.message}"
            raise ConditionError(
                message, position=refusal.position, hint=hint or error.hint, instead=error.instead
            ) from None
        error.hint = hint or error.hint
        raise
    taken = "; it is evaluated as its author means it" if scope.allows("jsonpath-comparison") else ""
    scope.dialect(
        "jsonpath-comparison",
        f"a comparison is no JSONPath query (RFC 9535){taken}",
        hint=_rewrite(text, hint_for),
    )
    return _Plan(partial(_by_condition, node), tuple(dict.fromkeys(rules)), tuple(expressions), node=node)


def _by_condition(node: Condition, context: Context, data: Json, reasons: list[str], rules: list[str]) -> bool:  # noqa: ARG001
    return node.judge(context, data, reasons)


_PATH: Final = re.compile(r"@?\.?([A-Za-z_][\w.\[\]*-]*)")
_FOREIGN: Final = (
    (re.compile(r"=~"), "a pattern is searched in a filter: $[?search(@.name, 'a')]; or by a criterion of type regex"),
    (re.compile(r"==="), "write '=='"),
    (re.compile(r"\.(length|size)\(\)"), "the number of elements: $[?length(@.items) > 0]"),
    (re.compile(r"\bexists\b", re.IGNORECASE), "a query alone passes when it finds something"),
    (re.compile(r"\A\s*not\b", re.IGNORECASE), "write '!' before the query"),
    (re.compile(r"\sin\s*\["), "compare with each, and join the comparisons with '||'"),
    (re.compile(r"\(\s*@\.length\s*-\s*1\s*\)"), "the last element is [-1]"),
)
"""What other languages have, and JSONPath says otherwise."""


def _rooted(word: str) -> str:
    """Give the query that a path without its beginning means, or ""."""
    found = _PATH.fullmatch(word)
    return f"$.{found[1]}" if found else ""


_CONDITION: Final = re.compile(r"==|!=|<|>|&&|\|\||\.length\b")
_RUNTIME: Final = re.compile(
    r"\$(?:(?:url|method|statusCode|self)\b(?![.\[(])|(?:request|response|message|inputs|outputs|steps|workflows"
    r"|sourceDescriptions|components)(?:[.#]|\b))"
)
_POINTER: Final = re.compile(r"#/[^\s=!<>&|()]+")
_FUNCTION: Final = re.compile(r"(length|count)\s*\(\s*(?=\$)")
_SIMPLE: Final = re.compile(r"\s*(\$[^\s=!<>&|]+)\s*(==|!=|<=|>=|<|>)\s*(.+?)\s*\Z", re.DOTALL)


def _rewrite(text: str, context: Expression | None) -> str:
    """Write one comparison as a simple criterion, where that can be done safely."""
    match = _SIMPLE.match(text)
    keys = keys_of(match.group(1)) if match and "&&" not in text and "||" not in text else None
    if match is None or keys is None or not isinstance(context, nodes.Body) or context.tail or keys[-1:] == ("length",):
        return "write it as a criterion of type simple, with operands such as $response.body#/…"
    value = match.group(3)
    if value.startswith('"') and value.endswith('"') and "'" not in value and "\\" not in value:
        value = f"'{value[1:-1]}'"
    pointer = print_pointer([str(key) for key in keys])
    return f"write it as a criterion of type simple: {context}#{pointer} {match.group(2)} {value}"


# ---------------------------------------------------------------------------------------------------------------------
# Operands of comparisons
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Selected:
    """A query as an operand: its node's value; alone, whether there is a node."""

    selects: ClassVar[str] = "value"
    text: str
    query: Query

    def value(self, context: Context, data: Json) -> Json | Missing:  # noqa: ARG002  (protocol)
        if self.query.singular:
            return self.query.first(data)
        found = self.query.find(data)
        if len(found) > 1:
            raise EvaluationError(f"{self.text} selects {len(found)} nodes, and a comparison needs one")
        return found[0] if found else MISSING

    def holds(self, context: Context, data: Json) -> tuple[bool, str]:  # noqa: ARG002  (protocol)
        found = self.query.first(data)
        return found is not MISSING, "selects nothing" if found is MISSING else f"selects {brief(found)}"


@dataclass(frozen=True, slots=True)
class _Length:
    """`QUERY.length`: elements, characters or members of the one node; of a query for many nodes, their number."""

    selects: ClassVar[str] = "length"
    text: str
    query: Query

    def value(self, context: Context, data: Json) -> Json | Missing:  # noqa: ARG002  (protocol)
        if not self.query.singular:
            return len(self.query.find(data))
        found = self.query.first(data)
        if found is MISSING or found is None:
            return 0
        if isinstance(found, Mapping):
            return found.get("length", len(found))
        return len(found) if isinstance(found, (str, list)) else MISSING

    def holds(self, context: Context, data: Json) -> tuple[bool, str]:
        length = self.value(context, data)
        return bool(length), brief(length)


@dataclass(frozen=True, slots=True)
class _Count:
    """`count(QUERY)`: the number of nodes; of one node that is an array, of its elements, as its authors mean it."""

    selects: ClassVar[str] = "length"
    text: str
    query: Query

    def value(self, context: Context, data: Json) -> Json | Missing:  # noqa: ARG002  (protocol)
        found = self.query.find(data)
        return len(found[0]) if len(found) == 1 and isinstance(found[0], list) else len(found)

    def holds(self, context: Context, data: Json) -> tuple[bool, str]:
        count = self.value(context, data)
        return bool(count), brief(count)


# Of ASCII only letters, digits and `_-@:`; said by what is left out, which compiles ten times faster.
_MEMBER: Final = re.compile(r"\.{1,2}(?:\*|[^\x00-,./;-?\[-^`{-\x7f]+)")
_LENGTH: Final = re.compile(r"\.length(?:\(\))?\Z")


def _query_operand(text: str, start: int) -> tuple[Operand, int]:
    end = _query_end(text, start)
    source = text[start:end]
    base = _LENGTH.sub("", source)
    query = _query(base, start)
    return (_Length(source, query) if base != source else _Selected(source, query)), end


def as_query(operand: str) -> str:
    """Write `#/items/0/name` as a query, as which another engine for Arazzo takes it; what is one stays."""
    if not operand.startswith("#/"):
        return operand
    keys = [token if token.isdigit() else json.dumps(token) for token in tokens_of(operand[1:])]
    return "$" + "".join(f"[{key}]" for key in keys)


def _function_operand(text: str, match: re.Match[str]) -> tuple[Operand, int]:
    start = match.end()
    end = _query_end(text, start)
    close = re.compile(r"\s*\)").match(text, end)
    if close is None:
        raise ConditionError(f"{match.group(1)}() takes one query", position=start)
    source = text[match.start() : close.end()]
    query = _query(text[start:end], start)
    return (_Length(source, query) if match.group(1) == "length" else _Count(source, query)), close.end()


def _query(source: str, start: int) -> Query:
    try:
        return compile_query(with_quoted_names(source))
    except JsonPathError as error:
        message = f"'{source}' is no JSONPath query: {error.message}"
        raise ConditionError(message, position=start + error.position, hint=error.hint) from None


def with_quoted_names(source: str) -> str:
    """Give a query with quotes around the names that need them."""
    return _HYPHENATED.sub(r"['\1']", source)


# `$.access-token`: RFC 9535 wants quotes around such a name, and in a comparison nothing else could be meant.
_HYPHENATED: Final = re.compile(r"(?<=[\w\])$])\.(?=[\w\-@:]*[\-@:])([\w\-@:]+)(?![\w\-@:]*')")


def is_runtime(text: str) -> bool:
    """Tell whether an operand is a runtime expression, and not a query."""
    return _RUNTIME.match(text) is not None


def condition_tokens(text: str, scope: Scope) -> list[Token]:
    """Split a comparison, for tools that rewrite. Raises `ConditionError`."""

    def end(text: str, start: int) -> int | None:
        if text.startswith("$", start):
            return extent(text, start, scope) if _RUNTIME.match(text, start) else _query_end(text, start)
        pointer = _POINTER.match(text, start)
        if pointer:
            return pointer.end()
        function = _FUNCTION.match(text, start)
        return _function_operand(text, function)[1] if function else None

    return tokens(text, end, doubled_quotes=False)


def _query_end(text: str, start: int) -> int:
    at = start + 1
    while at < len(text):
        member = _MEMBER.match(text, at)
        if member:
            at = member.end()
        elif text.startswith(("[", "..["), at):
            at = _bracket_end(text, at + (2 if text[at] == "." else 0))
        else:
            break
    return at + 2 if text.startswith(".length()", at - len(".length")) else at


def _bracket_end(text: str, start: int) -> int:
    depth, quote, at = 0, "", start
    while at < len(text):
        each = text[at]
        if quote:
            at += each == "\\"
            quote = "" if each == quote else quote
        elif each in "'\"":
            quote = each
        elif each in "[]":
            depth += 1 if each == "[" else -1
            if not depth:
                return at + 1
        at += 1
    raise ConditionError("a bracket is not closed", position=start)


# ---------------------------------------------------------------------------------------------------------------------
# The criterion
# ---------------------------------------------------------------------------------------------------------------------

_REMEMBERED: Final = 16
"""Substituted texts whose plans a criterion keeps."""


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A compiled criterion. `plan` is None where the text depends on values of the run."""

    kind: ClassVar[str] = "jsonpath"
    condition: str
    context: Expression
    text: Substituted
    plan: _Plan | None
    prepare: Callable[[str], _Plan]
    rules: tuple[str, ...]
    remembered: dict[str, _Plan]

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """The context, what is substituted, and the operands."""
        return (self.context, *self.text.expressions, *(self.plan.expressions if self.plan else ()))

    def judge(self, context: Context) -> Verdict:
        """Judge; never raises. A missing or null context does not pass."""
        reasons: list[str] = []
        rules = list(self.rules)
        try:
            passed, problem = self.decide(context, reasons, rules), ""
        except (EvaluationError, ConditionError, JsonPathError) as error:
            passed, problem = False, error.message
        except RecursionError:
            passed, problem = False, "the values are nested too deeply"
        needed = self.rules if len(rules) == len(self.rules) else tuple(dict.fromkeys(rules))
        return Verdict(passed=passed, reasons=tuple(reasons), problem=problem, rules=needed, condition=self.condition)

    def decide(self, context: Context, reasons: list[str], rules: list[str]) -> bool:
        """Judge; raises what cannot be evaluated."""
        data = look(self.context, context)
        if data is MISSING or data is None:
            reasons.append(f"{self.context} is {'missing' if data is MISSING else 'null'}")
            return False
        plan = self.plan
        if plan is None:
            plan = self.planned(self.text.fill(context))
            rules += plan.rules
        if not isinstance(data, (dict, list)) and _REACHES_INTO.match(self.condition):
            # `$.status != "InProgress"` would pass on every error page.
            raise EvaluationError(f"the context {self.context} is {brief(data)}, not an object or an array")
        if isinstance(data, list) and plan.node is not None and _NAMES_A_MEMBER.match(self.condition):
            raise EvaluationError(f"the context {self.context} is an array, which has no members with names")
        return plan.judge(context, data, reasons, rules)

    def planned(self, text: str) -> _Plan:
        """Give the plan for a substituted text. Raises `ConditionError`."""
        plan = self.remembered.get(text)
        if plan is None:
            if len(self.remembered) >= _REMEMBERED:
                self.remembered.clear()
            plan = self.remembered[text] = self.prepare(text)
        return plan


# `$.length` of an array is the number of its elements.
_NAMES_A_MEMBER: Final = re.compile(r"[\s!(]*(?:#/(?!\d+\b)|\$\s*(?:\.\s*(?!length\b)[^\W\d]|\[\s*['\"]))")
_REACHES_INTO: Final = re.compile(r"[\s!(]*(?:#/|\$\s*[.\[])")


def compile_jsonpath(condition: str, context: Expression, scope: Scope, *, draft: bool = False) -> JsonPath:
    """Compile; `draft` is Goessner's. Raises `ConditionError`."""
    rules: list[str] = []

    def unbraced(source: str) -> None:
        rules.append("unbraced-interpolation")
        message = f"'{source}' inside a query stands without braces; it is taken as an expression"
        scope.dialect("unbraced-interpolation", message, hint=f"write {{{source}}}")

    text = condition
    if draft:
        try:
            text = goessner(condition)
        except JsonPathError as error:
            raise ConditionError(error.message, position=error.position, hint=error.hint) from None
    found = find_json_path(text.strip(), scope, unbraced)
    if not found.places:
        plan = _plan(found.text, scope, context)
        return JsonPath(condition, context, found, plan, _unprepared, (*rules, *plan.rules), {})
    sample = found.sample()
    if sample is not None:
        rules += _plan(sample, scope, None).rules

    def prepare(filled: str) -> _Plan:
        return _plan(filled, replace(scope, notes=[]), None)

    return JsonPath(condition, context, found, None, prepare, tuple(dict.fromkeys(rules)), {})


def _unprepared(text: str) -> _Plan:
    raise AssertionError(text)  # only a criterion without a plan prepares one
