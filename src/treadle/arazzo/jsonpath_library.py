"""jsonpath-rfc9535 with three changes, imported with the first query that needs it, which takes 50 ms.

`match` and `search` run on RE2 (the patterns are the document's, and RE2 is linear), `$` inside a nested filter is the
root of the whole query (RFC 9535 §2.3.5.1), and the nodes that one evaluation visits are counted and limited.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import jsonpath_rfc9535 as library
from jsonpath_rfc9535 import filter_expressions, function_extensions, node, parse, query

__all__ = ["MOST_NODES", "Environment"]

MOST_NODES: Final = 1_000_000
"""Nodes that one evaluation may visit: a second or two, and far beyond any query that somebody means."""


class TooManyNodesError(Exception):
    """An evaluation has visited more nodes than it may."""


class _Node(node.JSONPathNode):
    """A node that counts its children in its query's work, and knows where it is only if that is asked for."""

    __slots__ = ("env",)

    def __init__(self, value: object, root: Any, env: Environment, location: tuple[str | int, ...] = ()) -> None:
        super().__init__(value=value, location=location, parent=None, root=root)
        self.env = env

    def new_child(self, value: object, key: int | str, parent: node.JSONPathNode | None) -> _Node:  # noqa: ARG002
        self.env.spent += 1
        if self.env.spent > MOST_NODES:
            raise TooManyNodesError(f"it visits more than {MOST_NODES} nodes")
        return _Node(value, self.root, self.env, (*self.location, key) if self.env.located else ())


class _Query(query.JSONPathQuery):
    """A query whose nodes are counted together with those of the queries in its filters."""

    __slots__ = ()

    def start(self, value: Any) -> Iterable[Any]:
        """Begin an evaluation of the whole query."""
        self.env.spent = 0  # type: ignore[attr-defined]
        return self.within(value, value)

    def within(self, value: Any, root: Any) -> Iterable[Any]:
        """Evaluate from `value` on, `$` being `root`."""
        nodes: Iterable[Any] = [_Node(value, root, self.env)]  # type: ignore[arg-type]
        for segment in self.segments:
            nodes = segment.resolve(nodes)
        return nodes


class _Relative(filter_expressions.RelativeFilterQuery):
    __slots__ = ()

    def evaluate(self, context: Any) -> object:
        if not isinstance(context.current, (list, dict)) and self.query.empty():
            return context.current
        return node.JSONPathNodeList(self.query.within(context.current, context.root))  # type: ignore[attr-defined]


class _Root(filter_expressions.RootFilterQuery):
    __slots__ = ()

    def evaluate(self, context: Any) -> object:
        return node.JSONPathNodeList(self.query.within(context.root, context.root))  # type: ignore[attr-defined]


class _Parser(parse.Parser):
    def parse_relative_query(self, stream: Any) -> Any:
        found = super().parse_relative_query(stream)
        return _Relative(found.token, _Query(env=self.env, segments=found.query.segments))  # type: ignore[attr-defined]

    def parse_root_query(self, stream: Any) -> Any:
        found = super().parse_root_query(stream)
        return _Root(found.token, _Query(env=self.env, segments=found.query.segments))  # type: ignore[attr-defined]


class _Match(function_extensions.Match):
    def __call__(self, string: object, pattern: object) -> bool:
        return _matches(string, pattern, whole=True)


class _Search(function_extensions.Search):
    def __call__(self, string: object, pattern: object) -> bool:
        return _matches(string, pattern, whole=False)


class _Count(function_extensions.Count):
    def __call__(self, node_list: Any) -> int:
        if len(node_list) == 1 and isinstance(node_list[0].value, list):
            return len(node_list[0].value)
        return len(node_list)


class Environment(library.JSONPathEnvironment):
    """What compiles queries. `count_elements` and `located` are as in `treadle.arazzo.jsonpath`."""

    parser_class = _Parser

    def __init__(self, *, count_elements: bool, located: bool) -> None:
        self.count_elements = count_elements
        self.located = located
        self.spent = 0
        super().__init__()

    def compile(self, text: str) -> _Query:
        """Compile a query. Raises what the library raises."""
        return _Query(env=self, segments=super().compile(text).segments)

    def setup_function_extensions(self) -> None:
        """Take our functions in the place of the library's."""
        super().setup_function_extensions()
        self.function_extensions["match"] = _Match()
        self.function_extensions["search"] = _Search()
        if self.count_elements:
            self.function_extensions["count"] = _Count()


def _matches(text: object, pattern: object, *, whole: bool) -> bool:
    # RFC 9535 §2.4.6: an argument that is no string, or no I-Regexp, gives LogicalFalse.
    if not isinstance(text, str) or not isinstance(pattern, str):
        return False
    found = _pattern(pattern)
    if found is None:
        return False
    try:
        return bool(found.fullmatch(text) if whole else found.search(text))
    except UnicodeEncodeError:  # a lone surrogate, which no text of Unicode scalar values contains
        return False


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> Any:
    """Compile an I-Regexp (RFC 9485) for RE2; None for what is none."""
    import re2
    from iregexp_check import check

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(_dots(pattern), options) if check(pattern) else None
    except (re2.error, UnicodeEncodeError):
        return None


def _dots(pattern: str) -> str:
    """Write the dots of an I-Regexp for RE2: they match neither line feed nor carriage return (RFC 9485, §5.3)."""
    parts, escaped, in_class = [], False, False
    for each in pattern:
        if escaped:
            escaped = False
        elif each == "\\":
            escaped = True
        elif each in "[]":
            in_class = each == "["
        elif each == "." and not in_class:
            parts.append(r"[^\n\r]")
            continue
        parts.append(each)
    return "".join(parts)
