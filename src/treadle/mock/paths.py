"""Paths into JSON values: a value with something put there, taken out there, or made to be there."""

from __future__ import annotations

from treadle.arazzo.expressions import nodes
from treadle.mock.samples import EACH, Each, Path, plausible
from treadle.seams import Json

__all__ = ["forced", "part_of", "path_of", "put", "remove"]


def path_of(tail: nodes.Tail) -> Path:
    """Give the path that the tail of an expression means; a final `length` is left out."""
    path: list[Path] = [part_of(each) for each in tail]
    flat = tuple(token for part in path for token in part)
    return flat[:-1] if flat and flat[-1] == "length" else flat


def part_of(part: nodes.Member | nodes.Index | nodes.Each | nodes.Pointer) -> Path:
    """Give the path that one part of a tail means."""
    match part:
        case nodes.Member():
            return (part.name,)
        case nodes.Index():
            return (part.index,)
        case nodes.Pointer():
            return part.tokens
        case _:
            return (EACH,)


def put(value: Json, path: Path, new: Json) -> Json:
    """Give the value with `new` at the path, on which everything is there but perhaps the last member."""
    if not path:
        return new
    token, rest = path[0], path[1:]
    if isinstance(value, dict):
        name = str(token)
        return {**value, name: put(value.get(name), rest, new)}
    if isinstance(value, list):
        places = range(len(value)) if token is EACH else [_index(token, len(value))]
        made = list(value)
        for place in places:
            if place == len(made):
                made.append(put(None, rest, new))
            elif 0 <= place < len(made):
                made[place] = put(made[place], rest, new)
        return made
    return value


def remove(value: Json, path: Path) -> Json:
    """Give the value without what is at the path; elements of arrays become null, since their place counts."""
    token, rest = path[0], path[1:]
    if isinstance(value, dict):
        name = str(token)
        if not rest:
            return {key: each for key, each in value.items() if key != name}
        return {**value, name: remove(value[name], rest)} if name in value else value
    if isinstance(value, list):
        places = range(len(value)) if token is EACH else [_index(token, len(value))]
        made = list(value)
        for place in places:
            if 0 <= place < len(made):
                made[place] = remove(made[place], rest) if rest else None
        return made
    return value


def forced(value: Json, path: Path) -> Json:
    """Give the value with something at the path, whatever shape it had: a list gives way to its first element."""
    if not path:
        # An empty object would be no text at all in the path of a request.
        return value if value or isinstance(value, (bool, int, float)) else plausible("id")
    token, rest = path[0], path[1:]
    if isinstance(token, str) and not token.isdigit() and isinstance(value, list):
        value = next((each for each in value if isinstance(each, dict)), {})
    if isinstance(value, dict):
        name = str(token)
        below = value.get(name)
        if below is None or (not rest and below in ({}, [], "")):
            below = {} if rest else plausible(name)
        return {**value, name: forced(below, rest)}
    if isinstance(value, list) and not isinstance(token, Each):
        index = _index(token, len(value))
        return [forced(each, rest) if place == index else each for place, each in enumerate(value)]
    return value


def _index(token: object, length: int) -> int:
    if isinstance(token, str):
        return int(token) if token.isdigit() else -1
    index = token if isinstance(token, int) else 0
    return index if index >= 0 else length + index
