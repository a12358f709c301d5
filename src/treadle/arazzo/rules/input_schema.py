"""The inputs of a workflow are a JSON Schema that can be used, and that says what its author means (§1.4 `inputs`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from treadle.arazzo.input_schemas import NOT_SCHEMAS, boolean_required, fits_no_object, kind_of, shared_input
from treadle.arazzo.inputs import Inputs
from treadle.arazzo.location import join
from treadle.arazzo.rules.context import Checked, few
from treadle.arazzo.slips import close_to
from treadle.errors import Diagnostic, Severity
from treadle.seams import MISSING, Json

RULE: Final = "input-schema"
SEVERITY: Final[Severity] = "warning"
CLAUSE: Final = "Workflow Object: inputs"

_TYPES: Final = frozenset({"string", "integer", "number", "boolean", "array", "object", "null"})
# With one of these the object is a schema, whatever else it has.
_STATED: Final = frozenset(
    {"$ref", "properties", "allOf", "anyOf", "oneOf", "if", "patternProperties", "additionalProperties"}
)


def check(checked: Checked) -> Iterator[Diagnostic]:
    """Report schemas that cannot be used, names that stand beside `properties`, and defaults that do not fit."""
    for workflow in checked.description.workflows:
        if not isinstance(workflow.inputs, dict):
            continue
        pointer = join(workflow.pointer, "inputs")
        inputs = Inputs(workflow.inputs, checked.document, pointer)
        shared = checked.document.find("/components/inputs") if "$ref" in str(workflow.inputs) else None
        if _suspicious(workflow.inputs) or (shared is not MISSING and _suspicious(shared)):
            yield from inputs.problems
        for where in boolean_required(workflow.inputs, pointer):
            message = "`required` of an input is taken as one of the names in `required` of the object around it"
            yield checked.lenient("boolean-required", message, where, key=True)
        only = shared_input(workflow.inputs, checked.document)
        if only:
            message = f"inputs are an object, and `{only}` is none; it is taken as the only input, $inputs.{only}"
            hint = f"write inputs: {{type: object, properties: {{{only}: {{$ref: '#/components/inputs/{only}'}}}}}}"
            yield checked.lenient("input-by-reference", message, join(pointer, "$ref"), hint=hint)
        elif fits_no_object(workflow.inputs):
            message = "inputs are given by name: their schema is that of an object, which this is not"
            hint = "inputs: {type: object, properties: {name: …}}"
            yield checked.finding(RULE, message, join(pointer, "type"), hint=hint)
        yield from _beside(checked, workflow.inputs, pointer)
        yield from _required(checked, workflow.inputs, inputs, pointer)
        for name, declared in inputs.declared.items():
            yield from _default(checked, name, declared.pointer, pointer)


def _beside(checked: Checked, schema: Mapping[str, Json], pointer: str) -> Iterator[Diagnostic]:
    """Report inputs that are written without the `properties` around them."""
    named = [name for name, each in schema.items() if isinstance(each, dict) and not name.startswith(("$", "x-"))]
    if named and not schema.keys() & _STATED and all(_is_schema(schema[name]) for name in named):
        message = f"`inputs` is a JSON Schema, which has {few(f'`{name}`' for name in named)} under `properties`"
        hint = f"inputs: {{type: object, properties: {{{named[0]}: …}}}}"
        yield checked.finding(RULE, message, pointer, severity=SEVERITY, hint=hint)


def _is_schema(value: Json) -> bool:
    return isinstance(value, dict) and bool(value.keys() & {"type", "description", "enum", "format", "default", "$ref"})


def _required(checked: Checked, schema: Mapping[str, Json], inputs: Inputs, pointer: str) -> Iterator[Diagnostic]:
    """Report required inputs that nothing declares: they must be given, and nobody knows what they are."""
    listed = schema.get("required")
    for index, name in enumerate(listed if isinstance(listed, list) else ()):
        if isinstance(name, str) and not inputs.takes(name):
            meant = close_to(name, inputs.names)
            hint = f"did you mean `{meant}`?" if meant else "declare it in `properties`"
            message = f"the input `{name}` is required, and not declared"
            yield checked.finding(RULE, message, join(pointer, "required", index), severity=SEVERITY, hint=hint)


def _default(checked: Checked, name: str, declared: str, pointer: str) -> Iterator[Diagnostic]:
    """Report a default that the schema around it refuses: a run without the input would be refused, too."""
    schema = checked.document.find(declared)
    if not isinstance(schema, dict) or "default" not in schema or not declared.startswith(pointer):
        return
    value, kinds, listed = schema["default"], schema.get("type"), schema.get("enum")
    types = {each for each in (kinds if isinstance(kinds, list) else [kinds]) if isinstance(each, str)}
    fits = not types or any(_is_a(value, each) for each in types)
    wanted = "" if fits else f"of type {' or '.join(sorted(types))}"
    if fits and isinstance(listed, list) and value not in listed:
        wanted = f"one of {few(map(str, listed))}"
    if wanted:
        message = f"the default of the input `{name}` is not {wanted}"
        yield checked.finding(RULE, message, join(declared, "default"), severity=SEVERITY)


def _is_a(value: Json, kind: str) -> bool:
    found = kind_of(value)
    return kind not in _TYPES or found == kind or (found == "integer" and kind == "number")


def _suspicious(schema: Json) -> bool:
    """Tell whether a schema has something that a validator may refuse: loading one for every check would cost more."""
    waiting: list[tuple[Json, bool]] = [(schema, False)]
    while waiting:
        each, names = waiting.pop()
        if isinstance(each, list):
            waiting += [(member, False) for member in each]
        if not isinstance(each, dict):
            continue
        if not names and (any(_odd(word, value) for word, value in each.items())):
            return True
        waiting += [
            (member, not names and word in _NAMED) for word, member in each.items() if names or word not in NOT_SCHEMAS
        ]
    return False


_NAMED: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_PLAIN: Final = re.compile(r"[A-Za-z0-9^$\[\]\-_.+*:/@ ]*")


def _odd(word: str, value: Json) -> bool:
    """Tell whether a keyword has another value than it mostly has."""
    if word == "type":
        return not (value in _TYPES if isinstance(value, str) else isinstance(value, list))
    if word in _NAMED:
        return not isinstance(value, dict)
    if word in {"required", "enum", "allOf", "anyOf", "oneOf"}:
        return not isinstance(value, list)
    if word == "pattern":
        return not isinstance(value, str) or _PLAIN.fullmatch(value) is None
    if word in {"items", "additionalProperties", "not"}:
        return not isinstance(value, (dict, bool))
    return word in {"$ref", "$anchor"} or (word.startswith(("min", "max")) and not isinstance(value, (int, float)))
