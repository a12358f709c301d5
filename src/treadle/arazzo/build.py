"""Plain values become the model, and every problem of their structure a diagnostic with its place.

What an object may have is a table (`Shape`, at the end) in the specification's words and order, which `readers` read. A
description that comes with an error is good for further checks, and for nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from treadle.arazzo import model
from treadle.arazzo.location import Document, join
from treadle.arazzo.readers import (
    WRONG,
    At,
    Builder,
    Member,
    Reader,
    Shape,
    Version,
    Wrong,
    an,
    anything,
    described,
    integer,
    list_of,
    map_of,
    number,
    one_of,
    prose,
    schema,
    shortened,
    text,
)
from treadle.arazzo.slips import braced, close_to, component
from treadle.errors import Diagnostic, Repair
from treadle.seams import Json

__all__ = ["build"]


def build(document: Document) -> tuple[model.Description | None, list[Diagnostic]]:
    """Build the description that a document holds, with everything that is wrong in its structure.

    There is no description when the document is no Arazzo description at all, or one of a version that cannot be read.
    """
    builder = Builder(document)
    version = _version(builder)
    if version is None:
        return None, builder.found
    builder.document_version = version
    description = an(_DESCRIPTION)(builder, document.value, At("", "the document"))
    return description, builder.found


# §1.1 of the schemas: `1.0.1`, `1.0.0-rc1`. The patch may be left out here so that it can be said more kindly.
_VERSION = re.compile(r"(?P<major>[0-9]{1,4})(?:\.(?P<minor>[0-9]{1,4})(?P<patch>\.[0-9]+(?:-.+)?)?)?")

_OTHER_DESCRIPTIONS = {"openapi": "OpenAPI", "swagger": "OpenAPI (Swagger)", "asyncapi": "AsyncAPI"}


def _version(builder: Builder) -> Version | None:
    """Find out by which version of the specification to read the document."""
    value = builder.document.value
    if not isinstance(value, dict):
        builder.report("wrong-type", f"an Arazzo description is an object, not {described(value)}", "")
        return None
    if "arazzo" not in value:
        _not_arazzo(builder, value)
        return None
    given = value["arazzo"]
    text = str(given) if isinstance(given, (int, float)) and not isinstance(given, bool) else given
    found = _VERSION.fullmatch(text) if isinstance(text, str) else None
    if found is None or (found["major"] == "1" and found["minor"] is None):
        message = f"the version must be a text such as 1.0.1 or 1.1.0, not {described(given)}"
        builder.report("version", message, "/arazzo")
        return None
    version = int(found["major"]), int(found["minor"] or 0)
    if version[0] != 1:
        message = f"Arazzo {text} is not supported; Treadle reads the versions 1.0 and 1.1"
        builder.report("version", message, "/arazzo")
        return None
    if version[1] > 1:
        message = f"Arazzo {text} is newer than what Treadle knows; it is read as 1.1"
        builder.report("version", message, "/arazzo", severity="warning")
    elif found["patch"] is None or not isinstance(given, str):
        message = f"the version must be written in full, as a text; {text} is read as {version[0]}.{version[1]}.0"
        hint = f'write `arazzo: "{version[0]}.{version[1]}.0"`'
        builder.report("version", message, "/arazzo", severity="warning", hint=hint)
    return version


def _not_arazzo(builder: Builder, value: Mapping[str, Json]) -> None:
    other = next((name for name in _OTHER_DESCRIPTIONS if name in value), None)
    if other is not None:
        kind = _OTHER_DESCRIPTIONS[other]
        message = f"this is an {kind} description ({other}: {value[other]}), not an Arazzo description"
        hint = "name it in the sourceDescriptions of an Arazzo document, and give that document"
        builder.report("version", message, join("", other), hint=hint, key=True)
        return
    alike = "workflowsSpec" if "workflowsSpec" in value else close_to("arazzo", value)  # its name before 1.0
    hint = f"did you mean `arazzo` instead of `{alike}`?" if alike else 'its first line says so: `arazzo: "1.1.0"`'
    message = "this is no Arazzo description: it has no version of the specification, `arazzo`"
    builder.report("version", message, join("", alike) if alike else "", hint=hint, key=bool(alike))


# ---------------------------------------------------------------------------------------------------------------------
# Arazzo's own ways of writing
# ---------------------------------------------------------------------------------------------------------------------


def _condition(builder: Builder, value: Json, at: At) -> str | Wrong:
    """Read a condition: a status alone is what many other languages take."""
    if isinstance(value, int) and not isinstance(value, bool):
        return builder.wrong_type(value, at, "a text", hint=f"say what is compared: $statusCode == {value}")
    return text(builder, value, at)


def _self_uri(builder: Builder, value: Json, at: At) -> str | Wrong:
    uri = text(builder, value, at)
    if isinstance(uri, str) and "#" in uri:
        message = f"{at.what} must not have a fragment (the part from # on)"
        return builder.report("wrong-value", message, at.pointer, hint=f"write {shortened(uri.partition('#')[0])}")
    return uri


def _or_reusable(read: Reader) -> Reader:
    def read_either(builder: Builder, value: Json, at: At) -> Any:
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


def _referred(builder: Builder, value: Mapping[str, Json], at: At) -> Json:
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


def _reusable(builder: Builder, value: Mapping[str, Json], at: At) -> Any:
    """Read a Reusable Object; §1.1: it cannot be extended, and what else it has is ignored."""
    known = {key: each for key, each in value.items() if key in ("reference", "value")}
    return an(_REUSABLE)(builder, known, at)


def _value(builder: Builder, value: Json, at: At) -> Json | model.Selector:
    """Read the value of a parameter or replacement: anything, and a Selector Object where it looks like one."""
    if model.selector_in(value, at.pointer) is not None:
        return an(_SELECTOR)(builder, value, at)
    return value


def _output(builder: Builder, value: Json, at: At) -> Any:
    if value is None or braced(value):
        return builder.wrong_type(value, at, "an expression or a Selector Object")
    if isinstance(value, dict) and value.keys() & {"context", "selector", "type"}:
        return an(_SELECTOR)(builder, value, at)
    return value


def _criterion_type(builder: Builder, value: Json, at: At) -> Any:
    if isinstance(value, dict):
        return _expression_type(builder, value, at)
    return one_of("simple", "regex", "jsonpath", "xpath")(builder, value, at)


def _selector_type(builder: Builder, value: Json, at: At) -> Any:
    if isinstance(value, dict):
        return _expression_type(builder, value, at)
    return one_of("jsonpath", "xpath", "jsonpointer")(builder, value, at)


_VERSIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "jsonpath": ("rfc9535", "draft-goessner-dispatch-jsonpath-00"),
    "xpath": ("xpath-31", "xpath-30", "xpath-20", "xpath-10"),
    "jsonpointer": ("rfc6901",),
}


def _expression_type(builder: Builder, value: Json, at: At) -> Any:
    """Read an Expression Type Object; which versions there are depends on its type (§1.10)."""
    read = an(_EXPRESSION_TYPE)(builder, value, at)
    if isinstance(read, model.ExpressionType) and read.type in _VERSIONS and "version" in value:
        versions = _VERSIONS[read.type]
        here = at.member("version", f"`version` of this Expression Type Object, for {read.type},")
        if one_of(*versions)(builder, value["version"], here) is WRONG:
            return WRONG
    return read if isinstance(read, model.ExpressionType) and read.type in _VERSIONS else WRONG


# ---------------------------------------------------------------------------------------------------------------------
# The objects, in the specification's order
# ---------------------------------------------------------------------------------------------------------------------

_EXPRESSION_TYPE = Shape(
    "Expression Type Object",
    model.ExpressionType,
    (
        Member("type", one_of("jsonpath", "xpath", "jsonpointer", newer=("jsonpointer",)), required=True),
        Member("version", text, required=True),
    ),
)

_SELECTOR = Shape(
    "Selector Object",
    model.Selector,
    (
        Member("context", text, required=True),
        Member("selector", text, required=True),
        Member("type", _selector_type, required=True, fallback="jsonpath"),
    ),
    newer=True,
)

_INFO = Shape(
    "Info Object",
    model.Info,
    (
        Member("title", prose, required=True),
        Member("summary", prose),
        Member("description", prose),
        Member("version", prose, required=True),
    ),
)

_SOURCE_DESCRIPTION = Shape(
    "Source Description Object",
    model.SourceDescription,
    (
        Member("name", text, required=True),
        Member("url", text, required=True),
        Member("type", one_of("openapi", "arazzo", "asyncapi", newer=("asyncapi",))),
    ),
    naming="name",
)

_PARAMETER = Shape(
    "Parameter Object",
    model.Parameter,
    (
        Member("name", text, required=True),
        Member(
            "in",
            one_of("path", "query", "querystring", "header", "cookie", "body", "channel", newer=("querystring",)),
            attribute="in_",
        ),
        Member("value", _value, required=True, fallback=None, null=True),
    ),
    naming="name",
)

_REUSABLE = Shape(
    "Reusable Object",
    model.ReusableObject,
    (Member("reference", text, required=True), Member("value", _value, null=True)),
)

_CRITERION = Shape(
    "Criterion Object",
    model.Criterion,
    (
        Member("context", text),
        Member("condition", _condition, required=True),
        Member("type", _criterion_type),
    ),
)


def _criterion(builder: Builder, value: Json, at: At) -> Any:
    """Read a Criterion Object; one whose condition is spread over three members is put together (`split-condition`)."""
    whole = _put_together(value)
    read = an(_CRITERION)(builder, value if whole is None else whole, at)
    if isinstance(read, model.Criterion) and not read.condition:
        _empty(builder, value, at)
        return WRONG
    return read if whole is None else msgspec.structs.replace(read, split=True)


def _empty(builder: Builder, value: Json, at: At) -> None:
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


_PARAMETERS = list_of(_or_reusable(an(_PARAMETER)), of=_PARAMETER)
_CRITERIA = list_of(_criterion, of=_CRITERION)

_SUCCESS_ACTION = Shape(
    "Success Action Object",
    model.SuccessAction,
    (
        Member("name", text, required=True),
        Member("type", one_of("end", "goto"), required=True, fallback="end"),
        Member("workflowId", text),
        Member("stepId", text),
        Member("parameters", _PARAMETERS, newer=True),
        Member("criteria", _CRITERIA),
    ),
    naming="name",
)

_FAILURE_ACTION = Shape(
    "Failure Action Object",
    model.FailureAction,
    (
        Member("name", text, required=True),
        Member("type", one_of("end", "retry", "goto"), required=True, fallback="end"),
        Member("workflowId", text),
        Member("stepId", text),
        Member("retryAfter", number),
        Member("retryLimit", integer),
        Member("parameters", _PARAMETERS, newer=True),
        Member("criteria", _CRITERIA),
    ),
    naming="name",
)

_SUCCESS_ACTIONS = list_of(_or_reusable(an(_SUCCESS_ACTION)), of=_SUCCESS_ACTION)
_FAILURE_ACTIONS = list_of(_or_reusable(an(_FAILURE_ACTION)), of=_FAILURE_ACTION)
_OUTPUTS = map_of(_output, "expressions")

_PAYLOAD_REPLACEMENT = Shape(
    "Payload Replacement Object",
    model.PayloadReplacement,
    (
        Member("target", text, required=True),
        Member("targetSelectorType", _selector_type, newer=True),
        Member("value", _value, required=True, fallback=None, null=True),
    ),
)

_REQUEST_BODY = Shape(
    "Request Body Object",
    model.RequestBody,
    (
        Member("contentType", text),
        Member("payload", anything, null=True),
        Member("replacements", list_of(an(_PAYLOAD_REPLACEMENT), of=_PAYLOAD_REPLACEMENT)),
    ),
)

_STEP = Shape(
    "Step Object",
    model.Step,
    (
        Member("description", prose),
        Member("stepId", text, required=True),
        Member("operationId", text),
        Member("operationPath", text),
        Member("channelPath", text, newer=True),
        Member("workflowId", text),
        Member("parameters", _PARAMETERS),
        Member("requestBody", an(_REQUEST_BODY)),
        Member("successCriteria", list_of(_criterion, of=_CRITERION, at_least=1)),
        Member("onSuccess", _SUCCESS_ACTIONS),
        Member("onFailure", _FAILURE_ACTIONS),
        Member("outputs", _OUTPUTS),
        Member("timeout", integer, newer=True),
        Member("correlationId", anything, newer=True),
        Member("action", one_of("send", "receive"), newer=True),
        Member("dependsOn", list_of(text, at_least=1), newer=True),
    ),
    naming="stepId",
)

_WORKFLOW = Shape(
    "Workflow Object",
    model.Workflow,
    (
        Member("workflowId", text, required=True),
        Member("summary", prose),
        Member("description", prose),
        Member("inputs", schema),
        Member("dependsOn", list_of(text)),
        Member("steps", list_of(an(_STEP), of=_STEP, at_least=1, required=True), required=True, fallback=()),
        Member("successActions", _SUCCESS_ACTIONS),
        Member("failureActions", _FAILURE_ACTIONS),
        Member("outputs", _OUTPUTS),
        Member("parameters", _PARAMETERS),
    ),
    naming="workflowId",
)

_COMPONENTS = Shape(
    "Components Object",
    model.Components,
    (
        Member("inputs", map_of(schema, "JSON Schemas")),
        Member("parameters", map_of(an(_PARAMETER), "Parameter Objects")),
        Member("successActions", map_of(an(_SUCCESS_ACTION), "Success Action Objects")),
        Member("failureActions", map_of(an(_FAILURE_ACTION), "Failure Action Objects")),
    ),
)


def _arazzo_version(_builder: Builder, value: Json, _at: At) -> str:
    """Read the version, which has been checked, in full."""
    text = str(value)
    return text if text.count(".") > 1 else f"{text}.0"


_DESCRIPTION = Shape(
    "Arazzo Specification Object",
    model.Description,
    (
        Member("arazzo", _arazzo_version, required=True),
        Member("$self", _self_uri, newer=True, attribute="self_uri"),
        Member("info", an(_INFO), required=True, fallback=model.Info(pointer="/info")),
        Member(
            "sourceDescriptions",
            list_of(an(_SOURCE_DESCRIPTION), of=_SOURCE_DESCRIPTION, at_least=1, required=True),
            required=True,
            fallback=(),
        ),
        Member(
            "workflows", list_of(an(_WORKFLOW), of=_WORKFLOW, at_least=1, required=True), required=True, fallback=()
        ),
        Member("components", an(_COMPONENTS)),
    ),
)
