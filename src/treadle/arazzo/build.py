"""Plain values become the model, and every problem of their structure a diagnostic with its place.

What an object may have is a table (`_Shape`, at the end) in the specification's words and order; one function reads it.
Nothing here stops at the first problem. Where a member is wrong the object is built without it, so that the rest can be
checked too: a description that comes with an error is good for further checks, and for nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, Unpack

import msgspec

from treadle.arazzo import model
from treadle.arazzo.location import Document, MoreOfFinding, join
from treadle.arazzo.slips import braced, close_to, component, cut_off, elsewhere, in_list, not_a_list, not_a_map
from treadle.errors import Diagnostic, Repair, Severity
from treadle.seams import Json

__all__ = ["build"]

Version: TypeAlias = "tuple[int, int]"


def build(document: Document) -> tuple[model.Description | None, list[Diagnostic]]:
    """Build the description that a document holds, with everything that is wrong in its structure.

    There is no description when the document is no Arazzo description at all, or one of a version that cannot be read.
    """
    builder = _Builder(document)
    version = builder.version()
    if version is None:
        return None, builder.found
    builder.document_version = version
    description = _an(_DESCRIPTION)(builder, document.value, _At("", "the document"))
    return description, builder.found


@dataclass(frozen=True, slots=True)
class _At:
    """A place in the document and what a message calls it."""

    pointer: str
    what: str

    def member(self, name: str, what: str) -> _At:
        return _At(join(self.pointer, name), what)


class _Wrong:
    """What a reader gives for a value that it has complained about."""


_WRONG: Final = _Wrong()

_Reader: TypeAlias = "Callable[[_Builder, Json, _At], Any]"


@dataclass(slots=True)
class _Builder:
    """The document that is read and what was found so far."""

    document: Document
    found: list[Diagnostic] = field(default_factory=list)
    document_version: Version = (1, 1)

    def report(self, rule: str, message: str, pointer: str, **more: Unpack[MoreOfFinding]) -> _Wrong:
        self.found.append(self.document.finding(rule, message, pointer, **more))
        return _WRONG

    def wrong_type(self, value: Json, at: _At, wanted: str, *, hint: str = "", repair: Repair | None = None) -> _Wrong:
        message = f"{at.what} must be {wanted}, not {described(value)}"
        expression = braced(value)
        if expression:
            hint, repair = f"for YAML {{…}} is an object: write {expression}", Repair("value", expression)
        return self.report("wrong-type", message, at.pointer, hint=hint, key=value is None, repair=repair)

    def newer(self, what: str, pointer: str, *, key: bool = False) -> None:
        """Note the use of a feature that the document's version does not have; it is honoured all the same."""
        if self.document_version < (1, 1):
            message = f"{what} came with Arazzo 1.1, and this document says that it is {_shown(self.document)}"
            hint = 'change its version to `arazzo: "1.1.0"`'
            self.report("newer-feature", message, pointer, severity="warning", hint=hint, key=key)

    def version(self) -> Version | None:
        """Find out by which version of the specification to read the document."""
        value = self.document.value
        if not isinstance(value, dict):
            self.report("wrong-type", f"an Arazzo description is an object, not {described(value)}", "")
            return None
        if "arazzo" not in value:
            self._not_arazzo(value)
            return None
        given = value["arazzo"]
        text = str(given) if isinstance(given, (int, float)) and not isinstance(given, bool) else given
        found = _VERSION.fullmatch(text) if isinstance(text, str) else None
        if found is None or (found["major"] == "1" and found["minor"] is None):
            message = f"the version must be a text such as 1.0.1 or 1.1.0, not {described(given)}"
            self.report("version", message, "/arazzo")
            return None
        version = int(found["major"]), int(found["minor"] or 0)
        if version[0] != 1:
            message = f"Arazzo {text} is not supported; Treadle reads the versions 1.0 and 1.1"
            self.report("version", message, "/arazzo")
            return None
        if version[1] > 1:
            message = f"Arazzo {text} is newer than what Treadle knows; it is read as 1.1"
            self.report("version", message, "/arazzo", severity="warning")
        elif found["patch"] is None or not isinstance(given, str):
            message = f"the version must be written in full, as a text; {text} is read as {version[0]}.{version[1]}.0"
            hint = f'write `arazzo: "{version[0]}.{version[1]}.0"`'
            self.report("version", message, "/arazzo", severity="warning", hint=hint)
        return version

    def _not_arazzo(self, value: Mapping[str, Json]) -> None:
        other = next((name for name in _OTHER_DESCRIPTIONS if name in value), None)
        if other is not None:
            kind = _OTHER_DESCRIPTIONS[other]
            message = f"this is an {kind} description ({other}: {value[other]}), not an Arazzo description"
            hint = "name it in the sourceDescriptions of an Arazzo document, and give that document"
            self.report("version", message, join("", other), hint=hint, key=True)
            return
        alike = "workflowsSpec" if "workflowsSpec" in value else close_to("arazzo", value)  # its name before 1.0
        hint = f"did you mean `arazzo` instead of `{alike}`?" if alike else 'its first line says so: `arazzo: "1.1.0"`'
        message = "this is no Arazzo description: it has no version of the specification, `arazzo`"
        self.report("version", message, join("", alike) if alike else "", hint=hint, key=bool(alike))


# §1.1 of the schemas: `1.0.1`, `1.0.0-rc1`. The patch may be left out here so that it can be said more kindly.
_VERSION = re.compile(r"(?P<major>[0-9]{1,4})(?:\.(?P<minor>[0-9]{1,4})(?P<patch>\.[0-9]+(?:-.+)?)?)?")

_OTHER_DESCRIPTIONS = {"openapi": "OpenAPI", "swagger": "OpenAPI (Swagger)", "asyncapi": "AsyncAPI"}


def _shown(document: Document) -> str:
    return str(document.value.get("arazzo"))


def described(value: Json) -> str:
    """Say what a value is, for "…, not a list"."""
    if isinstance(value, bool):
        return f"the truth value {json.dumps(value)}"
    if value is None:
        return "empty (null)"
    if isinstance(value, str):
        return f"the text {_short(value)}"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    return "a list" if isinstance(value, list) else "an object"


def _short(text: str) -> str:
    return json.dumps(text if len(text) <= 40 else text[:37] + "...", ensure_ascii=False)


# ---------------------------------------------------------------------------------------------------------------------
# Readers of simple values
# ---------------------------------------------------------------------------------------------------------------------


def _text(builder: _Builder, value: Json, at: _At) -> str | _Wrong:
    if isinstance(value, str):
        return value
    quoted = f'put it in quotes: "{json.dumps(value)}"' if isinstance(value, (int, float)) else ""
    return builder.wrong_type(value, at, "a text", hint=quoted)


def _condition(builder: _Builder, value: Json, at: _At) -> str | _Wrong:
    """Read a condition: a status alone is what many other languages take."""
    if isinstance(value, int) and not isinstance(value, bool):
        return builder.wrong_type(value, at, "a text", hint=f"say what is compared: $statusCode == {value}")
    return _text(builder, value, at)


def _prose(builder: _Builder, value: Json, at: _At) -> str | _Wrong:
    """Read a text that only people read: a number or a truth value there does no harm."""
    if not isinstance(value, (bool, int, float)):
        return _text(builder, value, at)
    text = json.dumps(value)
    builder.report(
        "wrong-type",
        f"{at.what} must be a text, not {described(value)}",
        at.pointer,
        severity="warning",
        hint=f'put it in quotes: "{text}"',
    )
    return text


def _integer(builder: _Builder, value: Json, at: _At) -> int | _Wrong:
    """Read a whole number; JSON Schema 2020-12 takes 3.0 for one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value % 1 != 0:
        return builder.wrong_type(value, at, "a whole number", hint=_unquote(value))
    return int(value)


def _number(builder: _Builder, value: Json, at: _At) -> float | _Wrong:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return builder.wrong_type(value, at, "a number", hint=_unquote(value))
    return value


def _unquote(value: Json) -> str:
    return "leave out the quotes" if isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) else ""


def _anything(_builder: _Builder, value: Json, _at: _At) -> Json:
    return value


def _schema(builder: _Builder, value: Json, at: _At) -> Json:
    if isinstance(value, (dict, bool)):
        return value
    return builder.wrong_type(value, at, "a JSON Schema, that is an object")


def _self_uri(builder: _Builder, value: Json, at: _At) -> str | _Wrong:
    text = _text(builder, value, at)
    if isinstance(text, str) and "#" in text:
        message = f"{at.what} must not have a fragment (the part from # on)"
        return builder.report("wrong-value", message, at.pointer, hint=f"write {_short(text.partition('#')[0])}")
    return text


# What else people write for the type of an action.
_OTHER_WORDS: Final = {
    **dict.fromkeys(("continue", "next"), "leave it out: the next step follows by itself"),
    **dict.fromkeys(("step", "workflow", "jump", "call", "invoke"), "write `goto`, with a `stepId` or a `workflowId`"),
    **dict.fromkeys(("stop", "fail", "abort", "exit"), "write `end`"),
}


def _one_of(*known: str, newer: Sequence[str] = ()) -> _Reader:
    """Read one of several words; those in `newer` came with 1.1."""

    def read(builder: _Builder, value: Json, at: _At) -> str | _Wrong:
        if value not in known:
            meant = close_to(value, known) if isinstance(value, str) else ""
            message = f"{at.what} must be {_listed_words(known)}, not {described(value)}"
            hint = f"did you mean `{meant}`?" if meant else _OTHER_WORDS.get(str(value), "")
            wrong = builder.report("wrong-value", message, at.pointer, hint=hint, instead=meant)
            return meant or wrong  # what was meant can be checked further
        if value in newer:
            builder.newer(f"`{value}`", at.pointer)
        return str(value)

    return read


def _listed_words(words: Sequence[str]) -> str:
    quoted = [f"`{word}`" for word in words]
    return " or ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1])))


# ---------------------------------------------------------------------------------------------------------------------
# Readers of lists, maps and objects
# ---------------------------------------------------------------------------------------------------------------------


def _list_of(read: _Reader, *, of: _Shape | None = None, at_least: int = 0, required: bool = False) -> _Reader:
    """Read a list; `of` is the shape of its items, where they are objects."""

    def read_list(builder: _Builder, value: Json, at: _At) -> tuple[Any, ...] | _Wrong:
        if not isinstance(value, list):
            slip = not_a_list(value, of.names if of else (), of.naming if of else "")
            builder.wrong_type(value, at, "a list", hint=slip.hint, repair=slip.repair)
            only = read(builder, value, _At(at.pointer, f"the only item of {at.what}")) if slip.single else _WRONG
            return _WRONG if only is _WRONG else (only,)
        if len(value) < at_least:
            # Needed since 1.1; what 1.0 requires is required all the same.
            severity = _ERROR if builder.document_version >= (1, 1) or required else _WARNING
            message = f"{at.what} must have at least one item"
            builder.report("wrong-value", message, at.pointer, key=True, severity=severity)
        items = (
            read(builder, each, at.member(str(index), f"item {index + 1} of {at.what}"))
            for index, each in enumerate(value)
        )
        return tuple(item for item in items if item is not _WRONG)

    return read_list


def _map_of(read: _Reader, what: str) -> _Reader:
    def read_map(builder: _Builder, value: Json, at: _At) -> dict[str, Any] | _Wrong:
        if not isinstance(value, dict):
            slip = not_a_map(value)
            return builder.wrong_type(
                value, at, f"an object that gives {what} by name", hint=slip.hint, repair=slip.repair
            )
        members = {key: read(builder, each, at.member(key, f"`{key}` of {at.what}")) for key, each in value.items()}
        return {key: member for key, member in members.items() if member is not _WRONG}

    return read_map


@dataclass(frozen=True, slots=True)
class _Member:
    """A field of an object: its name, how to read it, and what stands in for a required one that is wrong."""

    name: str
    read: _Reader
    required: bool = False
    fallback: Any = ""
    newer: bool = False
    attribute: str = ""
    null: bool = False
    """Whether null is a value here; elsewhere it is an empty line that somebody left."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """What an object may have, and which class is made of it."""

    name: str
    make: Callable[..., Any]
    members: tuple[_Member, ...]
    newer: bool = False
    naming: str = ""
    """The field that tells objects of this shape apart."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(member.name for member in self.members)


def _a(shape: _Shape) -> str:
    return f"{'an' if shape.name[0] in 'AEIOU' else 'a'} {shape.name}"


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _an(shape: _Shape) -> _Reader:
    """Read an object of that shape."""

    def read(builder: _Builder, value: Json, at: _At) -> Any:
        if not isinstance(value, dict):
            slip = in_list(value, shape.names)
            return builder.wrong_type(value, at, _a(shape), hint=slip.hint, repair=slip.repair)
        if shape.newer:
            builder.newer(f"the {shape.name}", at.pointer)
        misspelt = _unknown_fields(builder, value, at, shape)
        attributes: dict[str, Any] = {}
        for member in shape.members:
            attributes |= _read_member(builder, value, at, shape, member, misspelt.get(member.name, member.name))
        extensions = {key: each for key, each in value.items() if key.startswith("x-")}
        return shape.make(pointer=at.pointer, extensions=extensions, **attributes)

    return read


# What names something is never empty; serializers of other programs write fields that were not set as empty texts.
_NEVER_EMPTY: Final = frozenset(
    {
        "operationId",
        "operationPath",
        "channelPath",
        "workflowId",
        "stepId",
        "action",
        "in",
        "context",
        "type",
        "contentType",
    }
)


def _read_member(
    builder: _Builder, value: Mapping[str, Json], at: _At, shape: _Shape, member: _Member, written: str
) -> dict[str, Any]:
    """Read a member; `written` is how the document spells its name."""
    attribute = member.attribute or _snake(member.name)
    stand_in = {attribute: member.fallback} if member.required else {}
    if written not in value:
        if member.required:
            message = f"this {shape.name} has no `{member.name}`, which is required"
            hint = cut_off(value, shape.names) if at.pointer.rpartition("/")[2].isdecimal() else ""
            builder.report("missing-field", message, at.pointer, hint=hint)
        return stand_in
    here = at.member(written, f"`{written}` of this {shape.name}")
    given = value[written]
    is_empty = (given is None and not member.null) or (given == "" and member.name in _NEVER_EMPTY)
    if is_empty and not member.required:
        message = f"{here.what} is empty"
        builder.report("empty-field", message, here.pointer, severity="warning", key=True, hint="leave it out")
        return stand_in
    if member.newer:
        builder.newer(here.what, here.pointer, key=True)
    read = member.read(builder, given, here)
    return stand_in if read is _WRONG else {attribute: read}


def _unknown_fields(builder: _Builder, value: Mapping[str, Json], at: _At, shape: _Shape) -> dict[str, str]:
    """Report the fields that the object does not have; give those that are misspelt by their proper name."""
    misspelt: dict[str, str] = {}
    for key in value:
        if key in shape.names or key.startswith("x-"):
            continue
        message = f"{_a(shape)} has no field `{key}`"
        hint, wrong = elsewhere(shape.name, key)
        meant = "" if hint else close_to(key, (name for name in shape.names if name not in value))
        repair = None
        if meant:
            # Probably a slip of the pen, so something that the author wants would silently not happen.
            hint, wrong = f"did you mean `{meant}`?", True
            repair = Repair("key", meant) if meant not in misspelt else None
            misspelt.setdefault(meant, key)
        severity = _ERROR if wrong else _WARNING
        hint = hint or f"it is ignored; its fields are {', '.join(shape.names)}"
        pointer = join(at.pointer, key)
        builder.report("unknown-field", message, pointer, severity=severity, hint=hint, key=True, repair=repair)
    return misspelt


_ERROR: Final[Severity] = "error"
_WARNING: Final[Severity] = "warning"


def _or_reusable(read: _Reader) -> _Reader:
    def read_either(builder: _Builder, value: Json, at: _At) -> Any:
        if isinstance(value, dict) and "$ref" in value and "reference" not in value:
            value = _referred(builder, value, at)
        if isinstance(value, dict) and "name" in value and value.get("reference", "none") in ("", None):
            message = "a `reference` that is empty refers to nothing"
            builder.report(
                "empty-field", message, join(at.pointer, "reference"), severity="warning", key=True, hint="leave it out"
            )
            value = {name: each for name, each in value.items() if name != "reference"}
        return (
            _reusable(builder, value, at)
            if isinstance(value, dict) and "reference" in value
            else read(builder, value, at)
        )

    return read_either


def _referred(builder: _Builder, value: Mapping[str, Json], at: _At) -> Json:
    """Take OpenAPI's `$ref` for the `reference` that it must be here; only JSON Schemas have the other one (§1.8)."""
    message = "a component is referred to by `reference`; `$ref` is for JSON Schemas"
    written = value["$ref"]
    hint = f"write `reference: {component(written) or '$components.…'}`"
    pointer = join(at.pointer, "$ref")
    builder.report("unknown-field", message, pointer, hint=hint, key=True, repair=Repair("key", "reference"))
    return {
        "reference": component(written) or written,
        **{name: each for name, each in value.items() if name != "$ref"},
    }


def _reusable(builder: _Builder, value: Mapping[str, Json], at: _At) -> Any:
    """Read a Reusable Object; §1.1: it cannot be extended, and what else it has is ignored."""
    known = {key: each for key, each in value.items() if key in ("reference", "value")}
    return _an(_REUSABLE)(builder, known, at)


def _value(builder: _Builder, value: Json, at: _At) -> Json | model.Selector:
    """Read the value of a parameter or replacement: anything, and a Selector Object where it looks like one."""
    if model.selector_in(value, at.pointer) is not None:
        return _an(_SELECTOR)(builder, value, at)
    return value


def _output(builder: _Builder, value: Json, at: _At) -> Any:
    if value is None or braced(value):
        return builder.wrong_type(value, at, "an expression or a Selector Object")
    if isinstance(value, dict) and value.keys() & {"context", "selector", "type"}:
        return _an(_SELECTOR)(builder, value, at)
    return value


def _criterion_type(builder: _Builder, value: Json, at: _At) -> Any:
    if isinstance(value, dict):
        return _expression_type(builder, value, at)
    return _one_of("simple", "regex", "jsonpath", "xpath")(builder, value, at)


def _selector_type(builder: _Builder, value: Json, at: _At) -> Any:
    if isinstance(value, dict):
        return _expression_type(builder, value, at)
    return _one_of("jsonpath", "xpath", "jsonpointer")(builder, value, at)


_VERSIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "jsonpath": ("rfc9535", "draft-goessner-dispatch-jsonpath-00"),
    "xpath": ("xpath-31", "xpath-30", "xpath-20", "xpath-10"),
    "jsonpointer": ("rfc6901",),
}


def _expression_type(builder: _Builder, value: Json, at: _At) -> Any:
    """Read an Expression Type Object; which versions there are depends on its type (§1.10)."""
    read = _an(_EXPRESSION_TYPE)(builder, value, at)
    if isinstance(read, model.ExpressionType) and read.type in _VERSIONS and "version" in value:
        versions = _VERSIONS[read.type]
        here = at.member("version", f"`version` of this Expression Type Object, for {read.type},")
        if _one_of(*versions)(builder, value["version"], here) is _WRONG:
            return _WRONG
    return read if isinstance(read, model.ExpressionType) and read.type in _VERSIONS else _WRONG


# ---------------------------------------------------------------------------------------------------------------------
# The objects, in the specification's order
# ---------------------------------------------------------------------------------------------------------------------

_EXPRESSION_TYPE = _Shape(
    "Expression Type Object",
    model.ExpressionType,
    (
        _Member("type", _one_of("jsonpath", "xpath", "jsonpointer", newer=("jsonpointer",)), required=True),
        _Member("version", _text, required=True),
    ),
)

_SELECTOR = _Shape(
    "Selector Object",
    model.Selector,
    (
        _Member("context", _text, required=True),
        _Member("selector", _text, required=True),
        _Member("type", _selector_type, required=True, fallback="jsonpath"),
    ),
    newer=True,
)

_INFO = _Shape(
    "Info Object",
    model.Info,
    (
        _Member("title", _prose, required=True),
        _Member("summary", _prose),
        _Member("description", _prose),
        _Member("version", _prose, required=True),
    ),
)

_SOURCE_DESCRIPTION = _Shape(
    "Source Description Object",
    model.SourceDescription,
    (
        _Member("name", _text, required=True),
        _Member("url", _text, required=True),
        _Member("type", _one_of("openapi", "arazzo", "asyncapi", newer=("asyncapi",))),
    ),
    naming="name",
)

_PARAMETER = _Shape(
    "Parameter Object",
    model.Parameter,
    (
        _Member("name", _text, required=True),
        _Member(
            "in",
            _one_of("path", "query", "querystring", "header", "cookie", "body", "channel", newer=("querystring",)),
            attribute="in_",
        ),
        _Member("value", _value, required=True, fallback=None, null=True),
    ),
    naming="name",
)

_REUSABLE = _Shape(
    "Reusable Object",
    model.ReusableObject,
    (_Member("reference", _text, required=True), _Member("value", _value, null=True)),
)

_CRITERION = _Shape(
    "Criterion Object",
    model.Criterion,
    (
        _Member("context", _text),
        _Member("condition", _condition, required=True),
        _Member("type", _criterion_type),
    ),
)


def _criterion(builder: _Builder, value: Json, at: _At) -> Any:
    """Read a Criterion Object; one whose condition is spread over three members is put together (`split-condition`)."""
    whole = _put_together(value)
    read = _an(_CRITERION)(builder, value if whole is None else whole, at)
    if isinstance(read, model.Criterion) and not read.condition:
        _empty(builder, value, at)
        return _WRONG
    return read if whole is None else msgspec.structs.replace(read, split=True)


def _empty(builder: _Builder, value: Json, at: _At) -> None:
    if isinstance(value, dict) and value.get("condition") == "":
        message = "a condition must say something: nothing can be evaluated"
        builder.report("wrong-value", message, join(at.pointer, "condition"), hint="$statusCode == 200")


_OPERATORS: Final = ("==", "!=", "<", "<=", ">", ">=")


def _put_together(value: Json) -> Json:
    """Give `{context: $statusCode, condition: "==", value: 200}` as a simple criterion; None for every other one."""
    if not isinstance(value, dict) or value.get("condition") not in _OPERATORS or "value" not in value:
        return None
    operand, context = value["value"], value.get("context")
    if not isinstance(context, str) or isinstance(operand, (dict, list)) or value.get("type", "simple") != "simple":
        return None
    quoted = isinstance(operand, str) and not operand.startswith("$")
    text = "'" + operand.replace("'", "''") + "'" if quoted else operand
    written = text if isinstance(text, str) else json.dumps(text)
    kept = {name: each for name, each in value.items() if name.startswith("x-")}
    return {"condition": f"{context} {value['condition']} {written}", **kept}


_PARAMETERS = _list_of(_or_reusable(_an(_PARAMETER)), of=_PARAMETER)
_CRITERIA = _list_of(_criterion, of=_CRITERION)

_SUCCESS_ACTION = _Shape(
    "Success Action Object",
    model.SuccessAction,
    (
        _Member("name", _text, required=True),
        _Member("type", _one_of("end", "goto"), required=True, fallback="end"),
        _Member("workflowId", _text),
        _Member("stepId", _text),
        _Member("parameters", _PARAMETERS, newer=True),
        _Member("criteria", _CRITERIA),
    ),
    naming="name",
)

_FAILURE_ACTION = _Shape(
    "Failure Action Object",
    model.FailureAction,
    (
        _Member("name", _text, required=True),
        _Member("type", _one_of("end", "retry", "goto"), required=True, fallback="end"),
        _Member("workflowId", _text),
        _Member("stepId", _text),
        _Member("retryAfter", _number),
        _Member("retryLimit", _integer),
        _Member("parameters", _PARAMETERS, newer=True),
        _Member("criteria", _CRITERIA),
    ),
    naming="name",
)

_SUCCESS_ACTIONS = _list_of(_or_reusable(_an(_SUCCESS_ACTION)), of=_SUCCESS_ACTION)
_FAILURE_ACTIONS = _list_of(_or_reusable(_an(_FAILURE_ACTION)), of=_FAILURE_ACTION)
_OUTPUTS = _map_of(_output, "expressions")

_PAYLOAD_REPLACEMENT = _Shape(
    "Payload Replacement Object",
    model.PayloadReplacement,
    (
        _Member("target", _text, required=True),
        _Member("targetSelectorType", _selector_type, newer=True),
        _Member("value", _value, required=True, fallback=None, null=True),
    ),
)

_REQUEST_BODY = _Shape(
    "Request Body Object",
    model.RequestBody,
    (
        _Member("contentType", _text),
        _Member("payload", _anything, null=True),
        _Member("replacements", _list_of(_an(_PAYLOAD_REPLACEMENT), of=_PAYLOAD_REPLACEMENT)),
    ),
)

_STEP = _Shape(
    "Step Object",
    model.Step,
    (
        _Member("description", _prose),
        _Member("stepId", _text, required=True),
        _Member("operationId", _text),
        _Member("operationPath", _text),
        _Member("channelPath", _text, newer=True),
        _Member("workflowId", _text),
        _Member("parameters", _PARAMETERS),
        _Member("requestBody", _an(_REQUEST_BODY)),
        _Member("successCriteria", _list_of(_criterion, of=_CRITERION, at_least=1)),
        _Member("onSuccess", _SUCCESS_ACTIONS),
        _Member("onFailure", _FAILURE_ACTIONS),
        _Member("outputs", _OUTPUTS),
        _Member("timeout", _integer, newer=True),
        _Member("correlationId", _anything, newer=True),
        _Member("action", _one_of("send", "receive"), newer=True),
        _Member("dependsOn", _list_of(_text, at_least=1), newer=True),
    ),
    naming="stepId",
)

_WORKFLOW = _Shape(
    "Workflow Object",
    model.Workflow,
    (
        _Member("workflowId", _text, required=True),
        _Member("summary", _prose),
        _Member("description", _prose),
        _Member("inputs", _schema),
        _Member("dependsOn", _list_of(_text)),
        _Member("steps", _list_of(_an(_STEP), of=_STEP, at_least=1, required=True), required=True, fallback=()),
        _Member("successActions", _SUCCESS_ACTIONS),
        _Member("failureActions", _FAILURE_ACTIONS),
        _Member("outputs", _OUTPUTS),
        _Member("parameters", _PARAMETERS),
    ),
    naming="workflowId",
)

_COMPONENTS = _Shape(
    "Components Object",
    model.Components,
    (
        _Member("inputs", _map_of(_schema, "JSON Schemas")),
        _Member("parameters", _map_of(_an(_PARAMETER), "Parameter Objects")),
        _Member("successActions", _map_of(_an(_SUCCESS_ACTION), "Success Action Objects")),
        _Member("failureActions", _map_of(_an(_FAILURE_ACTION), "Failure Action Objects")),
    ),
)


def _arazzo_version(_builder: _Builder, value: Json, _at: _At) -> str:
    """Read the version, which has been checked, in full."""
    text = str(value)
    return text if text.count(".") > 1 else f"{text}.0"


_DESCRIPTION = _Shape(
    "Arazzo Specification Object",
    model.Description,
    (
        _Member("arazzo", _arazzo_version, required=True),
        _Member("$self", _self_uri, newer=True, attribute="self_uri"),
        _Member("info", _an(_INFO), required=True, fallback=model.Info(pointer="/info")),
        _Member(
            "sourceDescriptions",
            _list_of(_an(_SOURCE_DESCRIPTION), of=_SOURCE_DESCRIPTION, at_least=1, required=True),
            required=True,
            fallback=(),
        ),
        _Member(
            "workflows", _list_of(_an(_WORKFLOW), of=_WORKFLOW, at_least=1, required=True), required=True, fallback=()
        ),
        _Member("components", _an(_COMPONENTS)),
    ),
)
