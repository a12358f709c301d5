"""Where everything of a document stands in its text: the beginning and the end of every key and value."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from yaml import AliasEvent, MappingEndEvent, MappingStartEvent, ScalarEvent, SequenceEndEvent, SequenceStartEvent

from treadle.arazzo.load import events_of
from treadle.arazzo.location import LINE_BREAK, Document, tokens

__all__ = ["CannotEdit", "Node", "column_of", "find", "key_of", "line_end", "line_start", "out_of_flow", "tree"]


class CannotEdit(Exception):  # noqa: N818  (an answer, not a mistake)
    """There is no certain way to make a change in the text."""


@dataclass(slots=True)
class Node:
    """A value in the text, from `start` up to `end`; `style` is that of a scalar's quotes, `flow` that of brackets."""

    start: int
    end: int
    style: str | None = None
    flow: bool = False
    fixed: bool = False
    """It is an alias, or has an anchor or a tag."""
    members: dict[str, tuple[Node, Node]] | None = None
    items: list[Node] = field(default_factory=list)


def tree(document: Document) -> Node:
    """Walk the text of a document. Raises `CannotEdit` where it has no value."""
    text = document.text
    starts = [0, *(each.end() for each in LINE_BREAK.finditer(text))]

    def at(mark: Any) -> int:
        return min(len(text), starts[mark.line] + mark.column) if mark.line < len(starts) else len(text)

    root: Node | None = None
    stack: list[tuple[Node, list[tuple[str, Node]]]] = []
    for event in events_of(document):
        if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            mapping = isinstance(event, MappingStartEvent)
            flow = bool(event.flow_style)
            fixed = event.anchor is not None or event.tag is not None
            node = Node(at(event.start_mark), 0, flow=flow, fixed=fixed, members={} if mapping else None)
            stack.append((node, []))
            continue
        if isinstance(event, AliasEvent):
            node, name = Node(at(event.start_mark), at(event.end_mark), fixed=True), ""
        elif isinstance(event, ScalarEvent):
            fixed = event.anchor is not None or event.tag is not None
            node = Node(at(event.start_mark), at(event.end_mark), event.style or None, fixed=fixed)
            name = event.value
        elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            node, name = stack.pop()[0], ""
            node.end = at(event.end_mark) if node.flow else _last(node)
        else:
            continue
        if not stack:
            root = node
            continue
        holder, key = stack[-1]
        if holder.members is None:
            holder.items.append(node)
        elif key:
            key_name, key_node = key.pop()
            holder.members[key_name] = (key_node, node)
        else:
            key.append((name, node))
    if root is None:
        raise CannotEdit("there is no value")
    return root


def _last(node: Node) -> int:
    """Give where the last value of a block collection ends: its own end mark stands before whatever comes next."""
    ends = [each.end for each in node.items] + [value.end for _, value in (node.members or {}).values()]
    return max(ends, default=node.start)


def find(root: Node, pointer: str) -> Node:
    """Give the value at a JSON Pointer. Raises `CannotEdit` where it stands elsewhere, by an alias."""
    return _along(root, tokens(pointer), pointer)


def key_of(root: Node, pointer: str) -> Node:
    """Give the key of the member at a JSON Pointer. Raises `CannotEdit` where it stands elsewhere, by an alias."""
    *way, last = tokens(pointer)
    members = _along(root, way, pointer).members or {}
    if last not in members:
        raise CannotEdit(f"{pointer} stands elsewhere")
    return members[last][0]


def _along(root: Node, way: Iterable[str], pointer: str) -> Node:
    node = root
    for token in way:
        if node.members is not None and token in node.members:
            node = node.members[token][1]
        elif node.members is None and token.isdecimal() and int(token) < len(node.items):
            node = node.items[int(token)]
        else:
            raise CannotEdit(f"{pointer} stands elsewhere")
    if node.fixed:
        raise CannotEdit(f"{pointer} has an anchor or a tag")
    return node


def out_of_flow(spans: Sequence[tuple[int, int]], going: Collection[int]) -> Iterator[tuple[int, int]]:
    """Give what to cut out of brackets, commas included, so that some of what stands in them goes; something stays.

    >>> list(out_of_flow([(1, 2), (4, 5), (7, 8)], {0, 2}))  # [a, b, c]
    [(1, 4), (5, 8)]
    """
    for goes, run in itertools.groupby(range(len(spans)), key=lambda index: index in going):
        if goes:
            indices = list(run)
            first, last = indices[0], indices[-1]
            behind = last + 1 < len(spans)
            yield (spans[first][0], spans[last + 1][0]) if behind else (spans[first - 1][1], spans[last][1])


def line_end(text: str) -> str:
    """Give how lines end in a text."""
    return "\r\n" if "\r\n" in text else "\n"


def line_start(text: str, position: int) -> int:
    """Give where the line of a position begins."""
    starts = [each.end() for each in LINE_BREAK.finditer(text, 0, position)]
    return starts[-1] if starts else 0


def column_of(text: str, node: Node) -> int:
    """Give how far from the beginning of its line a value stands."""
    return node.start - line_start(text, node.start)
