"""The nodes of runtime expressions: frozen values that print back as they were written and can be evaluated.

Every reference is *something that is there by name*, followed by a `tail` that leads into its value: a JSON Pointer
(`#/a/0`, Arazzo's own way) or navigation (`.a`, `[0]`, `.0`, `.length`, `[*]`; the dialect rule `dotted-navigation`).
Evaluation never fails: what is not there is MISSING.
"""

# ruff: noqa: D102  (what `evaluate` and `subject` give is said once, in `Expression`)

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import msgspec

from treadle.arazzo.expressions import pointer
from treadle.arazzo.expressions.scope import Context
from treadle.seams import MISSING, Json, Missing

__all__ = [
    "Body",
    "ComponentReference",
    "Each",
    "Expression",
    "HeaderReference",
    "Index",
    "InputReference",
    "Member",
    "MessagePayload",
    "OutputReference",
    "Plain",
    "PlainName",
    "Pointer",
    "RequestParameter",
    "SourceReference",
    "StepReference",
    "Tail",
    "WorkflowReference",
    "follow",
]


# ---------------------------------------------------------------------------------------------------------------------
# The way into a value
# ---------------------------------------------------------------------------------------------------------------------


class Member(msgspec.Struct, frozen=True):
    """`.name`, `['name']`; `.0` of an array; `.length` of an array, a string, or an object without such a member."""

    name: str

    def __str__(self) -> str:
        if self.name and all(each in MEMBER_CHARACTERS or each >= "\x80" for each in self.name):
            return f".{self.name}"
        quoted = self.name.replace("\\", "\\\\").replace("'", "\\'")
        return f"['{quoted}']"


MEMBER_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-@:")


class Index(msgspec.Struct, frozen=True):
    """`[0]`: an element, counted from 0."""

    index: int

    def __str__(self) -> str:
        return f"[{self.index}]"


class Each(msgspec.Struct, frozen=True):
    """`[*]`: every element, or every member's value; what follows applies to each, and what is missing is dropped."""

    def __str__(self) -> str:
        return "[*]"


class Pointer(msgspec.Struct, frozen=True):
    """`#/a/0`: RFC 6901. `length` as the last token of an array is its length, as JavaScript's runners have it."""

    tokens: tuple[str, ...]

    def __str__(self) -> str:
        return "#" + pointer.print_pointer(self.tokens)


Tail: TypeAlias = tuple[Member | Index | Each | Pointer, ...]


def follow(value: Json | Missing, tail: Tail) -> Json | Missing:
    """Give what the tail leads to, or MISSING."""
    for position, part in enumerate(tail):
        if value is MISSING:
            return MISSING
        if isinstance(part, Pointer):
            value = _pointed(value, part.tokens)
        elif isinstance(part, Member):
            value = _member(value, part.name)
        elif isinstance(part, Index):
            value = value[part.index] if isinstance(value, list) and part.index < len(value) else MISSING
        else:
            rest = tail[position + 1 :]
            return [each for each in (follow(one, rest) for one in _children(value)) if each is not MISSING]
    return value


def _pointed(value: Json, tokens: tuple[str, ...]) -> Json | Missing:
    found = pointer.follow(value, tokens)
    if found is MISSING and tokens and tokens[-1] == "length":
        whole = pointer.follow(value, tokens[:-1])
        return len(whole) if isinstance(whole, list) else MISSING
    return found


def _member(value: Json, name: str) -> Json | Missing:
    if isinstance(value, Mapping):
        found = value.get(name, MISSING)
        return len(value) if found is MISSING and name == "length" else found
    if isinstance(value, list) and name != "length":
        return pointer.follow(value, (name,))
    return len(value) if name == "length" and isinstance(value, (str, list)) else MISSING


def _children(value: Json) -> list[Json]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else []


# ---------------------------------------------------------------------------------------------------------------------
# Expressions
# ---------------------------------------------------------------------------------------------------------------------


class Expression(msgspec.Struct, frozen=True):
    """A runtime expression. `str()` gives the text; it parses back to an equal node."""

    @abstractmethod
    def evaluate(self, context: Context) -> Json | Missing:
        """Give the value, or MISSING. Raises nothing."""

    @property
    def reads_answer_body(self) -> bool:
        """Tell whether the value comes out of the decoded body of the response."""
        return False

    @property
    def subject(self) -> str:
        """Name what must be there, for messages: "the input 'apiKey'"."""
        return f"'{self}'"


PlainName = Literal["url", "method", "statusCode", "self"]


class Plain(Expression, frozen=True):
    """`$url`, `$method`, `$statusCode`, `$self`. The URL is the final one, the method upper-case."""

    name: PlainName

    def __str__(self) -> str:
        return f"${self.name}"

    def evaluate(self, context: Context) -> Json | Missing:
        response, request = context.response, context.request
        if self.name == "statusCode":
            return response.status if response is not None else MISSING
        if self.name == "self":
            return context.self_uri or MISSING
        if self.name == "method":
            return (request.method if request is not None else context.method).upper() or MISSING
        if response is not None and response.url:
            return response.url
        return request.url if request is not None else MISSING


class HeaderReference(Expression, frozen=True):
    """`$request.header.X`, `$response.header.X`, `$message.header.X`; names compare without case."""

    side: Literal["request", "response", "message"]
    name: str

    def __str__(self) -> str:
        return f"${self.side}.header.{self.name}"

    def evaluate(self, context: Context) -> Json | Missing:
        if self.side == "message":
            return _without_case((context.message or {}).get("header"), self.name)
        holder = context.request if self.side == "request" else context.response
        value = holder.header(self.name) if holder is not None else None
        return MISSING if value is None else value

    @property
    def subject(self) -> str:
        return f"the {self.side} header '{self.name}'"


def _without_case(headers: Json, name: str) -> Json | Missing:
    if not isinstance(headers, Mapping):
        return MISSING
    wanted = name.lower()
    return next((value for key, value in headers.items() if key.lower() == wanted), MISSING)


class RequestParameter(Expression, frozen=True):
    """`$request.query.x`, `$request.path.x`: from the request that was really sent."""

    location: Literal["query", "path"]
    name: str

    def __str__(self) -> str:
        return f"$request.{self.location}.{self.name}"

    def evaluate(self, context: Context) -> Json | Missing:
        if self.location == "path":
            return context.path_parameters.get(self.name, MISSING)
        if context.request is None:
            return MISSING
        return next((value for key, value in _query(context.request.url) if key == self.name), MISSING)

    @property
    def subject(self) -> str:
        return f"the {self.location} parameter '{self.name}' of the request"


def _query(url: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(urlsplit(url).query, keep_blank_values=True)
    except ValueError:  # a broken IPv6 host: such a URL has no parameters that anybody could mean
        return []


class Body(Expression, frozen=True):
    """`$request.body`, `$response.body`, each with a tail."""

    side: Literal["request", "response"]
    tail: Tail = ()

    def __str__(self) -> str:
        return f"${self.side}.body{_print(self.tail)}"

    def evaluate(self, context: Context) -> Json | Missing:
        if self.side == "response":
            value = context.response.body if context.response is not None else MISSING
        else:
            value = context.request_body
        return follow(value, self.tail) if self.tail else value

    @property
    def reads_answer_body(self) -> bool:
        return self.side == "response"

    @property
    def subject(self) -> str:
        where = _print(self.tail)
        return f"'{where}' in the body of the {self.side}" if where else f"the body of the {self.side}"


class MessagePayload(Expression, frozen=True):
    """`$message.payload`, with a tail."""

    tail: Tail = ()

    def __str__(self) -> str:
        return f"$message.payload{_print(self.tail)}"

    def evaluate(self, context: Context) -> Json | Missing:
        return follow((context.message or {}).get("payload", MISSING), self.tail)


class InputReference(Expression, frozen=True):
    """`$inputs.name` with a tail; no name: all inputs as an object."""

    name: str
    tail: Tail = ()

    def __str__(self) -> str:
        return f"$inputs{_dotted(self.name)}{_print(self.tail)}"

    def evaluate(self, context: Context) -> Json | Missing:
        return _named(context.inputs, self.name, self.tail)

    @property
    def subject(self) -> str:
        return f"the input '{self.name}{_print(self.tail)}'" if self.name else "the inputs"


class OutputReference(Expression, frozen=True):
    """`$outputs.name` with a tail."""

    name: str
    tail: Tail = ()

    def __str__(self) -> str:
        return f"$outputs{_dotted(self.name)}{_print(self.tail)}"

    def evaluate(self, context: Context) -> Json | Missing:
        return _named(context.outputs, self.name, self.tail)

    @property
    def subject(self) -> str:
        return f"the output '{self.name}{_print(self.tail)}'" if self.name else "the outputs"


class StepReference(Expression, frozen=True):
    """`$steps.<stepId>.outputs.name` with a tail; no name: all of the step's outputs as an object."""

    step_id: str
    name: str
    tail: Tail = ()

    def __str__(self) -> str:
        return f"$steps.{self.step_id}.outputs{_dotted(self.name)}{_print(self.tail)}"

    def evaluate(self, context: Context) -> Json | Missing:
        outputs = context.steps.get(self.step_id)
        return MISSING if outputs is None else _named(outputs, self.name, self.tail)

    @property
    def subject(self) -> str:
        what = f"the output '{self.name}{_print(self.tail)}'" if self.name else "the outputs"
        return f"{what} of step '{self.step_id}'"


class WorkflowReference(Expression, frozen=True):
    """`$workflows.<workflowId>.inputs|outputs.name` with a tail."""

    workflow_id: str
    part: Literal["inputs", "outputs"]
    name: str
    tail: Tail = ()

    def __str__(self) -> str:
        return f"$workflows.{self.workflow_id}.{self.part}{_dotted(self.name)}{_print(self.tail)}"

    def evaluate(self, context: Context) -> Json | Missing:
        values = context.workflows.get(self.workflow_id, {}).get(self.part)
        return MISSING if values is None else _named(values, self.name, self.tail)

    @property
    def subject(self) -> str:
        kind = "input" if self.part == "inputs" else "output"
        return f"the {kind} '{self.name}{_print(self.tail)}' of workflow '{self.workflow_id}'"


class SourceReference(Expression, frozen=True):
    """`$sourceDescriptions.<name>.<reference>`: a field such as `url`, or an operationId or workflowId of the source.

    Only fields have a value here; the planner resolves operations and workflows.
    """

    source: str
    reference: str

    def __str__(self) -> str:
        return f"$sourceDescriptions.{self.source}.{self.reference}"

    def evaluate(self, context: Context) -> Json | Missing:
        return context.sources.get(self.source, {}).get(self.reference, MISSING)

    @property
    def subject(self) -> str:
        return f"'{self.reference}' of the source description '{self.source}'"


class ComponentReference(Expression, frozen=True):
    """`$components.<part>.<key>`."""

    part: str
    key: str

    def __str__(self) -> str:
        return f"$components.{self.part}.{self.key}"

    def evaluate(self, context: Context) -> Json | Missing:
        part = context.components.get(self.part)
        return part.get(self.key, MISSING) if isinstance(part, Mapping) else MISSING

    @property
    def subject(self) -> str:
        return f"the component '{self.part}.{self.key}'"


def _print(tail: Tail) -> str:
    return "".join(map(str, tail))


def _dotted(name: str) -> str:
    return f".{name}" if name else ""


def _named(values: Mapping[str, Json], name: str, tail: Tail) -> Json | Missing:
    """Look a name up; when nobody declared it, a name with dots may have been given under its full spelling."""
    if not name:
        return follow(dict(values), tail)
    found = values.get(name, MISSING)
    if not tail:
        return found
    if found is MISSING:
        return values.get(name + _print(tail), MISSING)
    return follow(found, tail)
