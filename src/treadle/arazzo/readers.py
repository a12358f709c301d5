"""A plain value becomes what a field of the model takes, and what is wrong with it a diagnostic with its place.

What an object may have is a `Shape`; `an` reads it. Nothing here stops at the first problem: where a member is wrong
the object is built without it, so that the rest can be checked too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, Unpack

from treadle.arazzo.location import Document, MoreOfFinding, join
from treadle.arazzo.slips import braced, close_to, cut_off, elsewhere, in_list, not_a_list, not_a_map
from treadle.errors import Diagnostic, Repair, Severity
from treadle.seams import Json

__all__ = [
    "WRONG",
    "At",
    "Builder",
    "Member",
    "Reader",
    "Shape",
    "Version",
    "Wrong",
    "an",
    "anything",
    "described",
    "integer",
    "list_of",
    "map_of",
    "number",
    "one_of",
    "prose",
    "schema",
    "shortened",
    "text",
]

Version: TypeAlias = "tuple[int, int]"


@dataclass(frozen=True, slots=True)
class At:
    """A place in the document and what a message calls it."""

    pointer: str
    what: str

    def member(self, name: str, what: str) -> At:
        """Give the place of a member, or of an item."""
        return At(join(self.pointer, name), what)


class Wrong:
    """What a reader gives for a value that it has complained about."""


WRONG: Final = Wrong()

Reader: TypeAlias = "Callable[[Builder, Json, At], Any]"


@dataclass(slots=True)
class Builder:
    """The document that is read and what was found so far."""

    document: Document
    found: list[Diagnostic] = field(default_factory=list)
    document_version: Version = (1, 1)

    def report(self, rule: str, message: str, pointer: str, **more: Unpack[MoreOfFinding]) -> Wrong:
        """Add a finding, and give what stands for the value that it is about."""
        self.found.append(self.document.finding(rule, message, pointer, **more))
        return WRONG

    def wrong_type(self, value: Json, at: At, wanted: str, *, hint: str = "", repair: Repair | None = None) -> Wrong:
        """Report a value that is of another type than `wanted`."""
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


def _shown(document: Document) -> str:
    return str(document.value.get("arazzo"))


def described(value: Json) -> str:
    """Say what a value is, for "…, not a list"."""
    if isinstance(value, bool):
        return f"the truth value {json.dumps(value)}"
    if value is None:
        return "empty (null)"
    if isinstance(value, str):
        return f"the text {shortened(value)}"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    return "a list" if isinstance(value, list) else "an object"


def shortened(text: str) -> str:
    """Quote a text for a message, cut where it is long."""
    return json.dumps(text if len(text) <= 40 else text[:37] + "...", ensure_ascii=False)


# ---------------------------------------------------------------------------------------------------------------------
# Simple values
# ---------------------------------------------------------------------------------------------------------------------


def text(builder: Builder, value: Json, at: At) -> str | Wrong:
    """Read a text."""
    if isinstance(value, str):
        return value
    quoted = f'put it in quotes: "{json.dumps(value)}"' if isinstance(value, (int, float)) else ""
    return builder.wrong_type(value, at, "a text", hint=quoted)


def prose(builder: Builder, value: Json, at: At) -> str | Wrong:
    """Read a text that only people read: a number or a truth value there does no harm."""
    if not isinstance(value, (bool, int, float)):
        return text(builder, value, at)
    written = json.dumps(value)
    builder.report(
        "wrong-type",
        f"{at.what} must be a text, not {described(value)}",
        at.pointer,
        severity="warning",
        hint=f'put it in quotes: "{written}"',
    )
    return written


def integer(builder: Builder, value: Json, at: At) -> int | Wrong:
    """Read a whole number; JSON Schema 2020-12 takes 3.0 for one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value % 1 != 0:
        return builder.wrong_type(value, at, "a whole number", hint=_unquote(value))
    return int(value)


def number(builder: Builder, value: Json, at: At) -> float | Wrong:
    """Read a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return builder.wrong_type(value, at, "a number", hint=_unquote(value))
    return value


def _unquote(value: Json) -> str:
    return "leave out the quotes" if isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) else ""


def anything(_builder: Builder, value: Json, _at: At) -> Json:
    """Read any value."""
    return value


def schema(builder: Builder, value: Json, at: At) -> Json:
    """Read a JSON Schema."""
    if isinstance(value, (dict, bool)):
        return value
    return builder.wrong_type(value, at, "a JSON Schema, that is an object")


# What else people write for the type of an action.
_OTHER_WORDS: Final = {
    **dict.fromkeys(("continue", "next"), "leave it out: the next step follows by itself"),
    **dict.fromkeys(("step", "workflow", "jump", "call", "invoke"), "write `goto`, with a `stepId` or a `workflowId`"),
    **dict.fromkeys(("stop", "fail", "abort", "exit"), "write `end`"),
}


def one_of(*known: str, newer: Sequence[str] = ()) -> Reader:
    """Read one of several words; those in `newer` came with 1.1."""

    def read(builder: Builder, value: Json, at: At) -> str | Wrong:
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
# Lists, maps and objects
# ---------------------------------------------------------------------------------------------------------------------


def list_of(read: Reader, *, of: Shape | None = None, at_least: int = 0, required: bool = False) -> Reader:
    """Read a list; `of` is the shape of its items, where they are objects."""

    def read_list(builder: Builder, value: Json, at: At) -> tuple[Any, ...] | Wrong:
        if not isinstance(value, list):
            slip = not_a_list(value, of.names if of else (), of.naming if of else "")
            builder.wrong_type(value, at, "a list", hint=slip.hint, repair=slip.repair)
            only = read(builder, value, At(at.pointer, f"the only item of {at.what}")) if slip.single else WRONG
            return WRONG if only is WRONG else (only,)
        if len(value) < at_least:
            # Needed since 1.1; what 1.0 requires is required all the same.
            severity = ERROR if builder.document_version >= (1, 1) or required else WARNING
            message = f"{at.what} must have at least one item"
            builder.report("wrong-value", message, at.pointer, key=True, severity=severity)
        items = (
            read(builder, each, at.member(str(index), f"item {index + 1} of {at.what}"))
            for index, each in enumerate(value)
        )
        return tuple(item for item in items if item is not WRONG)

    return read_list


def map_of(read: Reader, what: str) -> Reader:
    """Read an object whose members have names that the author chose; `what` they are."""

    def read_map(builder: Builder, value: Json, at: At) -> dict[str, Any] | Wrong:
        if not isinstance(value, dict):
            slip = not_a_map(value)
            return builder.wrong_type(
                value, at, f"an object that gives {what} by name", hint=slip.hint, repair=slip.repair
            )
        members = {key: read(builder, each, at.member(key, f"`{key}` of {at.what}")) for key, each in value.items()}
        return {key: member for key, member in members.items() if member is not WRONG}

    return read_map


@dataclass(frozen=True, slots=True)
class Member:
    """A field of an object: its name, how to read it, and what stands in for a required one that is wrong."""

    name: str
    read: Reader
    required: bool = False
    fallback: Any = ""
    newer: bool = False
    attribute: str = ""
    null: bool = False
    """Whether null is a value here; elsewhere it is an empty line that somebody left."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What an object may have, and which class is made of it."""

    name: str
    make: Callable[..., Any]
    members: tuple[Member, ...]
    newer: bool = False
    naming: str = ""
    """The field that tells objects of this shape apart."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its fields."""
        return tuple(member.name for member in self.members)


def _a(shape: Shape) -> str:
    return f"{'an' if shape.name[0] in 'AEIOU' else 'a'} {shape.name}"


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def an(shape: Shape) -> Reader:
    """Read an object of that shape."""

    def read(builder: Builder, value: Json, at: At) -> Any:
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
    builder: Builder, value: Mapping[str, Json], at: At, shape: Shape, member: Member, written: str
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
    return stand_in if read is WRONG else {attribute: read}


def _unknown_fields(builder: Builder, value: Mapping[str, Json], at: At, shape: Shape) -> dict[str, str]:
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
        severity = ERROR if wrong else WARNING
        hint = hint or f"it is ignored; its fields are {', '.join(shape.names)}"
        pointer = join(at.pointer, key)
        builder.report("unknown-field", message, pointer, severity=severity, hint=hint, key=True, repair=repair)
    return misspelt


ERROR: Final[Severity] = "error"
WARNING: Final[Severity] = "warning"
