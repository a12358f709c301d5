"""Members of a request by their paths, all of them looked for in one walk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from treadle.seams import Json

__all__ = ["Found", "Places"]

Found: TypeAlias = Mapping[str, Sequence[tuple[str, Json]]]
"""By path: every place where there is something, as AWS names it, and what is there."""

# How AWS shows a name, the path that ends here ("": none does), and what is looked for below it, or in its items.
_Node: TypeAlias = tuple[str, str, "_Nodes", "_Nodes"]
_Nodes: TypeAlias = dict[str, _Node]


class Places:
    """Paths of members; `*` is every item of a list.

    >>> places = Places("InputDataConfig.*.InputMode", "VpcConfig")
    >>> dict(places.found({"InputDataConfig": [{}, {"InputMode": "Pipe"}]}))
    {'InputDataConfig.*.InputMode': [('inputDataConfig.2.member.inputMode', 'Pipe')]}
    """

    def __init__(self, *paths: str) -> None:
        tree: dict[str, Any] = {}
        for path in paths:
            below = tree
            for name in path.split("."):
                below = below.setdefault(name, {})
            below[""] = path
        self._nodes = _nodes(tree)

    def found(self, request: Mapping[str, Json]) -> Found:
        """Give what stands at the paths; one at which there is nothing is left out."""
        found: dict[str, list[tuple[str, Json]]] = {}
        _walk(request, self._nodes, "", found)
        return found


def _nodes(tree: Mapping[str, Any]) -> _Nodes:
    return {
        name: (name[0].lower() + name[1:], below.get("", ""), _nodes(below), _nodes(below.get("*", {})))
        for name, below in tree.items()
        if name not in {"", "*"}
    }


def _walk(value: Mapping[str, Json], nodes: _Nodes, seen: str, found: dict[str, list[tuple[str, Json]]]) -> None:
    for name, its in value.items():
        if (node := nodes.get(name)) is None or its is None:
            continue
        shown, path, below, below_items = node
        if path:
            found.setdefault(path, []).append((seen + shown, its))
        if below:
            _walk(its, below, f"{seen}{shown}.", found)
        elif below_items:
            for number, each in enumerate(its, 1):
                _walk(each, below_items, f"{seen}{shown}.{number}.member.", found)
