"""Bytes become a `Document`: YAML in the 1.2 core schema, or JSON.

Both syntaxes are read as one stream of PyYAML's events (libyaml's for YAML, `json_events` for JSON, because libyaml
refuses JSON's surrogate escapes), and one iterative constructor makes plain values of it. So what the specification
asks of a document (§1.1: keys are strings, tags are JSON's) and what keeps a hostile one harmless are written once:

* a key twice in one mapping, a tag that JSON does not have, a second document in the file: errors;
* scalars are numbers, booleans or null only as YAML 1.2 has it: `yes`, `on`, `2024-01-31` are strings, and so is
  `012`, which older readers take for ten;
* keys keep their source text, so that `200:` is "200"; `<<` is a key like any other;
* size, depth, and what aliases expand to are bounded. Nothing here recurses: `yaml.compose` and `yaml.load` end the
  interpreter on 100,000 open brackets.

Positions are not kept. When one is asked for, `_positions` walks the text again.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, NoReturn

import yaml
from yaml import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from treadle.arazzo.json_events import SURROGATE, JsonSyntax, json_events
from treadle.arazzo.location import LINE_BREAK, Document, Node, Span, join, lines_of, pointed
from treadle.errors import DescriptionError, Diagnostic
from treadle.seams import Json

__all__ = ["MAX_DEPTH", "MAX_EXPANSION", "MAX_SIZE", "events_of", "load"]

MAX_SIZE: Final = 16 * 1024 * 1024
"""Bytes. The largest public API descriptions have about 10 MB."""
MAX_DEPTH: Final = 200
"""Levels. The deepest public API descriptions have about 40."""
MAX_EXPANSION: Final = 500_000
"""Values that aliases stand for, all together."""


class _Fault(Exception):  # noqa: N818  (never leaves this module)
    """Something is wrong with the text at a span."""

    def __init__(self, message: str, span: Span, *, pointer: str = "", hint: str = "", rule: str = "syntax") -> None:
        super().__init__(message)
        self.message, self.span, self.pointer, self.hint, self.rule = message, span, pointer, hint, rule


def load(data: bytes, uri: str, *, label: str = "") -> Document:
    """Read a document. `label` is what messages call it, the URI unless given.

    Raises `DescriptionError` with one diagnostic that says where and what.
    """
    label = label or uri
    text = _decoded(data, label)
    try:
        return _json_document(text, uri, label) if text.lstrip()[:1] in _JSON_STARTS else _yaml(text, uri, label)
    except _Fault as fault:
        lines = lines_of(text)
        place = pointed(label, fault.pointer, lines, _within(lines, fault.span))
        raise DescriptionError([Diagnostic(fault.rule, fault.message, place, hint=fault.hint)]) from None


_JSON_STARTS = ("{", "[")


def events_of(document: Document) -> Iterator[Any]:
    """Give the events of a document that has been read, in the syntax that it is written in."""
    text = document.text
    if text.lstrip()[:1] in _JSON_STARTS:
        try:
            return iter(list(json_events(text)))
        except JsonSyntax:
            pass
    return _yaml_events(text)


def _yaml(text: str, uri: str, label: str) -> Document:
    value = _construct(_yaml_events(text))
    return Document(uri, value, label=label, text=text, walk=lambda: _positions(_yaml_events(text)))


def _json_document(text: str, uri: str, label: str) -> Document:
    """Read as JSON; what is no JSON may still be YAML, whose flow style is looser (comments, unquoted keys)."""
    try:
        value = _fast_json(text)
        if value is _SLOW:
            value = _construct(json_events(text))
    except JsonSyntax as no_json:
        try:
            return _yaml(text, uri, label)
        except _Fault as fault:
            # A fault in the content of good YAML (a key twice) is said as it is; else it was meant to be JSON.
            if fault.rule != "syntax":
                raise
            hint = "JSON has no comments: take it out" if text[no_json.offset :].startswith(("//", "/*")) else ""
            raise _Fault(f"this is not JSON: {no_json.message}", _span_at(text, no_json.offset), hint=hint) from None
    return Document(uri, value, label=label, text=text, walk=lambda: _positions(json_events(text)))


# ---------------------------------------------------------------------------------------------------------------------
# Text
# ---------------------------------------------------------------------------------------------------------------------

# Longest first: the mark of UTF-32 begins with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def _decoded(data: bytes, label: str) -> str:
    """Give the text. It is UTF-8 unless it begins with the mark of another Unicode encoding (YAML 1.2 §5.2)."""
    if len(data) > MAX_SIZE:
        message = f"the document has {len(data):,} bytes; at most {MAX_SIZE:,} are read"
        raise DescriptionError([Diagnostic("limits", message, pointed(label, "", (), Span(0, 0, 1)))])
    mark, encoding = next(((m, e) for m, e in _BYTE_ORDER_MARKS if data.startswith(m)), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        before = data[len(mark) : len(mark) + error.start].decode(encoding, "replace")
        bad = data[len(mark) + error.start]
        lines = lines_of(data[len(mark) :].decode(encoding, "replace"))
        place = pointed(label, "", lines, _span_at(before, len(before)))
        message = f"byte 0x{bad:02X} at this place is not {encoding.upper()}"
        hint = "is this a text file? Save it in the encoding UTF-8"
        raise DescriptionError([Diagnostic("encoding", message, place, hint=hint)]) from None
    if not text.strip():
        message = "the document is empty"
        raise DescriptionError([Diagnostic("syntax", message, pointed(label, "", lines_of(text), Span(0, 0, 1)))])
    return text


def _within(lines: list[str], span: Span) -> Span:
    """Give the span, or the end of the text where libyaml counts a line that is not there, or is empty."""
    last = next((index for index in range(len(lines) - 1, -1, -1) if lines[index].strip()), 0)
    return span if span.line <= last else Span(last, len(lines[last].rstrip()), 1)


def _span_at(text: str, offset: int) -> Span:
    line, start = 0, 0
    for each in LINE_BREAK.finditer(text, 0, offset):
        line, start = line + 1, each.end()
    return Span(line, offset - start, 1)


# ---------------------------------------------------------------------------------------------------------------------
# Events → values
# ---------------------------------------------------------------------------------------------------------------------


class _Frame:
    """A mapping or sequence under construction. `key` is None while a mapping waits for its next key."""

    __slots__ = ("anchor", "container", "count", "height", "key")

    def __init__(self, container: dict[str, Json] | list[Json], anchor: str | None, count: int) -> None:
        self.container = container
        self.key: str | None = None
        self.anchor = anchor
        self.count = count
        self.height = 0


class _Anchored(NamedTuple):
    """What an anchor names: the value, how many values it stands for, how deep it is; the text of a scalar."""

    value: Json
    size: int
    height: int
    text: str | None


def _construct(events: Iterable[Any]) -> Json:  # noqa: PLR0915  (one loop over events; its speed is the point)
    frames: list[_Frame] = []
    anchors: dict[str, _Anchored | None] = {}  # None while the anchored value is not complete
    result: Json = _SLOW
    container: Any = None
    frame: _Frame | None = None
    count = expanded = height = 0
    for event in events:
        kind = event.__class__
        count += 1
        if kind is ScalarEvent:
            if frame is not None and frame.key is None and container.__class__ is dict:
                key = event.value
                if key in container:
                    raise _duplicate(key, event, frames)
                if event.tag is not None:
                    _scalar(event, frames)  # the tag is checked, the key stays text
                if event.anchor is not None:
                    anchors[event.anchor] = _Anchored(_scalar(event, frames), 1, 0, key)
                frame.key = key
                continue
            value = _scalar(event, frames)
            if event.anchor is not None:
                anchors[event.anchor] = _Anchored(value, 1, 0, event.value)
            height = 0
        elif kind is MappingStartEvent or kind is SequenceStartEvent:
            if frame is not None and frame.key is None and container.__class__ is dict:
                raise _fault("a key must be a string, not a mapping or a list", event, frames, hint=_KEY_HINT)
            if len(frames) >= MAX_DEPTH:
                raise _fault(f"values are nested more than {MAX_DEPTH} levels deep", event, frames, rule="limits")
            if event.tag is not None:
                _check_collection_tag(event, frames)
            container = {} if kind is MappingStartEvent else []
            frame = _Frame(container, event.anchor, count + expanded)
            frames.append(frame)
            if event.anchor is not None:
                anchors[event.anchor] = None
            continue
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            done = frames.pop()
            value, height = done.container, done.height + 1
            if done.anchor is not None:
                size = count + expanded - done.count
                anchors[done.anchor] = _Anchored(value, size, height, None)
            frame = frames[-1] if frames else None
            container = frame.container if frame is not None else None
        elif kind is AliasEvent:
            known = _aliased(event, anchors, frames)
            expanded += known.size
            if expanded > MAX_EXPANSION:
                message = f"the aliases of this document stand for more than {MAX_EXPANSION:,} values"
                raise _fault(message, event, frames, rule="limits")
            if len(frames) + known.height > MAX_DEPTH:
                raise _fault(f"values are nested more than {MAX_DEPTH} levels deep", event, frames, rule="limits")
            if frame is not None and frame.key is None and container.__class__ is dict:
                if known.text is None:
                    raise _fault("a key must be a string, not a mapping or a list", event, frames, hint=_KEY_HINT)
                if known.text in container:
                    raise _duplicate(known.text, event, frames)
                frame.key = known.text
                continue
            value, height = known.value, known.height
        elif kind is DocumentStartEvent and result is not _SLOW:
            hint = "keep one document per file: what follows this line needs a file of its own"
            raise _fault("a second YAML document begins here", event, frames, hint=hint, rule="content")
        else:
            continue
        if frame is None:
            result = value
        elif container.__class__ is dict:
            container[frame.key] = value
            frame.key = None
            frame.height = max(frame.height, height)
        else:
            container.append(value)
            frame.height = max(frame.height, height)
    if result is _SLOW:
        raise _Fault("the document is empty", Span(0, 0, 1))
    return result


_KEY_HINT = "a value that begins with { or [ or ? must stand in quotes"


def _aliased(event: Any, anchors: dict[str, _Anchored | None], frames: list[_Frame]) -> _Anchored:
    if event.anchor not in anchors:
        hint = "a value that begins with * must stand in quotes" if "*" not in event.anchor else ""
        raise _fault(f"the alias *{event.anchor} has no anchor &{event.anchor} before it", event, frames, hint=hint)
    known = anchors[event.anchor]
    if known is None:
        raise _fault(f"the alias *{event.anchor} stands inside the value that it names", event, frames)
    return known


def _fault(message: str, event: Any, frames: list[_Frame], *, hint: str = "", rule: str = "content") -> _Fault:
    return _Fault(message, _span(event), pointer=_pointer(frames), hint=hint, rule=rule)


def _duplicate(key: str, event: Any, frames: list[_Frame]) -> _Fault:
    hint = "keep one of the two: which one a reader takes differs from reader to reader"
    return _fault(
        f"the key {_quoted(key)} stands twice in this mapping", event, frames, hint=hint, rule="duplicate-key"
    )


def _quoted(text: str) -> str:
    return json.dumps(text if len(text) <= 60 else text[:57] + "...", ensure_ascii=False)


def _pointer(frames: list[_Frame]) -> str:
    pointer = ""
    for frame in frames:
        if isinstance(frame.container, list):
            pointer = join(pointer, len(frame.container))
        elif frame.key is not None:
            pointer = join(pointer, frame.key)
    return pointer


# ---------------------------------------------------------------------------------------------------------------------
# Scalars: YAML 1.2 core schema (§10.3.2), numbers with needless leading zeros left alone
# ---------------------------------------------------------------------------------------------------------------------

_TAG = "tag:yaml.org,2002:"
_CONSTANTS: Final[dict[str, Json]] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
    **{f"{sign}.{text}": float(f"{sign}inf") for sign in ("", "-", "+") for text in ("inf", "Inf", "INF")},
    **{f".{text}": math.nan for text in ("nan", "NaN", "NAN")},
}
_MAYBE_NUMBER = frozenset("-+.0123456789")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")


def _scalar(event: Any, frames: list[_Frame]) -> Json:
    text: str = event.value
    if event.tag is not None:
        return _tagged(event, frames)
    if not event.implicit[0]:
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    return _number(text, event, frames) if text[0] in _MAYBE_NUMBER else text


def _number(text: str, event: Any, frames: list[_Frame]) -> Json:
    """Give the number that the text is, or the text."""
    if len(text) > _LONGEST_NUMBER and _FLOAT.fullmatch(text):
        raise _fault(f"a number of {len(text):,} characters", event, frames, hint="a string must stand in quotes")
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _OCTAL.fullmatch(text):
        return int(text, 0)
    if _HEXADECIMAL.fullmatch(text):
        return int(text, 0)
    return text


# Python reads no integers of more than 4,300 digits.
_LONGEST_NUMBER = 1000

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "null": (type(None),),
}


def _tagged(event: Any, frames: list[_Frame]) -> Json:
    """Give a scalar with an explicit tag; §1.1: only the tags of the JSON Schema ruleset."""
    name = event.tag.removeprefix(_TAG)
    if event.tag == "!" or (name == "str" and name != event.tag):
        return event.value
    if name == event.tag or name not in _TYPES:
        raise _bad_tag(event, frames)
    text = event.value
    value: Any = _CONSTANTS[text] if text in _CONSTANTS else _number(text, event, frames)
    if not isinstance(value, _TYPES[name]) or (isinstance(value, bool) and name != "bool"):
        raise _fault(f"{_quoted(text)} is not of the type that its tag !!{name} says", event, frames)
    return float(value) if isinstance(value, int) and name == "float" else value


def _check_collection_tag(event: Any, frames: list[_Frame]) -> None:
    wanted = "map" if event.__class__ is MappingStartEvent else "seq"
    if event.tag not in ("!", _TAG + wanted):
        raise _bad_tag(event, frames)


def _bad_tag(event: Any, frames: list[_Frame]) -> _Fault:
    shown = event.tag.replace(_TAG, "!!")
    hint = "only the types of JSON may be used; a value that begins with ! must stand in quotes"
    return _fault(f"the tag {_quoted(shown)} has no meaning here", event, frames, hint=hint)


# ---------------------------------------------------------------------------------------------------------------------
# YAML → events
# ---------------------------------------------------------------------------------------------------------------------

# What libyaml's reader refuses; looked for beforehand because libyaml does not say the line.
_UNPRINTABLE = "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
_UNPRINTABLE_ASCII = re.compile("[^\t\n\r\x20-\x7e]")

_HINTS = (
    ("cannot start any token", "a value that begins with @, ` or % must stand in quotes"),
    ("mapping values are not allowed", "a value that contains ': ' must stand in quotes; else look at the indentation"),
    ("alphabetic or numeric character", "a value that begins with * or & must stand in quotes"),
    ("could not find expected ':'", "this line lacks its ':', or its indentation; or a quote before it is not closed"),
    ("expected ',' or", "a value that begins with { or [ must stand in quotes, or a bracket is not closed"),
    ("did not find expected key", "look at the indentation, and at quotes that close too early"),
    ("'-' indicator", "look at the indentation of this list"),
    ("unexpected end of stream", "a quote is not closed"),
    ("unknown escape character", "in double quotes a backslash is written twice; in single quotes it is itself"),
    ("undefined tag handle", "a value that begins with ! must stand in quotes"),
)


_FLOW_VALUE = re.compile(r"""[:-]\s+[{\[][^'"]*[}\]]\s*[^\s,}\]#]""")


def _hint(problem: str, text: str, span: Span) -> str:
    """Guess what the author meant, by libyaml's words and by the line."""
    lines = lines_of(text)
    line = lines[span.line] if span.line < len(lines) else ""
    if line[span.column : span.column + 1] == "\t":
        return "indent with spaces: YAML does not take tabs"
    if any(each.lstrip().startswith("//") for each in lines[max(0, span.line - 1) : span.line + 1]):
        return "comments begin with #"
    if _FLOW_VALUE.search(line):
        return "a value that begins with { or [ must stand in quotes"
    return next((hint for sign, hint in _HINTS if sign in problem), "")


# Where PyYAML comes without libyaml (PyPy, say) its own parser does the same, twenty times slower.
_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _yaml_events(text: str) -> Iterator[Any]:
    # The long pattern takes milliseconds to compile (and is kept by `re`); most documents do not need it.
    bad = _UNPRINTABLE_ASCII.search(text) if text.isascii() else re.search(_UNPRINTABLE, text)
    if bad:
        message = f"the control character U+{ord(bad[0]):04X} may not stand in YAML"
        raise _Fault(message, _span_at(text, bad.start()), hint='write it as an escape in double quotes: "\\x1b"')
    parser = _PARSER(text)
    try:
        yield from iter(parser.get_event, None)
    except yaml.MarkedYAMLError as error:
        # A line that should be a key is known as one only behind it, a quote that is not closed only at the end.
        began = error.context in {"while scanning a simple key", "while scanning a quoted scalar"}
        mark = (began and error.context_mark) or error.problem_mark or error.context_mark
        span = Span(mark.line, mark.column, 1) if mark else Span(0, 0, 1)
        problem = " ".join(filter(None, (error.problem, error.context)))
        raise _Fault(f"this is not YAML: {problem}", span, hint=_hint(problem, text, span)) from None
    except yaml.YAMLError as error:
        raise _Fault(f"this is not YAML: {error}", Span(0, 0, 1)) from None
    finally:
        parser.dispose()


# ---------------------------------------------------------------------------------------------------------------------
# JSON
# ---------------------------------------------------------------------------------------------------------------------

_SLOW: Final = object()
"""Read it by events: either there is something to complain about, or the fast reader would not notice."""


def _fast_json(text: str) -> Json:
    """Read JSON with the standard library's reader, or give `_SLOW` where that one is too tolerant or gives up."""
    if SURROGATE.search(text):
        return _SLOW
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return _SLOW
    return value if _shallow(value) else _SLOW


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _no_constant(_: str) -> NoReturn:
    raise ValueError


def _shallow(value: Json) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            member
            for each in level
            if isinstance(each, (dict, list))
            for member in (each.values() if isinstance(each, dict) else each)
            if isinstance(member, (dict, list))
        ]
        if not level:
            return True
    return False


# ---------------------------------------------------------------------------------------------------------------------
# Events → positions
# ---------------------------------------------------------------------------------------------------------------------


def _span(event: Any) -> Span:
    start, end = event.start_mark, event.end_mark
    one_line = end.line == start.line
    return Span(start.line, start.column, end.column - start.column if one_line else 1)


def _positions(events: Iterable[Any]) -> Node:
    """Walk a text that has been constructed before: nothing needs to be checked."""
    root: Node | None = None
    anchors: dict[Any, Node] = {}
    names: dict[Any, str] = {}  # anchored scalars, which an alias may use as a key
    stack: list[tuple[Any, dict[str, tuple[Span, Node]] | list[Node], list[tuple[Span, str]]]] = []
    for event in events:
        members: dict[str, tuple[Span, Node]] | list[Node] | None = None
        keys: list[tuple[Span, str]] = []
        if stack:
            _, members, keys = stack[-1]
        if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            stack.append((event, {} if isinstance(event, MappingStartEvent) else [], []))
            continue
        if isinstance(event, (ScalarEvent, AliasEvent)):
            if isinstance(event, ScalarEvent) and event.anchor is not None:
                names[event.anchor] = event.value
            if isinstance(members, dict) and not keys:
                text = event.value if isinstance(event, ScalarEvent) else names[event.anchor]
                keys.append((_span(event), text))
                if isinstance(event, ScalarEvent) and event.anchor is not None:
                    anchors[event.anchor] = Node(_span(event))
                continue
            node = Node(_span(event))
            if isinstance(event, AliasEvent):
                known = anchors[event.anchor]
                node = Node(_span(event), known.members, known.items)
            anchor = event.anchor if isinstance(event, ScalarEvent) else None
        elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            start, content, _ = stack.pop()
            node = _collection(start, event, content)
            anchor = start.anchor
            members, keys = stack[-1][1:] if stack else (None, [])
        else:
            continue
        if anchor is not None:
            anchors[anchor] = node
        if members is None:
            root = node
        elif isinstance(members, dict):
            span, text = keys.pop()
            members[text] = (span, node)
        else:
            members.append(node)
    if root is None:
        raise ValueError("no value in this text")
    return root


def _collection(start: Any, end: Any, content: dict[str, tuple[Span, Node]] | list[Node]) -> Node:
    """Make a node; a block mapping is pointed at by its first key, a collection of one line by the whole of it."""
    begin, stop = start.start_mark, end.end_mark
    width = stop.column - begin.column if stop.line == begin.line else 1
    if isinstance(content, list):
        return Node(Span(begin.line, begin.column, width), items=content)
    if stop.line != begin.line and content and not start.flow_style:
        width = next(iter(content.values()))[0].width
    return Node(Span(begin.line, begin.column, width), members=content)
