"""Changes of a document as edits of its text: what is not changed keeps its layout, its comments and its quotes.

A change is made where the value stands (`nodes`). What cannot be changed for certain (a value behind an alias or with
an anchor, a comment in the middle of what would go) raises `CannotEdit`, and whoever asks leaves that change out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from treadle.arazzo.fixes.nodes import CannotEdit, Node, find, key_of, line_end, line_start, out_of_flow, tree
from treadle.arazzo.fixes.request_body import moved
from treadle.arazzo.location import LINE_BREAK, Document, tokens

__all__ = ["CannotEdit", "Change", "Editor"]


@dataclass(frozen=True, slots=True)
class Change:
    """A change at a JSON Pointer, for a rule: a new text; None removes the member.

    `before` is a member that is to stand before all others of the object at the pointer: (key, text). `what` says what
    becomes of the value where it is not only its text (`errors.Repair`).
    """

    pointer: str
    rule: str
    text: str | None = None
    before: tuple[str, str] | None = None
    what: Literal["value", "key", "named", "listed", "joined", "moved"] = "value"


class Editor:
    """The text of a document, with the place of everything in it. Raises `CannotEdit` where it has no value."""

    def __init__(self, document: Document) -> None:
        self._text = document.text
        self._root = tree(document)

    def can(self, changes: Sequence[Change]) -> bool:
        """Tell whether these changes can be made."""
        try:
            self.edited(changes)
        except CannotEdit:
            return False
        return True

    def edited(self, changes: Iterable[Change]) -> str:
        """Give the text with all changes made. Raises `CannotEdit`."""
        text = self._text
        pieces: list[tuple[int, int, str]] = []
        removed: dict[str, list[str]] = {}
        for change in changes:
            if change.what == "moved":
                pieces += moved(text, self._root, change.pointer, whole=change.text == "payload")
            elif change.what != "value":
                pieces += _reshaped(text, self._root, change)
            elif change.before is not None:
                pieces.append(_inserted(text, find(self._root, change.pointer), *change.before))
            elif change.text is not None:
                node = find(self._root, change.pointer)
                pieces.append((node.start, node.end, _scalar(text, node, change.text)))
            else:
                holder, _, name = change.pointer.rpartition("/")
                removed.setdefault(holder, []).append(tokens(f"/{name}")[0])
        for pointer, names in removed.items():
            pieces += _without(text, find(self._root, pointer), names)
        return _applied(text, pieces)


def _applied(text: str, pieces: Sequence[tuple[int, int, str]]) -> str:
    result, position = [], 0
    for start, end, new in sorted(pieces):
        if start < position:
            raise CannotEdit("two changes meet")
        result += [text[position:start], new]
        position = end
    return "".join([*result, text[position:]])


# ---------------------------------------------------------------------------------------------------------------------
# Scalars
# ---------------------------------------------------------------------------------------------------------------------

# YAML 1.2 §7.3.3, with room to spare: what begins or contains these is quoted.
_NOT_PLAIN: Final = re.compile(r"[-?:,\[\]{}#&*!|>'\"%@`\s]|.*(?:: |:\Z| #|[\x00-\x1f\x7f-\x9f])|.*\s\Z", re.DOTALL)
_NOT_IN_FLOW: Final = re.compile(r"[,\[\]{}]")
_OTHER_TYPE: Final = re.compile(
    r"~|null|true|false|[-+]?(?:\.inf|[0-9.][0-9a-fox.+\-_:]*)|\.nan|yes|no|on|off|y|n|", re.IGNORECASE
)


def _scalar(text: str, node: Node, new: str) -> str:
    """Write a text in place of a scalar, quoted as it was, if that can be read well."""
    if (node.members is not None or node.items) and not node.flow:
        raise CannotEdit("it is no scalar")
    if node.style in ("|", ">"):
        return _block(text[node.start : node.end], new)
    in_flow = _in_brackets(text, node)
    if node.style is None and _plain(new, in_flow=in_flow):
        return new
    awkward = "'" in new
    if node.style == '"' or "\n" in new or (awkward and not re.search(r'["\\]', new)):
        return json.dumps(new, ensure_ascii=False)
    return "'" + new.replace("'", "''") + "'"


def _plain(new: str, *, in_flow: bool) -> bool:
    if _NOT_PLAIN.match(new) or _OTHER_TYPE.fullmatch(new):
        return False
    return not (in_flow and _NOT_IN_FLOW.search(new))


def _in_brackets(text: str, node: Node) -> bool:
    """Tell whether what follows could be a flow collection's; being wrong about it only adds quotes."""
    rest = text[node.end :].lstrip(" \t")
    return rest[:1] in (",", "]", "}")


def _block(source: str, new: str) -> str:
    """Write a text in place of a literal or folded one that has a single line."""
    head, _, body = source.partition("\n")
    lines = [line for line in body.split("\n") if line.strip()]
    if len(lines) != 1 or "\n" in new.strip("\n") or new != new.lstrip():
        raise CannotEdit("it has several lines")
    line = lines[0]
    indent = line[: len(line) - len(line.lstrip())]
    return f"{head}\n{body.replace(line, indent + new.rstrip(chr(10)), 1)}"


# ---------------------------------------------------------------------------------------------------------------------
# Shapes
# ---------------------------------------------------------------------------------------------------------------------

_BETWEEN_DASH: Final = re.compile(r"-([ \t]*)\Z")


def _reshaped(text: str, root: Node, change: Change) -> list[tuple[int, int, str]]:
    """Give a key another name, put a value into a list or an object, or take the dashes away.

    Only what has to be there is put in, at its place: so other changes can be made inside of it.
    """
    if change.what == "key":
        key = key_of(root, change.pointer)
        return [(key.start, key.end, _scalar(text, key, str(change.text)))]
    node = find(root, change.pointer)
    if change.what == "joined":
        return [_undashed(text, node, each) for each in node.items]
    if change.what == "named":
        return _around(text, node, f"{{{change.text}: ", f"{change.text}: ", "}", in_flow=_in_brackets(text, node))
    block = node.members is not None and not node.flow
    return _dashed(text, node) if block else _around(text, node, "[", "[", "]", in_flow=True)


def _around(
    text: str, node: Node, opened: str, plain: str, closed: str, *, in_flow: bool
) -> list[tuple[int, int, str]]:
    """Put a value in brackets, or only something before it."""
    if node.style in ("|", ">") or "\n" in text[node.start : node.end]:
        raise CannotEdit("it has several lines")
    if not in_flow:
        return [(node.start, node.start, plain)]
    if node.style is None and not node.flow and _NOT_IN_FLOW.search(text[node.start : node.end]):
        raise CannotEdit("it needs quotes")
    return [(node.start, node.start, opened), (node.end, node.end, closed)]


def _dashed(text: str, node: Node) -> list[tuple[int, int, str]]:
    """Make a block mapping the only item of a list: a dash before it, and its other lines indented as far."""
    starts = [each.end() for each in LINE_BREAK.finditer(text, node.start, node.end)]
    filled = (start for start in starts if text[start : node.end].split("\n", 1)[0].strip())
    return [(node.start, node.start, "- "), *((start, start, "  ") for start in filled)]


def _undashed(text: str, node: Node, item: Node) -> tuple[int, int, str]:
    dash = _BETWEEN_DASH.search(text[line_start(text, item.start) : item.start])
    if node.flow or item.flow or item.members is None or dash is None:
        raise CannotEdit("it is not written with dashes")
    at = item.start - len(dash[0])
    return at, at + 1, " "


# ---------------------------------------------------------------------------------------------------------------------
# Members
# ---------------------------------------------------------------------------------------------------------------------


def _inserted(text: str, node: Node, key: str, value: str) -> tuple[int, int, str]:
    """Write a member before the others of an object."""
    if not node.members:
        raise CannotEdit("it has no members")
    first = min(each.start for each, _ in node.members.values())
    if not node.flow:
        indent = " " * (first - line_start(text, first))
        return first, first, f"{key}: {value}{line_end(text)}{indent}"
    quoted = text[first] == '"'
    written = f"{json.dumps(key)}: {json.dumps(value)}" if quoted else f"{key}: {value}"
    between = text[node.start + 1 : first]
    return first, first, f"{written},{between if between.strip() == '' and between else ' '}"


def _without(text: str, node: Node, names: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Take members out of an object, of which something must stay."""
    members = node.members or {}
    order = sorted(members, key=lambda name: members[name][0].start)
    going = set(names)
    if not going <= set(order) or going == set(order):
        raise CannotEdit("nothing would stay")
    return _out_of_flow(text, members, order, going) if node.flow else _out_of_block(text, members, order, going)


_Members = Mapping[str, tuple[Node, Node]]


def _out_of_flow(text: str, members: _Members, order: Sequence[str], going: set[str]) -> Iterator[tuple[int, int, str]]:
    spans = [(members[name][0].start, members[name][1].end) for name in order]
    for start, end in out_of_flow(spans, {index for index, name in enumerate(order) if name in going}):
        if "#" in text[start:end] and any("#" in _between(text, members, order, each) for each in going):
            raise CannotEdit("a comment would go")
        yield start, end, ""


def _between(text: str, members: _Members, order: Sequence[str], name: str) -> str:
    """Give what stands between a member and the next one."""
    following = order.index(name) + 1
    end = members[order[following]][0].start if following < len(order) else members[name][1].end
    return text[members[name][1].end : end]


def _out_of_block(
    text: str, members: _Members, order: Sequence[str], going: set[str]
) -> Iterator[tuple[int, int, str]]:
    lead = 0
    first = members[order[0]][0].start
    if order[0] in going and text[line_start(text, first) : first].strip():
        # It stands behind the dash of its list: what stays first takes its place.
        kept = next(name for name in order if name not in going)
        lead = order.index(kept)
        start, end = first, members[kept][0].start
        gaps = [_between(text, members, order, name) for name in order[:lead]]
        if any(gap.strip() for gap in gaps):
            raise CannotEdit("a comment would go")
        yield start, end, ""
    for name in order[lead:]:
        if name in going:
            yield _line_out(text, *members[name])


def _line_out(text: str, key: Node, value: Node) -> tuple[int, int, str]:
    """Take out the lines of a member; a comment behind it stays, on a line of its own."""
    start = line_start(text, key.start)
    indent = text[start : key.start]
    if indent.strip():
        raise CannotEdit("something stands before it")
    if text[value.end - 1 : value.end] == "\n":
        return start, value.end, ""
    match = LINE_BREAK.search(text, value.end)
    stop, end = (match.start(), match.end()) if match else (len(text), len(text))
    behind = text[value.end : stop].strip()
    if behind and not behind.startswith("#"):
        raise CannotEdit("something stands behind it")
    return start, end, f"{indent}{behind}{text[stop:end]}" if behind else ""
