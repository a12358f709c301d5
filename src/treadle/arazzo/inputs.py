"""The inputs of a workflow: its JSON Schema (2020-12) applied before anything is sent.

`Inputs` fills in defaults (jsonschema-rs only judges), validates, and says everything that is wrong at once, each
finding naming the input. A schema may use the schemas of its own document (`input_schemas`) and nothing else: a
reference that would read a file or the network is refused.

Patterns run on an engine with linear time; one that it cannot take (look-around, back references) is an error of the
document. Values of inputs never appear in a message when the schema calls them secret.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from treadle.arazzo.input_schemas import (
    Defaults,
    Resolver,
    boolean_required,
    members,
    required_in,
    shared_input,
    with_names,
)
from treadle.arazzo.location import Document, find, join
from treadle.arazzo.readers import described
from treadle.arazzo.slips import close_to
from treadle.errors import Diagnostic, Severity
from treadle.seams import MISSING, Json, Missing

__all__ = ["Input", "Inputs"]

RULE: Final = "inputs"


@dataclass(frozen=True, slots=True)
class Input:
    """A declared input, for help and messages. `type` is in words; `default` is MISSING where there is none."""

    name: str
    type: str
    required: bool
    default: Json | Missing
    description: str
    secret: bool
    pointer: str


@dataclass(frozen=True)
class Inputs:
    """The inputs that a workflow declares: `schema` stands in `document` at `pointer`.

    `strict` makes errors of inputs that the schema does not know, and that it does not forbid either.
    """

    schema: Json
    document: Document
    pointer: str = ""
    strict: bool = False
    _resolver: Resolver = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        only = shared_input(self.schema, self.document)
        if only:
            object.__setattr__(self, "schema", {"type": "object", "properties": {only: self.schema}})
        object.__setattr__(self, "_resolver", Resolver(self.document.value))

    @cached_property
    def declared(self) -> Mapping[str, Input]:
        """What is declared at the top level, `$ref` and `allOf` followed, in the order of the document."""
        parts = self._resolver.parts(self.schema, self.pointer)
        required = {name for part, _ in parts for name in required_in(part)}
        declared: dict[str, Input] = {}
        for part, pointer in parts:
            for name, schema in members(part, "properties").items():
                declared.setdefault(name, self._input(name, schema, join(pointer, "properties", name), required))
        return declared

    @property
    def names(self) -> frozenset[str]:
        """The names of the declared inputs."""
        return frozenset(self.declared)

    def takes(self, name: str) -> bool:
        """Tell whether an input is declared, or provided for in ways that are not worth following."""
        return name in self.names or self._open

    @cached_property
    def _open(self) -> bool:
        parts = [part for part, _ in self._resolver.parts(self.schema, self.pointer)]
        return any(
            part.get("additionalProperties") or part.get("unevaluatedProperties") or any(word in part for word in _OPEN)
            for part in parts
        )

    @cached_property
    def secrets(self) -> frozenset[str]:
        """The names of the inputs that hold, or contain, what the schema calls secret (`password`, `writeOnly`)."""
        return frozenset(name for name, each in self.declared.items() if each.secret)

    def secret_texts(self, values: Mapping[str, Json]) -> frozenset[str]:
        """Give the texts among the values that the schema calls secret, however deep they stand."""
        return frozenset(self._secret_texts(self.schema, values)) if self.secrets else frozenset()

    def _secret_texts(self, schema: Json, value: Json) -> Iterator[str]:
        for part, _ in self._resolver.parts(schema, ""):
            if isinstance(value, str) and (part.get("format") == "password" or part.get("writeOnly") is True):
                yield value
            elif isinstance(value, dict):
                for name, inner in members(part, "properties").items():
                    yield from self._secret_texts(inner, value[name]) if name in value else ()
            elif isinstance(value, list) and isinstance(part.get("items"), dict):
                for each in value:
                    yield from self._secret_texts(part["items"], each)

    @cached_property
    def problems(self) -> tuple[Diagnostic, ...]:
        """What is wrong with the schema itself, whatever is given."""
        return self._compiled[1]

    def coerce(self, name: str, text: str) -> Json:
        """Read the text of `-i name=text` as the schema wants the input: a number, a truth value, JSON, or the text.

        A text that cannot be read so stays text; `prepare` then says what it must be.
        """
        parts = self._resolver.parts(self.schema, self.pointer)
        schemas = [members(part, "properties")[name] for part, _ in parts if name in members(part, "properties")]
        kinds = {kind for schema in schemas for kind in self._resolver.kinds(schema)}
        return _coerced(text, kinds)

    def prepare(self, given: Mapping[str, Json]) -> tuple[dict[str, Json], list[Diagnostic]]:
        """Give the values with defaults filled in, and everything that is wrong with them.

        The given values are not changed. When a diagnostic is an error the values are not to be used.
        """
        validator, problems = self._compiled
        found = [*problems, *self._unfit(given)]
        if len(found) > len(problems):
            return dict(given), found
        # As JSON has them: a program may give texts and numbers of classes of its own, which nothing could store.
        values: dict[str, Json] = json.loads(json.dumps(dict(given)))
        if not Defaults(self._resolver).fill(self.schema, values):
            found.append(self._found("the defaults of this schema contain each other without end", self.pointer))
            return dict(given), found
        if validator is not None:
            found += self._invalid(validator, values, given)
        refused = {each.message for each in found}
        found += (each for each in self._unknown(given) if each.message not in refused)
        return values, found

    # -- declarations -------------------------------------------------------------------------------------------------

    def _input(self, name: str, schema: Json, pointer: str, required: set[str]) -> Input:
        parts = [part for part, _ in self._resolver.parts(schema, pointer)]
        default = next((part["default"] for part in parts if "default" in part), MISSING)
        description = next((part["description"] for part in parts if isinstance(part.get("description"), str)), "")
        return Input(
            name=name,
            type=_in_words(self._resolver.kinds(schema)),
            required=name in required,
            default=default,
            description=" ".join(description.split()),
            secret=self._resolver.is_secret(schema),
            pointer=pointer,
        )

    # -- findings -----------------------------------------------------------------------------------------------------

    def _found(self, message: str, pointer: str, *, hint: str = "", severity: Severity = "error") -> Diagnostic:
        key = bool(pointer) and pointer != self.pointer
        return Diagnostic(RULE, message, self.document.place(pointer, key=key), severity, hint)

    def _invalid(self, validator: Any, values: dict[str, Json], given: Mapping[str, Json]) -> Iterator[Diagnostic]:
        for error in validator.iter_errors(values):
            yield from self._explained(error, values, given)

    def _unfit(self, given: Mapping[str, Json]) -> Iterator[Diagnostic]:
        """Report what JSON cannot carry: half a character (a command line in another encoding), infinity."""
        for name, value in given.items():
            try:
                json.dumps({name: value}, ensure_ascii=False, allow_nan=False).encode()
            except UnicodeEncodeError:
                shown = name.encode(errors="replace").decode()
                yield self._found(f"the input `{shown}` is no Unicode text", self._pointer_of([name]))
            except (ValueError, TypeError):
                message = f"the input `{name}` is no JSON value: JSON has no infinity, for one"
                yield self._found(message, self._pointer_of([name]))

    def _explained(self, error: Any, values: Json, given: Mapping[str, Json]) -> Iterator[Diagnostic]:
        path: list[str | int] = list(error.instance_path)
        keyword: str = error.kind.name
        details: dict[str, Any] = error.kind.as_dict()
        if keyword == "required":
            yield self._missing([*path, details["property"]])
        elif keyword in {"additionalProperties", "unevaluatedProperties"}:
            for name in details.get("unexpected", ()):
                yield self._unexpected([*path, name], "error")
        elif not path:
            yield self._found(f"the inputs are not as the workflow wants them: {error.message}", self.pointer)
        else:
            yield self._wrong(error, path, _at(values, path), given)

    def _missing(self, path: Sequence[str | int]) -> Diagnostic:
        name = _dotted(path)
        known = self.declared.get(str(path[0])) if len(path) == 1 else None
        if known is None:
            return self._found(f"the input `{name}` is missing", self._pointer_of(path[:1]))
        about = f" ({_shortened(known.description)})" if known.description else ""
        hint = f"give it with -i {name}=…{about}"
        return self._found(f"the input `{name}` is missing; it must be {known.type}", known.pointer, hint=hint)

    def _unexpected(self, path: Sequence[str | int], severity: Severity) -> Diagnostic:
        name = _dotted(path)
        siblings = self.names if len(path) == 1 else ()
        meant = close_to(str(path[-1]), siblings)
        known = f"it has {', '.join(sorted(siblings))}" if siblings else ""
        hint = f"did you mean `{meant}`?" if meant else known
        if meant == path[-1]:
            hint = "`additionalProperties` does not see what `allOf` declares; write `unevaluatedProperties: false`"
        return self._found(
            f"the workflow has no input `{name}`", self._pointer_of(path[:-1]), hint=hint, severity=severity
        )

    def _wrong(self, error: Any, path: list[str | int], value: Json, given: Mapping[str, Json]) -> Diagnostic:
        name = _dotted(path)
        secret = str(path[0]) in self.secrets
        is_default = path[0] not in given
        subject = f"the default of the input `{name}`" if is_default else f"the input `{name}`"
        kinds = error.kind.as_dict().get("types")
        if isinstance(kinds, list) and error.kind.name == "type":
            message = f"{subject} must be {_in_words(kinds)}{'' if secret else f', not {described(value)}'}"
            wanted: Sequence[str] = kinds
        else:
            wanted = ()
            shown = "" if secret else f"{described(value)}: "
            message = f"{subject} is wrong: {shown}{_explanation(error)}"
        hint = ""
        if isinstance(value, str) and {"array", "object"} & set(wanted):
            hint = "give it as JSON: " + (f"-i {name}='[…]'" if "array" in wanted else f"-i {name}='{{…}}'")
        return self._found(message, self._pointer_of(path), hint=hint)

    def _unknown(self, given: Mapping[str, Json]) -> Iterator[Diagnostic]:
        """Report given inputs that the schema neither declares nor provides for."""
        for name in given:
            if not self.takes(name):
                yield self._unexpected([name], "error" if self.strict else "warning")

    def _pointer_of(self, path: Sequence[str | int]) -> str:
        """Give the place where an input is declared: as deep as `properties` and `items` lead."""
        schema, pointer = self.schema, self.pointer
        for token in path:
            step = "items" if isinstance(token, int) else join("properties", str(token))
            inner = [
                (found, f"{where}/{step}")
                for part, where in self._resolver.parts(schema, pointer)
                if (found := find(part, f"/{step}")) is not MISSING
            ]
            if not inner:
                break
            schema, pointer = inner[0]
        return pointer

    # -- the validator ------------------------------------------------------------------------------------------------

    @cached_property
    def _compiled(self) -> tuple[Any, tuple[Diagnostic, ...]]:
        """Give the validator, or None and what is wrong with the schema."""
        import jsonschema_rs  # only when there are inputs to check

        dangling = tuple(
            self._found(message, place, hint=hint)
            for message, place, hint in self._resolver.dangling(self.schema, self.pointer)
        )
        if dangling:
            return None, dangling
        bundle, places = self._resolver.bundle(self.schema, self.pointer)
        bundle = with_names(bundle) if next(boolean_required(bundle), None) is not None else bundle
        try:
            validator = jsonschema_rs.Draft202012Validator(
                bundle,
                validate_formats=False,  # 2020-12: `format` is an annotation unless somebody asks for more
                retriever=_refuse,
                mask=_MASK,
                pattern_options=jsonschema_rs.RegexOptions(),
            )
        except jsonschema_rs.ValidationError as error:
            path = [str(token) for token in error.instance_path]
            pointer = self.pointer
            if len(path) > 1 and path[0] == "$defs":
                pointer = join(places[path[1]], *path[2:])
            return None, (self._found(_faulty_schema(error, path, find(bundle, join("", *path))), pointer),)
        except ValueError as error:
            return None, (self._found(f"the schema cannot be used: {error}", self.pointer),)
        return validator, ()


_OPEN = ("patternProperties", "anyOf", "oneOf", "if", "dependentSchemas", "$dynamicRef", "propertyNames")
_MASK: Final = "it"


def _refuse(uri: str) -> Json:
    raise ValueError(f"{uri} is another document; a schema of inputs is complete in its own")


def _explanation(error: Any) -> str:
    """Give the validator's words. It calls the value "it", so that no message of it can give a secret away."""
    alternatives = error.kind.as_dict().get("context")
    if error.kind.name in {"anyOf", "oneOf"} and alternatives and all(alternatives):
        return ", or ".join(dict.fromkeys(_clause(each[0]) for each in alternatives))
    return _clause(error)


def _clause(error: Any) -> str:
    if error.kind.name == "type":
        return f"it must be {_in_words(error.kind.as_dict()['types'])}"
    if error.kind.name == "enum":
        return "it must be one of " + ", ".join(json.dumps(each) for each in error.kind.as_dict()["options"])
    if error.kind.name == "const":
        return f"it must be {json.dumps(error.kind.as_dict()['expected_value'])}"
    return str(error.message)


def _faulty_schema(error: Any, path: Sequence[str], value: Json) -> str:
    """Say what is wrong with a schema: which word of it, and why."""
    word = path[-1] if path else ""
    if word == "type":
        meant = close_to(value, _KINDS) if isinstance(value, str) else ""
        guess = f"; did you mean `{meant}`?" if meant else ""
        return f"`type` in this schema must be one of {', '.join(_KINDS)}, not {described(value)}{guess}"
    if error.kind.name == "format" and isinstance(value, str):
        return (
            f"the pattern {json.dumps(value)} in this schema cannot be used: it is no regular expression, "
            "or has look-around or back references, which can take for ever"
        )
    return f"this is no JSON Schema: `{word}`: {error.message}" if word else f"this is no JSON Schema: {error.message}"


def _at(value: Json, path: Sequence[str | int]) -> Json:
    for token in path:
        value = value[token]
    return value


def _dotted(path: Sequence[str | int]) -> str:
    """Give a path as a person writes it: `channels[0].uri`."""
    text = "".join(f"[{token}]" if isinstance(token, int) else f".{token}" for token in path)
    return text.removeprefix(".")


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else text[:77].rstrip() + "…"


# ---------------------------------------------------------------------------------------------------------------------
# Types
# ---------------------------------------------------------------------------------------------------------------------

_KINDS: Final[Mapping[str, str]] = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def _in_words(kinds: Sequence[str]) -> str:
    words = [_KINDS[kind] for kind in _KINDS if kind in kinds]
    return " or ".join(words) or "any value"


def _coerced(text: str, kinds: set[str]) -> Json:
    """Read a text as the first of the kinds that it can be; text is what everything can be, so it comes last."""
    if "null" in kinds and text == "null":
        return None
    if "boolean" in kinds and text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if {"integer", "number"} & kinds and re.fullmatch(r"[-+]?[0-9]{1,400}", text):
        return int(text)
    if {"integer", "number"} & kinds and re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?", text):
        number = float(text)
        if math.isfinite(number) and ("number" in kinds or number.is_integer()):
            return number if "number" in kinds else int(number)
    opening = {"array": "[", "object": "{"}
    if any(kind in kinds and text.lstrip().startswith(sign) for kind, sign in opening.items()):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text
