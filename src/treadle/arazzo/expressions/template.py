"""Values of a description that hold expressions, compiled once and evaluated often.

`compile_value` turns a JSON value into a tree of five kinds of parts: a constant, a whole expression (which keeps its
type), a text with expressions in it, an object, an array; and, from 1.1 on, a Selector Object. The rule that runs
through it is *missing is not null*: an object member whose value is missing is left out, an array element dropped
(with a remark), and inside a longer text or as a body that is required it is an error that names what is missing.

A payload that is one long string (a template of JSON, XML or a form) gets its substitutions escaped for the place
where they land. For JSON that needs no escaping at all: the template is parsed first, with its placeholders standing
as strings, so that a value can never change the structure around it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

from treadle.arazzo.expressions import nodes
from treadle.arazzo.expressions.lookalikes import lookalikes
from treadle.arazzo.expressions.nodes import Expression
from treadle.arazzo.expressions.parse import compile_expression, declared_extent, is_rooted, meant, parse
from treadle.arazzo.expressions.pointer import escape as pointer_escape
from treadle.arazzo.expressions.scope import Context, EvaluationError, ExpressionError, Remarks, Scope
from treadle.arazzo.expressions.selectors import Selector, compile_selector, looks_like_selector
from treadle.arazzo.expressions.text import ESCAPES, Escape, text_of
from treadle.arazzo.slips import braced
from treadle.errors import Severity
from treadle.seams import MISSING, Json, Missing

__all__ = ["DEEPEST", "UNBRACED", "Kind", "Placeholder", "Template", "compile_value", "placeholders", "require"]

Kind: TypeAlias = Literal["value", "expression", "payload", "text"]

DEEPEST: Final = 100
"""Levels that a compiled value may have."""


class _Part(Protocol):
    def evaluate(self, context: Context, notes: Remarks | None) -> Json | Missing: ...


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled value. `expressions` and `selectors` hold every one in it, for static checks."""

    part: _Part
    expressions: tuple[Expression, ...]
    selectors: tuple[Selector, ...] = ()

    @property
    def constant(self) -> bool:
        """Tell whether the value is the same in every context."""
        return not self.expressions

    def evaluate(self, context: Context, notes: Remarks | None = None) -> Json | Missing:
        """Give the value, which may share parts with the description: it must not be changed.

        `notes` receives remarks about what was left out. Raises `EvaluationError`.
        """
        return self.part.evaluate(context, notes)


def compile_value(
    value: Json,
    scope: Scope,
    *,
    kind: Kind = "value",
    media_type: str | None = None,
    schema: Json = None,
    required: bool = False,
    at: str = "",
) -> Template:
    """Compile a value; findings go to `scope.notes`, with pointers that begin with `at`. Raises nothing.

    `kind` says what the field is. "value": any value. "expression": a field whose type is {expression} (outputs,
    context), where `{$x}` means `$x`. "payload": a request body; a string one is a template of `media_type`. "text":
    the result is always text. `schema` is the JSON Schema of the value, where the operation has one: it decides
    whether a lone `{$x}` keeps a number or boolean. `required`: the operation does not go without this payload.
    """
    compiler = _Compiler(scope, kind, [], [])
    if kind == "payload" and isinstance(value, str):
        part = compiler.payload_text(value, media_type or "", at)
    else:
        part = compiler.compile(value, at, schema, 0)
    if kind == "payload" and isinstance(part, (_Whole, _Lone, _Selected)):
        part = _Body(part, required)
    return Template(part, tuple(compiler.expressions), tuple(compiler.selectors))


# ---------------------------------------------------------------------------------------------------------------------
# Parts
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Constant:
    value: Json

    def evaluate(self, context: Context, notes: Remarks | None) -> Json | Missing:  # noqa: ARG002  (protocol)
        return self.value


@dataclass(frozen=True, slots=True)
class _Whole:
    """`$x`, and `{$x}` where the field's type is {expression}: the value with its type."""

    expression: Expression

    def evaluate(self, context: Context, notes: Remarks | None) -> Json | Missing:  # noqa: ARG002  (protocol)
        return self.expression.evaluate(context)


@dataclass(frozen=True, slots=True)
class _Lone:
    """`{$x}` alone in a field of any type: text, as the specification says, except for objects and arrays.

    `keeps` holds the JSON types that the operation's schema wants there.
    """

    expression: Expression
    keeps: frozenset[str]

    def evaluate(self, context: Context, notes: Remarks | None) -> Json | Missing:  # noqa: ARG002  (protocol)
        value = self.expression.evaluate(context)
        if value is MISSING or isinstance(value, (dict, list)) or (self.keeps and _type(value) in self.keeps):
            return value
        return text_of(value)


def _type(value: Json) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, (int, float)) else "null" if value is None else "string"


@dataclass(frozen=True, slots=True)
class _Text:
    pieces: tuple[str | Expression, ...]
    escape: Escape

    def evaluate(self, context: Context, notes: Remarks | None) -> Json | Missing:  # noqa: ARG002  (protocol)
        return "".join(
            piece if isinstance(piece, str) else self.escape(text_of(require(piece, context))) for piece in self.pieces
        )


@dataclass(frozen=True, slots=True)
class _Object:
    members: tuple[tuple[str, _Part], ...]

    def evaluate(self, context: Context, notes: Remarks | None) -> Json | Missing:
        found = {}
        for name, part in self.members:
            value = part.evaluate(context, notes)
            if value is not MISSING:
                found[name] = value
        return found


@dataclass(frozen=True, slots=True)
class _Array:
    """A list. What is missing is left out of it (dialect `null-array-element`) unless `whole` forbids that."""

    elements: tuple[_Part, ...]
    whole: bool

    def evaluate(self, context: Context, notes: Remarks | None) -> Json | Missing:
        found = []
        for index, part in enumerate(self.elements):
            value = part.evaluate(context, notes)
            if value is not MISSING:
                found.append(value)
                continue
            expression = part.expression if isinstance(part, (_Whole, _Lone)) else None
            subject = expression.subject if expression else "its value"
            if self.whole:
                text = str(expression) if expression else ""
                raise EvaluationError(f"array element {index} has no value: {subject} is missing", expression=text)
            if notes is not None:
                notes.append(("null-array-element", f"array element {index} was dropped: {subject} is missing"))
        return found


@dataclass(frozen=True, slots=True)
class _Selected:
    selector: Selector

    def evaluate(self, context: Context, notes: Remarks | None) -> Json | Missing:  # noqa: ARG002  (protocol)
        return self.selector.evaluate(context)


@dataclass(frozen=True, slots=True)
class _Body:
    """A request body that is a single value: it is left out only where the operation goes without, and that is said."""

    part: _Whole | _Lone | _Selected
    required: bool

    def evaluate(self, context: Context, notes: Remarks | None) -> Json | Missing:
        value = self.part.evaluate(context, notes)
        if value is MISSING:
            if isinstance(self.part, _Selected):
                error = _absent(self.part.selector.context, context, self.part.selector)
            else:
                error = _absent(self.part.expression, context)
            if self.required:
                raise error
            if notes is not None:
                notes.append(("missing", f"the request goes out without a body: {error.message}"))
        return value


def require(expression: Expression, context: Context) -> Json:
    """Give a value that cannot be left out. Raises `EvaluationError`, which names what is missing."""
    value = expression.evaluate(context)
    if value is not MISSING:
        return value
    raise _absent(expression, context)


def _absent(expression: Expression, context: Context, selector: Selector | None = None) -> EvaluationError:
    response = context.response
    if expression.reads_answer_body and response is not None and response.problem:
        why = response.problem
    elif selector is not None and expression.evaluate(context) is not MISSING:
        why = f"the selector {selector.text!r} finds nothing in it"
    else:
        why = f"{expression.subject} is missing"
    return EvaluationError(f"{expression} has no value: {why}", expression=str(expression), missing=expression.subject)


# ---------------------------------------------------------------------------------------------------------------------
# Placeholders in text
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Placeholder:
    """An expression inside a text, with the part of the text that it replaces."""

    start: int
    end: int
    expression: Expression
    braced: bool = True


# `$url`, `$method` and `$self` are no part of it: shell and PHP snippets are full of them. It begins at a word
# boundary, so that `US$inputs.x` stays text, and ends before what could be punctuation.
UNBRACED: Final = re.compile(
    r"(?<![\w${])\$(?:(?:inputs|steps|workflows|outputs|request|response|message|sourceDescriptions)"
    r"(?:\.[A-Za-z0-9_\-]+|\[[0-9]{1,9}\])+|statusCode\b)(?:#(?:/[A-Za-z0-9_\-.~]*)+)?"
)


def placeholders(text: str, scope: Scope, at: str = "", *, unbraced: bool = True) -> list[Placeholder]:
    """Find `{$expr}` in a text, and with `unbraced` also the dialect's `Bearer $inputs.token`."""
    found = list(_braced(text, scope, at))
    if unbraced and not found:
        found = list(_bare(text, scope, at))
    return found


def _braced(text: str, scope: Scope, at: str) -> Iterator[Placeholder]:
    position = text.find("{$")
    while position >= 0:
        end = text.find("}", position)
        if end < 0:
            _unclosed(text, position, scope, at)
            return
        inside = text[position + 1 : end]
        try:
            yield Placeholder(position, end + 1, compile_expression(inside, scope, at))
        except ExpressionError as error:
            if is_rooted(inside) or error.declared:
                instead = f"{text[: position + 1]}{error.meant}{text[end:]}" if error.meant else ""
                scope.note("bad-expression", error.message, "error", at, error.hint, instead=instead)
            end = position + 1
        position = text.find("{$", end)


def _unclosed(text: str, position: int, scope: Scope, at: str) -> None:
    found = UNBRACED.match(text[position + 1 :])
    if found:
        message = f"the brace before '{found[0]}' is not closed; it is sent as text"
        scope.note("bad-expression", message, "warning", at, f"write {{{found[0]}}}")


def _bare(text: str, scope: Scope, at: str) -> Iterator[Placeholder]:
    position = 0
    while match := UNBRACED.search(text, position):
        position = max(match.end(), declared_extent(text, match.start(), scope))
        try:
            expression = compile_expression(text[match.start() : position], scope, at)
        except ExpressionError as error:
            if position - match.start() < len(text):  # the whole text is judged as such elsewhere
                scope.note("bad-expression", f"{error.message}; it is sent as text", "warning", at, error.hint)
            continue
        scope.dialect(
            "unbraced-interpolation",
            f"'{expression}' inside a longer text stands without braces; it is taken as an expression",
            at,
            hint=f"write {{{expression}}}",
        )
        yield Placeholder(match.start(), position, expression, braced=False)


# ---------------------------------------------------------------------------------------------------------------------
# Compiling
# ---------------------------------------------------------------------------------------------------------------------

_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9._\-]*\Z")
# `$input.x`, `$datetime.now`: text, but probably not meant as text.
_RESEMBLES: Final = re.compile(r"\$[A-Za-z]+[.#][^\s$]+\Z")
_SELECTS: Final = re.compile(r"\[['\"?-]|\.\.")
_COMPUTES: Final = re.compile(r"[#(\[]|\s*(?:[=!<>]=|[<>?*+]|&&|\|\|)|\.\.")


@dataclass(slots=True)
class _Compiler:
    scope: Scope
    kind: Kind
    expressions: list[Expression]
    selectors: list[Selector]

    def compile(self, value: Json, at: str, schema: Json, depth: int) -> _Part:
        if isinstance(value, str):
            self.look_alike(value, at, depth)
            return self.string(value, at, schema, depth) if "$" in value else self.literal(value, at, depth)
        if not isinstance(value, (Mapping, list)):
            return _Constant(text_of(value) if self.kind == "text" else value)
        if depth >= DEEPEST:
            self.scope.note("too-deep", f"the value is nested more than {DEEPEST} levels deep", "error", at)
            return _Constant(None)
        if isinstance(value, Mapping):
            if looks_like_selector(value):
                return self.selector(value, at)
            return self.object(value, at, schema, depth)
        return self.array(value, at, schema, depth)

    def look_alike(self, text: str, at: str, depth: int) -> None:
        if self.kind == "expression" and depth == 0:
            return  # it is judged as an expression
        for found, properly in lookalikes(text, self.scope):
            message = f"'{found}' is sent as text: it is no runtime expression"
            self.scope.note("bad-expression", message, "warning", at, f"did you mean {properly}?")

    def literal(self, value: str, at: str, depth: int) -> _Part:
        if self.kind == "expression" and depth == 0:
            likely, declared = meant(value, self.scope)
            message = f"'{value[:80]}' is no runtime expression" + ("" if declared else "; it is taken as text")
            hint = f"did you mean {likely}?" if likely else ""
            severity: Severity = "error" if declared else "warning"
            self.scope.note("bad-expression", message, severity, at, hint, instead=likely if declared else "")
        return _Constant(value)

    def object(self, value: Mapping[str, Json], at: str, schema: Json, depth: int) -> _Part:
        expression = braced(value)
        if expression and is_rooted(expression):
            message = f"{{{expression}}} without quotes is an object for YAML"
            self.scope.note("bad-expression", message, "error", at, f"write {expression}", instead=expression)
        known = schema.get("properties") if isinstance(schema, Mapping) else None
        known = known if isinstance(known, Mapping) else {}
        before = len(self.expressions)
        members = tuple(
            (name, self.compile(each, f"{at}/{pointer_escape(str(name))}", known.get(name), depth + 1))
            for name, each in value.items()
        )
        return _Object(members) if len(self.expressions) > before else _Constant(value)

    def array(self, value: list[Json], at: str, schema: Json, depth: int) -> _Part:
        each_schema = schema.get("items") if isinstance(schema, Mapping) else None
        before = len(self.expressions)
        parts = tuple(self.compile(each, f"{at}/{index}", each_schema, depth + 1) for index, each in enumerate(value))
        return (
            _Array(parts, not self.scope.allows("null-array-element"))
            if len(self.expressions) > before
            else _Constant(value)
        )

    def selector(self, value: Mapping[str, Json], at: str) -> _Part:
        selector = compile_selector(value, self.scope, at)
        if selector is None:
            return _Constant(None)
        self.expressions.append(selector.context)
        self.selectors.append(selector)
        return _Selected(selector)

    def string(self, text: str, at: str, schema: Json, depth: int) -> _Part:
        """Compile a string with a `$` in it."""
        if text.startswith("$"):
            whole = self.whole(text, at)
            if whole is not None:
                return _Text((whole,), ESCAPES[""]) if self.kind == "text" else _Whole(whole)
        found = [] if self.misspelt(text) or self.goes_on(text, depth) else placeholders(text, self.scope, at)
        if not found:
            return self.plain(text, at, depth)
        first = found[0]
        if first.braced and first.start == 0 and first.end == len(text) and self.kind != "text":
            self.expressions.append(first.expression)
            return self.lone(first.expression, at, schema, depth)
        return self.text(text, found, "")

    def whole(self, text: str, at: str) -> Expression | None:
        """Compile a text that is one expression; None where it is none."""
        try:
            expression = parse(text, self.scope)
        except ExpressionError:
            return None
        if _overlong(expression, self.scope) and any(True for _ in _bare(text, Scope(version=self.scope.version), at)):
            # `$inputs.first $inputs.last`: in 1.0.x's grammar one odd name, but nobody declared it.
            return None
        expression = compile_expression(text, self.scope, at)
        self.expressions.append(expression)
        return expression

    def misspelt(self, text: str) -> bool:
        """Tell whether a text is an expression but for its spelling, such as `$response.body/id`, and no template."""
        return is_rooted(text) and not any(each.isspace() for each in text) and bool(meant(text, self.scope)[0])

    def goes_on(self, text: str, depth: int) -> bool:
        """Tell whether a text is an expression with something behind it that no expression has, and no template.

        `$response.body.items[?(@.ok)].id`; of an output also `$response.body.total > 0` and `$response.body#id`.
        """
        found = UNBRACED.match(text)
        if found is None:
            return False
        of_output = self.kind == "expression" and depth == 0
        return (_COMPUTES if of_output else _SELECTS).match(text, found.end()) is not None

    def plain(self, text: str, at: str, depth: int) -> _Part:
        if is_rooted(text) or _RESEMBLES.match(text) or (self.kind == "expression" and depth == 0):
            try:
                compile_expression(text, self.scope.quiet())
            except ExpressionError as error:
                wrong = self.kind == "expression" or error.declared or (is_rooted(text) and error.meant)
                wrong = wrong or self.goes_on(text, depth)
                tail = "" if wrong else "; it is taken as text"
                severity: Severity = "error" if wrong else "warning"
                self.scope.note("bad-expression", error.message + tail, severity, at, error.hint, instead=error.meant)
        return _Constant(text)

    def lone(self, expression: Expression, at: str, schema: Json, depth: int) -> _Part:
        if depth == 0 and self.kind in ("expression", "payload"):
            return _Whole(expression)
        if not self.scope.allows("lone-braced-expression"):
            # By the letter this is a text with one embedded expression: nothing to complain about, only no exception.
            return _Text((expression,), ESCAPES[""])
        keeps = _wanted(schema)
        self.scope.note(
            "lone-braced-expression",
            f"'{{{expression}}}' is text by the specification; here an object or array"
            f"{', or what the schema wants,' if keeps else ''} keeps its type",
            "note",
            at,
            f"write {expression} to keep the type",
        )
        return _Lone(expression, keeps)

    def text(self, text: str, found: list[Placeholder], place: str) -> _Part:
        pieces: list[str | Expression] = []
        position = 0
        for each in found:
            if each.start > position:
                pieces.append(text[position : each.start])
            pieces.append(each.expression)
            self.expressions.append(each.expression)
            position = each.end
        if position < len(text):
            pieces.append(text[position:])
        return _Text(tuple(pieces), ESCAPES[place])

    def payload_text(self, text: str, media_type: str, at: str) -> _Part:
        """Compile a payload that is one string."""
        bare = text.strip()
        if bare.startswith("$") and is_rooted(bare):
            whole = self.whole(bare, at)
            if whole is not None:
                return _Whole(whole)
        place = _place(media_type)
        if place == "json":
            return self.json_text(text, at)
        found = placeholders(text, self.scope, at)
        if len(found) == 1 and found[0].braced and text[: found[0].start] + text[found[0].end :] == "":
            self.expressions.append(found[0].expression)
            return _Whole(found[0].expression)
        return self.text(text, found, place) if found else _Constant(text)

    def json_text(self, text: str, at: str) -> _Part:
        """Compile a JSON template: its structure is fixed here, its placeholders become expressions of their own.

        A placeholder within quotes stays inside its string; one without quotes stands for a whole JSON value.
        """
        quiet = Scope(version=self.scope.version)
        marks: dict[str, Placeholder] = {}
        pieces, position = [], 0
        for each in _outside_quotes(text, list(_braced(text, quiet, at))):
            mark = f"{{{each.expression}}}\ue000{len(marks)}"
            marks[mark] = each
            pieces += [text[position : each.start], json.dumps(mark)]
            position = each.end
        try:
            value = json.loads("".join([*pieces, text[position:]]))
        except (ValueError, RecursionError) as error:
            return self.broken_json(text, at, str(error))
        return self.marked(value, {mark: each.expression for mark, each in marks.items()}, at, 0)

    def broken_json(self, text: str, at: str, why: str) -> _Part:
        if text.lstrip()[:1] in ("{", "["):
            list(_braced(text, self.scope, at))  # what is misspelt in braces may be why
            self.scope.note("bad-payload", f"the payload is no JSON: {why}", "error", at)
            return _Constant(text)
        found = placeholders(text, self.scope, at)
        return self.text(text, found, "") if found else _Constant(text)

    def marked(self, value: Json, marks: Mapping[str, Expression], at: str, depth: int) -> _Part:
        """Compile a parsed JSON template, in which a mark stands for an expression without quotes."""
        if isinstance(value, str):
            if value in marks:
                expression = compile_expression(str(marks[value]), self.scope, at)
                self.expressions.append(expression)
                return _Whole(expression)
            return self.string(value, at, None, depth) if "$" in value else _Constant(value)
        if depth >= DEEPEST and isinstance(value, (dict, list)):
            self.scope.note("too-deep", f"the payload is nested more than {DEEPEST} levels deep", "error", at)
            return _Constant(None)
        if isinstance(value, dict):
            return _Object(tuple((name, self.marked(each, marks, at, depth + 1)) for name, each in value.items()))
        if isinstance(value, list):
            parts = tuple(self.marked(each, marks, at, depth + 1) for each in value)
            return _Array(parts, not self.scope.allows("null-array-element"))
        return _Constant(value)


def _overlong(expression: Expression, scope: Scope) -> bool:
    """Tell whether a name has characters that few names have, and nobody declared it."""
    match expression:
        case nodes.StepReference(step_id=step_id, name=name):
            declared = name in scope.steps.get(step_id, ())
        case nodes.InputReference(name=name):
            declared = name in scope.inputs
        case nodes.OutputReference(name=name) | nodes.WorkflowReference(name=name):
            declared = False
        case _:
            return False
    return not declared and not _IDENTIFIER.match(name)


def _wanted(schema: Json) -> frozenset[str]:
    """Give the JSON types that a schema wants instead of a string."""
    types = schema.get("type") if isinstance(schema, Mapping) else None
    names = {each for each in (types if isinstance(types, list) else [types]) if isinstance(each, str)}
    if "string" in names:
        return frozenset()
    return frozenset("number" if name == "integer" else name for name in names)


def _place(media_type: str) -> str:
    kind = media_type.partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return "form"
    subtype = kind.partition("/")[2]
    if subtype == "json" or subtype.endswith("+json") or subtype.startswith("x-amz-json"):
        return "json"
    return "xml" if subtype == "xml" or subtype.endswith("+xml") else ""


def _outside_quotes(text: str, found: list[Placeholder]) -> Iterator[Placeholder]:
    """Give the placeholders that stand outside JSON's string literals."""
    position, quoted = 0, False
    for each in found:
        while position < each.start:
            if quoted and text[position] == "\\":
                position += 1
            elif text[position] == '"':
                quoted = not quoted
            position += 1
        position = each.end
        if not quoted:
            yield each
