"""The shapes of AWS service models: read a value, check it in AWS's own words, write it.

botocore installs one JSON file per service that says what every operation takes and gives. It is read from there, as
data: botocore itself is not imported, documentation texts are skipped, and a shape is compiled when an operation that
uses it is first asked for.

A compiled shape does these things with a value, and each has one meaning:

`read`   JSON value → plain value. Only types count: members of a structure that the model does not know are dropped,
         and so are nulls, everywhere. Timestamps become Unix seconds, blobs bytes. What has the wrong JSON type is
         refused with a SerializationException, as AWS's deserialiser refuses it.
`check`  plain value → the constraints that it breaks (required, length, range, pattern, enum), in AWS's words.
`take`   JSON value → plain value, if both find nothing: one walk, for nearly all requests are in order.
`write`  plain value → JSON value: declared members only, timestamps and blobs encoded.

botocore's own validator knows neither patterns nor enums nor upper limits, and it refuses unknown members, which AWS
ignores; so a service cannot be built on it.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import importlib.util
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec

from treadle.errors import ServiceError, UsageError
from treadle.seams import Json

__all__ = [
    "Fault",
    "ListShape",
    "MapShape",
    "Operation",
    "ServiceModel",
    "Shape",
    "Structure",
    "UnfitError",
    "load_service",
    "validation_error",
]

# A value is shown in a message up to this length: AWS shows all of it, and a megabyte of text helps nobody.
_LONGEST_SHOWN: Final = 1024


# ---------------------------------------------------------------------------------------------------------------------
# What a check finds
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fault:
    """One broken constraint: the value as AWS shows it ("null", "'a_b'", "" for a secret), its path, and the rule."""

    shown: str
    path: str
    constraint: str

    def __str__(self) -> str:
        shown = f"Value {self.shown}" if self.shown else "Value"
        return f"{shown} at '{self.path}' failed to satisfy constraint: {self.constraint}"


def validation_error(faults: Iterable[Fault]) -> ServiceError:
    """Give the ValidationException that AWS answers: every fault in one message."""
    texts = [str(fault) for fault in faults]
    head = "1 validation error" if len(texts) == 1 else f"{len(texts)} validation errors"
    return ServiceError("ValidationException", f"{head} detected: {'; '.join(texts)}")


class UnfitError(Exception):
    """A JSON value with which something is wrong; nobody has looked what."""


class _MisfitError(UnfitError):
    """A JSON value of the wrong type; `path` is filled on the way out, innermost name first."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.path: list[str] = []

    def under(self, name: str) -> _MisfitError:
        self.path.append(name)
        return self


def _shown(value: Json) -> str:
    text = _java(value)
    return f"'{text}'" if len(text) <= _LONGEST_SHOWN else f"'{text[:_LONGEST_SHOWN]}…'"


def _java(value: Json) -> str:
    """Give a value as Java's toString does, which is how AWS shows it."""
    match value:
        case bool():
            return "true" if value else "false"
        case list():
            return f"[{', '.join(_java(item) for item in value)}]"
        case dict():
            return f"{{{', '.join(f'{key}={_java(item)}' for key, item in value.items())}}}"
        case bytes():
            return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
    return str(value)


def _token(value: Json) -> str:
    """Name a scalar as AWS's JSON parser does."""
    match value:
        case bool():
            return "TRUE_VALUE" if value else "FALSE_VALUE"
        case str():
            return "STRING_VALUE"
    return "NUMBER_VALUE"


def _misfit(value: Json, wanted: str) -> _MisfitError:
    """Say what AWS's deserialiser says about a value where the scalar `wanted` ("a String") must stand."""
    match value:
        case list():
            return _MisfitError("Start of list found where not expected")
        case dict():
            return _MisfitError("Start of structure or map found where not expected.")
    return _MisfitError(f"{_token(value)} can not be converted to {wanted}")


# ---------------------------------------------------------------------------------------------------------------------
# Shapes
# ---------------------------------------------------------------------------------------------------------------------


class Shape(Protocol):
    """A compiled shape. The base of them all checks nothing."""

    kind: str
    """The type of the model: "string", "integer", "list" …"""

    def read(self, value: Json) -> Any:
        """Turn JSON into a plain value."""
        ...

    def take(self, value: Json) -> Any:
        """Read and check at once. Raises `UnfitError` where either would find something."""
        ...

    def check(self, value: Any, path: str, faults: list[Fault]) -> None:
        """Add what a value that was read breaks."""
        ...

    def rules(self) -> list[str]:
        """Give the constraints of a scalar, as a list's or map's message names them; empty for the others."""
        ...

    def broken(self, value: Any) -> list[str]:
        """Give those of the rules that a value breaks."""
        ...

    def write(self, value: Any) -> Json:
        """Turn a plain value into JSON."""
        ...


class _Scalar:
    """What scalars have in common: their faults stand at their own path."""

    __slots__ = ("kind", "sensitive")

    def __init__(self, definition: _Definition) -> None:
        self.kind = definition.type
        self.sensitive = definition.sensitive

    def read(self, value: Json) -> Any:
        return value

    def take(self, value: Json) -> Any:
        value = self.read(value)
        if self.broken(value):
            raise UnfitError
        return value

    def check(self, value: Any, path: str, faults: list[Fault]) -> None:
        faults.extend(Fault("" if self.sensitive else _shown(value), path, rule) for rule in self.broken(value))

    def rules(self) -> list[str]:
        return []

    def broken(self, value: Any) -> list[str]:  # noqa: ARG002  (most scalars take every value that they can read)
        return []

    def write(self, value: Any) -> Json:
        return value


def _length_rules(definition: _Definition) -> tuple[str, str]:
    return (
        f"Member must have length less than or equal to {_number(definition.max)}",
        f"Member must have length greater than or equal to {_number(definition.min)}",
    )


def _number(limit: float | None) -> str:
    return str(limit)


# Requests resemble each other: roles, images, buckets. What a pattern has matched need not be matched again.
_FITTING: Final = 256
_LONGEST_FITTING: Final = 256


class _String(_Scalar):
    """A string; `fitting` are values of late that were in order."""

    __slots__ = ("also", "enum", "enum_rule", "fitting", "length_rules", "max", "min", "pattern", "pattern_rule")

    def __init__(self, definition: _Definition, also: str | None) -> None:
        super().__init__(definition)
        self.min, self.max = definition.min, definition.max
        self.length_rules = _length_rules(definition)
        self.enum = frozenset(definition.enum)
        self.also = re.compile(also) if also else None
        self.enum_rule = f"Member must satisfy enum value set: [{', '.join(definition.enum)}]"
        self.pattern = definition.pattern
        self.pattern_rule = f"Member must satisfy regular expression pattern: {_printed(definition.pattern or '')}"
        self.fitting: set[str] = set()

    def take(self, value: Json) -> str:
        if type(value) is str and value in self.fitting:
            return value
        text: str = super().take(value)
        if (self.pattern or self.enum) and not self.sensitive and len(text) <= _LONGEST_FITTING:
            if len(self.fitting) >= _FITTING:
                self.fitting.clear()
            self.fitting.add(text)
        return text

    def read(self, value: Json) -> str:
        if type(value) is not str:
            raise _misfit(value, "a String")
        return value

    def rules(self) -> list[str]:
        longest, shortest = self.length_rules
        rules = [longest] * (self.max is not None) + [shortest] * (self.min is not None)
        return rules + [self.enum_rule] * bool(self.enum) + [self.pattern_rule] * bool(self.pattern)

    def broken(self, value: str) -> list[str]:
        broken = []
        if self.enum and value not in self.enum and not (self.also and self.also.fullmatch(value)):
            broken.append(self.enum_rule)
        if self.max is not None and len(value) > self.max:
            broken.append(self.length_rules[0])
        if self.min is not None and len(value) < self.min:
            broken.append(self.length_rules[1])
        if self.pattern is not None and not _matches(self.pattern, value):
            broken.append(self.pattern_rule)
        return broken

    def write(self, value: Any) -> str:
        if not isinstance(value, str):
            raise TypeError(f"a string is needed, not {type(value).__name__}")
        return value


class _Blob(_Scalar):
    __slots__ = ()

    def read(self, value: Json) -> bytes:
        if type(value) is not str:
            raise _misfit(value, "a Blob")
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise _MisfitError("Invalid Base64 in a blob") from None

    def write(self, value: Any) -> str:
        return base64.b64encode(value.encode() if isinstance(value, str) else value).decode("ascii")


class _Boolean(_Scalar):
    __slots__ = ()

    def read(self, value: Json) -> bool:
        if type(value) is not bool:
            raise _misfit(value, "a Boolean")
        return value


class _Number(_Scalar):
    __slots__ = ("max", "min", "wanted")

    def __init__(self, definition: _Definition) -> None:
        super().__init__(definition)
        self.min, self.max = definition.min, definition.max
        article = "an" if definition.type == "integer" else "a"
        self.wanted = f"{article} {definition.type.capitalize()}"

    def rules(self) -> list[str]:
        highest = f"Member must have value less than or equal to {_number(self.max)}"
        lowest = f"Member must have value greater than or equal to {_number(self.min)}"
        return [highest] * (self.max is not None) + [lowest] * (self.min is not None)

    def broken(self, value: float) -> list[str]:
        if self.max is not None and value > self.max:
            return self.rules()[:1]
        if self.min is not None and value < self.min:
            return self.rules()[-1:]
        return []


class _Integer(_Number):
    __slots__ = ("bits",)

    def __init__(self, definition: _Definition) -> None:
        super().__init__(definition)
        self.bits = 31 if definition.type == "integer" else 63

    def read(self, value: Json) -> int:
        if type(value) is float and math.isfinite(value):
            whole = int(value)  # AWS's deserialiser cuts decimals off
        elif type(value) is int:
            whole = value
        else:
            raise _misfit(value, self.wanted)
        if not -(1 << self.bits) <= whole < 1 << self.bits:
            raise _misfit(value, self.wanted)
        return whole


_NOT_NUMBERS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class _Float(_Number):
    __slots__ = ()

    def read(self, value: Json) -> float:
        if type(value) in {int, float}:
            return value  # type: ignore[no-any-return]  # just found out
        if type(value) is str and value in _NOT_NUMBERS:
            return _NOT_NUMBERS[value]
        raise _misfit(value, self.wanted)

    def write(self, value: Any) -> Json:
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


# The years 1 to 9999, beyond which no calendar here can follow.
_FIRST_SECOND: Final = -62_135_596_800
_LAST_SECOND: Final = 253_402_300_799


class _Timestamp(_Scalar):
    """Unix seconds. On the wire a number, unless the model wants `iso8601` or `rfc822`; all three are read."""

    __slots__ = ("format",)

    def __init__(self, definition: _Definition) -> None:
        super().__init__(definition)
        self.format = definition.timestamp_format

    def read(self, value: Json) -> float:
        seconds = value if type(value) in {int, float} else _seconds(value) if type(value) is str else None
        if seconds is None or not _FIRST_SECOND <= seconds <= _LAST_SECOND:
            raise _misfit(value, "milliseconds since epoch")
        return float(seconds)

    def write(self, value: Any) -> Json:
        seconds = value.timestamp() if isinstance(value, datetime) else value
        if self.format == "iso8601":
            return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
        if self.format == "rfc822":
            from email.utils import format_datetime  # as in `_seconds`

            return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)
        if not math.isfinite(seconds):
            raise ValueError("a timestamp must be a finite number of seconds")
        return round(float(seconds), 3)


def _seconds(text: str) -> float | None:
    # Times are numbers nearly always: a command line need not import a mail library for the rest.
    from email.utils import parsedate_to_datetime

    for reader in (float, datetime.fromisoformat, parsedate_to_datetime):
        try:
            found = reader(text)
            if isinstance(found, datetime):
                found = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError, TypeError):
            continue
        return found
    return None


class _Document(_Scalar):
    """Any JSON value."""

    __slots__ = ()


class ListShape:
    """A list of `member`."""

    __slots__ = ("kind", "length_rules", "max", "member", "min")

    member: Shape

    def __init__(self, definition: _Definition) -> None:
        self.kind = "list"
        self.min, self.max = definition.min, definition.max
        self.length_rules = _length_rules(definition)

    def read(self, value: Json) -> list[Any]:
        """Give the items that are not null."""
        if type(value) is not list:
            raise _misfit(value, "") if type(value) is dict else _MisfitError("Expected list or null")
        read = self.member.read
        out = []
        for index, item in enumerate(value, 1):
            if item is not None:
                try:
                    out.append(read(item))
                except _MisfitError as misfit:
                    raise misfit.under("member").under(str(index)) from None
        return out

    def take(self, value: Json) -> list[Any]:
        """Read and check. Raises `UnfitError`."""
        if type(value) is not list:
            raise UnfitError
        take = self.member.take
        return _of_size(self, [take(item) for item in value if item is not None])

    def check(self, value: list[Any], path: str, faults: list[Fault]) -> None:
        """Add what the list and its items break."""
        _check_size(self, value, path, faults)
        rules = self.member.rules()
        if not rules:
            for index, item in enumerate(value, 1):
                self.member.check(item, f"{path}.{index}.member", faults)
        elif any(self.member.broken(item) for item in value):
            faults.append(Fault(_shown(value), path, f"Member must satisfy constraint: [{', '.join(rules)}]"))

    def rules(self) -> list[str]:
        """Give nothing: a collection reports at its own paths."""
        return []

    def broken(self, value: Any) -> list[str]:  # noqa: ARG002  (as `rules`)
        """Give nothing: a collection reports at its own paths."""
        return []

    def write(self, value: Any) -> Json:
        """Turn a plain value into JSON."""
        write = self.member.write
        return [write(item) for item in value]


class MapShape:
    """A map of `key` to `value`."""

    __slots__ = ("key", "kind", "length_rules", "max", "min", "value")

    key: Shape
    value: Shape

    def __init__(self, definition: _Definition) -> None:
        self.kind = "map"
        self.min, self.max = definition.min, definition.max
        self.length_rules = _length_rules(definition)

    def read(self, value: Json) -> dict[str, Any]:
        """Give the values that are not null."""
        if type(value) is not dict:
            raise _misfit(value, "") if type(value) is list else _MisfitError("Expected null")
        read = self.value.read
        out = {}
        for key, item in value.items():
            if item is not None:
                try:
                    out[key] = read(item)
                except _MisfitError as misfit:
                    raise misfit.under(key) from None
        return out

    def take(self, value: Json) -> dict[str, Any]:
        """Read and check. Raises `UnfitError`."""
        if type(value) is not dict:
            raise UnfitError
        key, take = self.key.take, self.value.take
        return _of_size(self, {key(name): take(item) for name, item in value.items() if item is not None})

    def check(self, value: dict[str, Any], path: str, faults: list[Fault]) -> None:
        """Add what the map, its keys and its values break."""
        _check_size(self, value, path, faults)
        if any(self.key.broken(key) for key in value):
            rules = ", ".join(self.key.rules())
            faults.append(Fault(_shown(value), path, f"Map keys must satisfy constraint: [{rules}]"))
        rules_of_value = self.value.rules()
        if not rules_of_value:
            for key, item in value.items():
                self.value.check(item, f"{path}.{key}.member", faults)
        elif any(self.value.broken(item) for item in value.values()):
            rules = ", ".join(rules_of_value)
            faults.append(Fault(_shown(value), path, f"Map value must satisfy constraint: [{rules}]"))

    def rules(self) -> list[str]:
        """Give nothing: a collection reports at its own paths."""
        return []

    def broken(self, value: Any) -> list[str]:  # noqa: ARG002  (as `rules`)
        """Give nothing: a collection reports at its own paths."""
        return []

    def write(self, value: Any) -> Json:
        """Turn a plain value into JSON."""
        write = self.value.write
        return {key: write(item) for key, item in value.items() if item is not None}


_Collection = TypeVar("_Collection", list[Any], dict[str, Any])


def _of_size(shape: ListShape | MapShape, value: _Collection) -> _Collection:
    size = len(value)
    if (shape.min is not None and size < shape.min) or (shape.max is not None and size > shape.max):
        raise UnfitError
    return value


def _check_size(shape: ListShape | MapShape, value: list[Any] | dict[str, Any], path: str, faults: list[Fault]) -> None:
    if shape.max is not None and len(value) > shape.max:
        faults.append(Fault(_shown(value), path, shape.length_rules[0]))
    if shape.min is not None and len(value) < shape.min:
        faults.append(Fault(_shown(value), path, shape.length_rules[1]))


class Structure:
    """A structure: members by name, some of them required. `union` ones have exactly one member."""

    __slots__ = ("kind", "members", "needed", "required", "union")

    def __init__(self, definition: _Definition) -> None:
        self.kind = "structure"
        self.members: dict[str, Shape] = {}
        self.required = definition.required
        self.needed = frozenset(definition.required)
        self.union = definition.union

    def read(self, value: Json) -> dict[str, Any]:
        """Give the known members that are not null."""
        if type(value) is not dict:
            raise _misfit(value, "") if type(value) is list else _MisfitError("Expected null")
        members = self.members
        out = {}
        for name, item in value.items():
            member = members.get(name)
            if member is not None and item is not None:
                try:
                    out[name] = member.read(item)
                except _MisfitError as misfit:
                    raise misfit.under(_lower_camel(name)) from None
        if self.union and len(out) > 1:
            raise _MisfitError(f"Unions must have exactly one member set, not {', '.join(out)}")
        return out

    def take(self, value: Json) -> dict[str, Any]:
        """Read and check. Raises `UnfitError`."""
        if type(value) is not dict:
            raise UnfitError
        members = self.members
        out = {}
        for name, item in value.items():
            member = members.get(name)
            if member is not None and item is not None:
                out[name] = member.take(item)
        if (self.union and len(out) > 1) or not self.needed <= out.keys():
            raise UnfitError
        return out

    def check(self, value: dict[str, Any], path: str, faults: list[Fault]) -> None:
        """Add what is missing, and what the members break."""
        prefix = f"{path}." if path else ""
        faults.extend(
            Fault("null", f"{prefix}{_lower_camel(name)}", "Member must not be null")
            for name in self.required
            if name not in value
        )
        for name, item in value.items():
            self.members[name].check(item, f"{prefix}{_lower_camel(name)}", faults)

    def rules(self) -> list[str]:
        """Give nothing: a structure reports at the paths of its members."""
        return []

    def broken(self, value: Any) -> list[str]:  # noqa: ARG002  (as `rules`)
        """Give nothing: a structure reports at the paths of its members."""
        return []

    def write(self, value: Any) -> dict[str, Json]:
        """Give the declared members that are not None."""
        members = self.members
        out = {}
        for name, item in value.items():
            member = members.get(name)
            if member is not None and item is not None:
                try:
                    out[name] = member.write(item)
                except TypeError as error:
                    raise TypeError(f"{name}: {error}") from None
        return out

    def accept(self, value: Json) -> dict[str, Any]:
        """Read and check a request's input. Raises `ServiceError`: SerializationException or ValidationException."""
        try:
            return self.take(value)
        except UnfitError:
            plain = self.parse(value)
        faults: list[Fault] = []
        self.check(plain, "", faults)
        if faults:
            raise validation_error(faults)
        return plain

    def parse(self, value: Json) -> dict[str, Any]:
        """Read, without checks. Raises `ServiceError`: SerializationException."""
        try:
            return self.read(value)
        except _MisfitError as misfit:
            # AWS does not say where; a person wants to know.
            place = f" (at '{'.'.join(reversed(misfit.path))}')" if misfit.path else ""
            raise ServiceError("SerializationException", f"{misfit}{place}") from None


@cache
def _lower_camel(name: str) -> str:
    return name[:1].lower() + name[1:]


# ---------------------------------------------------------------------------------------------------------------------
# Patterns
# ---------------------------------------------------------------------------------------------------------------------

_PATTERN_TIMEOUT: Final = 0.25


def _printed(pattern: str) -> str:
    """Give a pattern as AWS prints it: with the anchor that the model has lost, except where it would say nothing."""
    return pattern if pattern.startswith(("^", ".")) else f"^{pattern}"


def _matches(pattern: str, text: str) -> bool:
    return _matcher(pattern)(text)


@lru_cache(maxsize=2048)
def _matcher(pattern: str) -> Callable[[str], bool]:
    """Compile a pattern of a service model; it must match the whole text.

    RE2 needs time in proportion to the text. The few patterns that it cannot take go to `regex` with a time limit,
    because some of AWS's own are exponential: a text that takes longer does not match.
    """
    # Only a service that checks needs them.
    import re2

    options = re2.Options()
    options.log_errors = False
    # A set of one pattern only says whether it matches; a match object, made in Python, takes five times as long.
    linear = re2.Set.FullMatchSet(options)
    try:
        linear.Add(pattern)
    except re2.error:
        return _slow_matcher(pattern)
    linear.Compile()
    return lambda text: bool(linear.Match(text))


def _slow_matcher(pattern: str) -> Callable[[str], bool]:
    import regex

    # AWS writes the characters beyond the basic plane as a range of surrogate pairs, which is none in Python. `\d` and
    # its like are ASCII in Java as in RE2; here that flag would take `\p{…}` in, too.
    readable = pattern.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF")
    compiled = regex.compile(readable, 0 if r"\p" in pattern else regex.ASCII)

    def matches(text: str) -> bool:
        try:
            return compiled.fullmatch(text, timeout=_PATTERN_TIMEOUT) is not None
        except TimeoutError:
            return False

    return matches


# ---------------------------------------------------------------------------------------------------------------------
# Models
# ---------------------------------------------------------------------------------------------------------------------


class _Reference(msgspec.Struct, frozen=True):
    shape: str


class _Definition(msgspec.Struct, frozen=True):
    """A shape as the model's file has it; what is not named here is not even decoded."""

    type: str
    members: dict[str, _Reference] = {}
    required: tuple[str, ...] = ()
    member: _Reference | None = None
    key: _Reference | None = None
    value: _Reference | None = None
    min: int | float | None = None
    max: int | float | None = None
    pattern: str | None = None
    enum: tuple[str, ...] = ()
    union: bool = False
    document: bool = False
    sensitive: bool = False
    timestamp_format: str = msgspec.field(default="", name="timestampFormat")


class _OperationDefinition(msgspec.Struct, frozen=True):
    input: _Reference | None = None
    output: _Reference | None = None
    errors: tuple[_Reference, ...] = ()


class _Metadata(msgspec.Struct, frozen=True):
    protocol: str
    json_version: str = msgspec.field(default="1.0", name="jsonVersion")
    target_prefix: str = msgspec.field(default="", name="targetPrefix")
    signing_name: str = msgspec.field(default="", name="signingName")
    endpoint_prefix: str = msgspec.field(default="", name="endpointPrefix")
    api_version: str = msgspec.field(default="", name="apiVersion")
    xml_namespace: str = msgspec.field(default="", name="xmlNamespace")


class _File(msgspec.Struct, frozen=True):
    metadata: _Metadata
    operations: dict[str, _OperationDefinition]
    shapes: dict[str, msgspec.Raw]


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation: what it takes, what it gives (None: an empty answer), and the errors that the model names."""

    name: str
    input: Structure
    output: Structure | None
    errors: tuple[str, ...]


_EMPTY: Final = _Definition("structure")
_definition_decoder: Final = msgspec.json.Decoder(_Definition)
_file_decoder: Final = msgspec.json.Decoder(_File)


class ServiceModel:
    """One service. `also` allows further values of enums: shape name → regular expression that they match whole.

    `protocol` is the one that is spoken, for a service that speaks several; by default the model's own.
    """

    def __init__(
        self, name: str, document: bytes, also: Mapping[str, str] | None = None, protocol: str | None = None
    ) -> None:
        file = _file_decoder.decode(document)
        self.name = name
        self.protocol = protocol or file.metadata.protocol
        self.json_version = file.metadata.json_version
        self.target_prefix = file.metadata.target_prefix
        self.signing_name = file.metadata.signing_name or file.metadata.endpoint_prefix or name
        self.api_version = file.metadata.api_version
        self.xml_namespace = file.metadata.xml_namespace
        self._also = also or {}
        self._operations = file.operations
        self._raw = file.shapes
        self._shapes: dict[str, Shape] = {}
        self._compiled: dict[str, Operation] = {}

    def __contains__(self, operation: str) -> bool:
        return operation in self._operations

    @property
    def operation_names(self) -> frozenset[str]:
        """The names of all operations of the model."""
        return frozenset(self._operations)

    def operation(self, name: str) -> Operation:
        """Give an operation. Raises `KeyError`."""
        found = self._compiled.get(name)
        if found is None:
            definition = self._operations[name]
            found = Operation(
                name,
                self._structure(definition.input) or Structure(_EMPTY),
                self._structure(definition.output),
                tuple(error.shape for error in definition.errors),
            )
            self._compiled[name] = found
        return found

    def shape(self, name: str) -> Shape:
        """Give a shape. Raises `KeyError`."""
        found = self._shapes.get(name)
        return self._compile(name) if found is None else found

    def errors_with(self, member: str) -> frozenset[str]:
        """Give the errors of the model that have a member of that name."""
        named = {each.shape for operation in self._operations.values() for each in operation.errors}
        return frozenset(name for name in named if member in _definition_decoder.decode(self._raw[name]).members)

    def _structure(self, reference: _Reference | None) -> Structure | None:
        if reference is None:
            return None
        shape = self.shape(reference.shape)
        if not isinstance(shape, Structure):
            raise UsageError(f"The model of {self.name} is damaged: {reference.shape} should be a structure.")
        return shape

    def _compile(self, name: str) -> Shape:
        definition = _definition_decoder.decode(self._raw[name])
        if not definition.timestamp_format and self.protocol in _XML:
            definition = msgspec.structs.replace(definition, timestamp_format="iso8601")
        shape = _new(definition, self._also.get(name))
        # Known before its members are compiled: shapes may contain themselves.
        self._shapes[name] = shape
        match shape:
            case Structure():
                shape.members = {key: self.shape(member.shape) for key, member in definition.members.items()}
            case ListShape() if definition.member:
                shape.member = self.shape(definition.member.shape)
            case MapShape() if definition.key and definition.value:
                shape.key = self.shape(definition.key.shape)
                shape.value = self.shape(definition.value.shape)
        return shape


# Protocols whose answers are XML: a timestamp without a format of its own is text there.
_XML: Final = frozenset({"ec2", "query", "rest-xml"})

_KINDS: Final[Mapping[str, Callable[[_Definition], Shape]]] = {
    "structure": Structure,
    "list": ListShape,
    "map": MapShape,
    "blob": _Blob,
    "boolean": _Boolean,
    "integer": _Integer,
    "long": _Integer,
    "float": _Float,
    "double": _Float,
    "timestamp": _Timestamp,
}


def _new(definition: _Definition, also: str | None) -> Shape:
    if definition.document:
        return _Document(definition)
    if definition.type in {"string", "character"}:
        return _String(definition, also)
    return _KINDS[definition.type](definition)


def load_service(service: str, also: tuple[tuple[str, str], ...] = (), *, protocol: str | None = None) -> ServiceModel:
    """Read the model of a service, by the name of its folder in botocore ("sagemaker", "logs"), once per process.

    `also` are pairs of shape name and regular expression: further values that an enum takes. `protocol` ("json",
    "query") is for a service that speaks several. Raises `UsageError` when botocore, or its data of that service, is
    not installed.
    """
    return _loaded(service, also, protocol)


@cache
def _loaded(service: str, also: tuple[tuple[str, str], ...], protocol: str | None) -> ServiceModel:
    path = _model_file(service)
    content = path.read_bytes()
    document = gzip.decompress(content) if path.suffix == ".gz" else content
    return ServiceModel(service, document, dict(also), protocol)


def _model_file(service: str) -> Path:
    # The place of the package, without running it: importing botocore costs a quarter of a second.
    found = importlib.util.find_spec("botocore")
    if found is None or not found.submodule_search_locations:
        raise UsageError("The AWS service models are missing: botocore is not installed.", hint="pip install botocore")
    versions = Path(found.submodule_search_locations[0], "data", service)
    files = sorted(versions.glob("*/service-2.json*"))
    if not files or "/" in service:
        raise UsageError(f"The installed botocore has no service {service!r}.")
    return files[-1]
