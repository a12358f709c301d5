"""Parameters that are `in: body` as the request body that they stand for."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Final

from treadle.arazzo.fixes.nodes import CannotEdit, Node, column_of, find, key_of, line_end, line_start, out_of_flow
from treadle.arazzo.location import LINE_BREAK

__all__ = ["moved"]


def moved(text: str, root: Node, pointer: str, *, whole: bool) -> Iterator[tuple[int, int, str]]:
    """Put a request body before the parameters, of the values of those that are `in: body`; they are taken out.

    `whole`: the value of the only one is the payload, and not a field of it.
    """
    key, items = key_of(root, pointer), find(root, pointer)
    inside = [each for each in items.items if _is_in_body(text, each)]
    if any(_has_anchors(each) or (each.members or {}).keys() != {"name", "in", "value"} for each in inside):
        raise CannotEdit("it has more than a name, a place and a value")
    written = _request_body(text, key, inside, whole=whole, flow=items.flow)
    if len(inside) == len(items.items):
        end = max(items.end, *(_through_comment(text, each) for each in inside))
        _check_nothing_lost(text, key.end, end, inside)
        if text[(inside[-1].members or {})["value"][1].end - 1] == "\n" and _COMMENT.match(text, end):
            raise CannotEdit("a comment would become text")
        yield key.start, end, written + (line_end(text) if text[end - 1] == "\n" else "")
        return
    before = text[line_start(text, key.start) : key.start]
    if not find(root, pointer.rpartition("/")[0]).flow:
        yield key.start, key.start, f"{written}{line_end(text)}{' ' * column_of(text, key)}"
    else:
        yield key.start, key.start, f"{written}, " if before.strip() else f"{written},{line_end(text)}{before}"
    yield from _out_of_flow(text, items, inside) if items.flow else _out_of_block(text, items, inside)


def _out_of_flow(text: str, items: Node, inside: Sequence[Node]) -> Iterator[tuple[int, int, str]]:
    going = {index for index, each in enumerate(items.items) if each in inside}
    for start, end in out_of_flow([(each.start, each.end) for each in items.items], going):
        _check_nothing_lost(text, start, end, [each for each in inside if start <= each.start < end])
        yield start, end, ""


def _out_of_block(text: str, items: Node, inside: Sequence[Node]) -> Iterator[tuple[int, int, str]]:
    for each, following in itertools.zip_longest(items.items, items.items[1:]):
        if each in inside:
            start = line_start(text, each.start)
            end = line_start(text, following.start) if following else _behind(text, items.end)
            _check_nothing_lost(text, start, end, [each])
            yield start, end, ""


def _is_in_body(text: str, item: Node) -> bool:
    where = (item.members or {}).get("in")
    return where is not None and text[where[1].start : where[1].end].strip("'\"") == "body"


def _request_body(text: str, key: Node, inside: Sequence[Node], *, whole: bool, flow: bool) -> str:
    """Write it, with each value as it stands behind its key, comments and all; only its indentation may be another."""
    quote = '"' if text[key.start] == '"' else ""
    body, payload = f"{quote}requestBody{quote}:", f"{quote}payload{quote}"
    if flow:
        entries = [(payload if whole else _name(text, each)) + _value(text, each, None) for each in inside]
        return f"{body} {{{entries[0]}}}" if whole else f"{body} {{{payload}: {{{', '.join(entries)}}}}}"
    column = column_of(text, key) + 2
    head = f"{body}{line_end(text)}{' ' * column}{payload}"
    if whole:
        return head + _value(text, inside[0], column)
    fields = (_name(text, each) + _value(text, each, column + 2) for each in inside)
    return f"{head}:" + "".join(f"{line_end(text)}{' ' * (column + 2)}{each}" for each in fields)


def _name(text: str, item: Node) -> str:
    node = (item.members or {})["name"][1]
    written = text[node.start : node.end]
    if "\n" in written:
        raise CannotEdit("its name has several lines")
    return written


def _value(text: str, item: Node, column: int | None) -> str:
    """Give what stands behind the key of a parameter's value; its lines are moved as the key is, to `column`."""
    key, value = (item.members or {})["value"]
    first, *rest = text[key.end : _through_comment(text, item)].rstrip("\r\n").split("\n")
    if not first.lstrip().startswith(":") or (value.style in ("|", ">") and "+" in first):
        raise CannotEdit("it is written in an unusual way")
    if not rest or column is None:
        return "\n".join([first, *rest])
    by = column - column_of(text, key)
    if item.flow or not all(line.startswith(" " * -by) for line in rest if line.strip()):
        raise CannotEdit("its lines cannot be moved")
    return "\n".join([first, *(" " * by + line[max(0, -by) :] if line.strip() else line for line in rest)])


_COMMENT: Final = re.compile(r"[ \t]+#[^\r\n]*")


def _through_comment(text: str, item: Node) -> int:
    """Give where a parameter's value ends, with a comment behind it in its line."""
    end = (item.members or {})["value"][1].end
    match = _COMMENT.match(text, end) if text[end - 1] != "\n" else None
    return match.end() if match else end


def _has_anchors(node: Node) -> bool:
    inner = [*node.items, *(value for _, value in (node.members or {}).values())]
    return node.fixed or any(_has_anchors(each) for each in inner)


def _check_nothing_lost(text: str, start: int, end: int, inside: Sequence[Node]) -> None:
    """Refuse to take a comment out with what stands around the values."""
    for each in inside:
        if "#" in text[start : (each.members or {})["value"][0].end]:
            raise CannotEdit("a comment would go")
        start = _through_comment(text, each)
    if "#" in text[start:end]:
        raise CannotEdit("a comment would go")


def _behind(text: str, position: int) -> int:
    """Give where the next line begins."""
    if text[position - 1] == "\n":
        return position
    match = LINE_BREAK.search(text, position)
    return match.end() if match else len(text)
