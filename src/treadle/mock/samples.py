"""JSON Schema → the smallest instance that is still sensible.

What the description itself offers comes first: `const`, examples, `default`, `enum`; then the smallest value of the
type. Of objects the required members are made and those that bring an example; whoever needs more asks for it by its
path (`Sampler.ensure`). Arrays get one element, because what goes on with a list goes on with its first element.
`$ref`, `allOf`, `oneOf` and `anyOf` are followed; schemas that contain themselves end as soon as they may.

A sample of a schema that nobody validates against need not be valid in every corner: `not`, `if` and `dependent…` are
not looked at.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from treadle.arazzo.input_schemas import kind_of
from treadle.errors import DescriptionError
from treadle.mock.patterns import matching
from treadle.seams import MISSING, Json, Missing
from treadle.sources.walk import Node

__all__ = ["EACH", "Each", "Path", "Sampler", "is_number", "plausible"]


class Each:
    """In a path: every element of an array."""

    def __repr__(self) -> str:
        return "[*]"


EACH: Final = Each()
Path = tuple["str | int | Each", ...]

_DEEPEST: Final = 24
"""Levels of a sample. A schema that is deeper without containing itself is no schema that somebody wrote."""

_EXAMPLES_UNTIL: Final = 3
"""Levels on which members that may be left out are shown, if they bring an example."""

_FORMATS: Final[Mapping[str, str]] = {
    "date-time": "2026-01-02T03:04:05Z",
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "duration": "PT1H",
    "email": "somebody@example.com",
    "idn-email": "somebody@example.com",
    "hostname": "www.example.com",
    "idn-hostname": "www.example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uri-reference": "https://example.com/",
    "iri": "https://example.com/",
    "iri-reference": "https://example.com/",
    "uri-template": "https://example.com/{id}",
    "uuid": "3fa85f64-5717-4562-b3fc-2c963f66afa6",
    "json-pointer": "/a",
    "relative-json-pointer": "0",
    "regex": "a",
    "byte": "AA==",
    "base64": "AA==",
    "password": "not-a-secret",
}


@dataclass(frozen=True, slots=True)
class _Shape:
    """All the schemas that hold together at one place, `$ref` and `allOf` followed and one alternative chosen."""

    parts: tuple[Mapping[str, Any], ...]
    nodes: tuple[Node, ...]
    seen: frozenset[tuple[str, str]]

    def first(self, word: str) -> Json | Missing:
        """Give the first part's value of a keyword."""
        return next((part[word] for part in self.parts if word in part), MISSING)

    def listed(self, word: str) -> list[Json]:
        """Give what a keyword lists, in all parts; what is no list says nothing."""
        return [each for part in self.parts if isinstance(found := part.get(word), list) for each in found]

    def member(self, name: str) -> Node | None:
        """Give the schema of a member: its own, else that of all others."""
        for node in self.nodes:
            known = _raw(node, "properties")
            if known is not None and isinstance(known.value, dict) and name in known.value:
                return known.raw(name)
        for node in self.nodes:
            others = _raw(node, "additionalProperties")
            if others is not None and isinstance(others.value, dict):
                return others
        return None

    def item(self, index: int = 0) -> Node | None:
        """Give the schema of an element."""
        for node in self.nodes:
            first = _raw(node, "prefixItems")
            if first is not None and isinstance(first.value, list) and index < len(first.value):
                return list(first.elements())[index]
            items = _raw(node, "items")
            if items is not None and isinstance(items.value, dict):
                return items
        return None

    @property
    def required(self) -> list[str]:
        """The names of the required members."""
        return list(dict.fromkeys(name for name in self.listed("required") if isinstance(name, str)))


def _raw(node: Node, key: str) -> Node | None:
    return node.raw(key) if isinstance(node.value, dict) else None


class Sampler:
    """Makes samples. It has no state but what it remembers of texts that were made (so that lists have no doubles)."""

    def sample(self, schema: Node | None, name: str = "", *, wanted: Iterable[str] = ()) -> Json:
        """Give an instance. `name` is what the value is called; `wanted` members decide between alternatives."""
        return self._made(schema, name, frozenset(wanted), frozenset(), 0)

    def at(self, schema: Node | None, path: Path) -> Node | None:
        """Give the schema of what a path leads to, or None where the schema does not say."""
        for token in path:
            shape = _shape(schema, frozenset({token} if isinstance(token, str) else ()), frozenset())
            if isinstance(token, str):
                schema = shape.member(token)
                if schema is None and token.isdigit():
                    schema = shape.item(int(token))
            else:
                schema = shape.item(token if isinstance(token, int) and token >= 0 else 0)
            if schema is None:
                return None
        return schema

    def choices(self, schema: Node | None) -> list[Json]:
        """Give the values that a schema allows, where it lists them."""
        shape = _shape(schema, frozenset(), frozenset())
        listed = shape.first("enum")
        found = list(listed) if isinstance(listed, list) else []
        constant = shape.first("const")
        if constant is not MISSING:
            found.append(constant)
        branches = (*shape.listed("oneOf"), *shape.listed("anyOf"))
        return found + [each["const"] for each in branches if isinstance(each, dict) and "const" in each]

    def kinds(self, schema: Node | None) -> list[str]:
        """Give the JSON types that a schema allows, in its order; none where it does not say."""
        return _kinds(_shape(schema, frozenset(), frozenset()))

    def ensure(self, value: Json, schema: Node | None, path: Path, *, name: str = "", hint: Node | None = None) -> Json:
        """Give the value with something at the path: what is there stays, what is missing is sampled.

        `hint` is the schema that a user of the value has for it, for places that `schema` says nothing about.
        """
        if not path:
            return value
        token, rest = path[0], path[1:]
        if isinstance(token, str) and not (isinstance(value, list) and token.isdigit()):
            return self._member(value, schema, token, rest, hint)
        return self._element(value, schema, token, rest, name, hint)

    # -- paths --------------------------------------------------------------------------------------------------------

    def _member(self, value: Json, schema: Node | None, token: str, rest: Path, hint: Node | None) -> Json:
        if not isinstance(value, dict) or not value:
            kinds = self.kinds(schema)
            if token.isdigit() and ("array" in kinds or "object" not in kinds):
                return self._element(value, schema, token, rest, "", hint)
        if not isinstance(value, dict):
            value = self.sample(schema, wanted={token}) if "object" in self.kinds(schema) else {}
            value = value if isinstance(value, dict) else {}
        below = self.at(schema, (token,))
        if token not in value:
            value = {**value, token: self._wanted(below, token, rest, hint)}
        elif value[token] is None:
            # An example often has null where nothing was at hand; whoever names the place wants something there.
            value = {**value, token: self._wanted(below, token, rest, hint)}
        return {**value, token: self.ensure(value[token], below, rest, name=token, hint=hint)}

    def _element(
        self, value: Json, schema: Node | None, token: str | int | Each, rest: Path, name: str, hint: Node | None
    ) -> Json:
        elements = list(value) if isinstance(value, list) else []
        below = self.at(schema, (0,))
        index = 0 if isinstance(token, Each) else int(token)
        while len(elements) <= (index if index >= 0 else -index - 1):
            elements.append(self._wanted(below, _singular(name), rest, hint))
        places = range(len(elements)) if isinstance(token, Each) else [index]
        for place in places:
            elements[place] = self.ensure(elements[place], below, rest, name=_singular(name), hint=hint)
        return elements

    def _wanted(self, schema: Node | None, name: str, rest: Path, hint: Node | None) -> Json:
        """Make what is missing on the way along a path."""
        if schema is not None:
            first = rest[:1]
            made = self.sample(schema, name, wanted={each for each in first if isinstance(each, str)})
            if made is not None:
                return made
        if rest:
            return {} if isinstance(rest[0], str) and not rest[0].isdigit() else []
        return self.sample(hint, name) if hint is not None else plausible(name)

    # -- values -------------------------------------------------------------------------------------------------------

    def _made(
        self, schema: Node | None, name: str, wanted: frozenset[str], seen: frozenset[tuple[str, str]], depth: int
    ) -> Json:
        if schema is None or schema.value is True or schema.value == {}:
            return plausible(name)
        shape = _shape(schema, wanted, seen)
        kinds = _kinds(shape)
        offered = _offered(shape, kinds)
        if offered is not MISSING:
            return copy.deepcopy(offered)
        kind = next((each for each in kinds if each != "null"), "null" if kinds else "")
        if kind == "object":
            return self._object(shape, depth)
        if kind == "array":
            return self._array(shape, name, depth)
        return _scalar(kind, shape, name)

    def _object(self, shape: _Shape, depth: int) -> dict[str, Json]:
        made: dict[str, Json] = {}
        for name in shape.required:
            schema = shape.member(name)
            if depth < _DEEPEST and not _contains_itself(schema, shape.seen):
                made[name] = self._made(schema, name, frozenset(), shape.seen, depth + 1)
            elif schema is None or "array" in _kinds(_shape(schema, frozenset(), frozenset())):
                made[name] = []
            else:
                made[name] = {}
        for name in dict.fromkeys(_property_names(shape)):
            if name not in made and depth < _EXAMPLES_UNTIL and _has_example(shape.member(name)):
                made[name] = self._made(shape.member(name), name, frozenset(), shape.seen, depth + 1)
        discriminator = shape.first("discriminator")
        if isinstance(discriminator, dict):
            _discriminate(made, discriminator, shape)
        least = shape.first("minProperties")
        if isinstance(least, int) and len(made) < least:
            for name in [each for each in _property_names(shape) if each not in made][: least - len(made)]:
                made[name] = self._made(shape.member(name), name, frozenset(), shape.seen, depth + 1)
            while len(made) < min(least, 100):
                name = f"key{len(made) + 1}"
                made[name] = self._made(shape.member(name), name, frozenset(), shape.seen, depth + 1)
        return made

    def _array(self, shape: _Shape, name: str, depth: int) -> list[Json]:
        least, most = shape.first("minItems"), shape.first("maxItems")
        wanted = max(1, least if isinstance(least, int) else 0)
        if most == 0 or depth >= _DEEPEST or _contains_itself(shape.item(), shape.seen):
            wanted = 0
        elements: list[Json] = []
        for index in range(min(wanted, 1000)):
            element = self._made(shape.item(index), _singular(name), frozenset(), shape.seen, depth + 1)
            elements.append(_different(element, index) if shape.first("uniqueItems") is True else element)
        return elements


def _has_example(schema: Node | None) -> bool:
    """Tell whether a member that may be left out brings an example of its own: then it is worth showing."""
    return any("example" in part or "examples" in part for part in _shape(schema, frozenset(), frozenset()).parts)


def _different(value: Json, index: int) -> Json:
    if not index:
        return value
    if isinstance(value, bool):
        return value if index % 2 == 0 else not value
    if isinstance(value, (int, float)):
        return value + index
    if isinstance(value, str):
        return f"{value}{index + 1}"
    if isinstance(value, dict):
        first = next(iter(value), None)
        return value if first is None else {**value, first: _different(value[first], index)}
    return value


def _discriminate(made: dict[str, Json], discriminator: Mapping[str, Json], shape: _Shape) -> None:
    """OpenAPI, Discriminator Object: the property names the schema that was chosen."""
    name = discriminator.get("propertyName")
    if not isinstance(name, str):
        return
    mapping = discriminator.get("mapping")
    chosen = [pointer for _, pointer in shape.seen]
    for key, target in mapping.items() if isinstance(mapping, dict) else ():
        if any(isinstance(target, str) and target.endswith(pointer) for pointer in chosen if pointer):
            made[name] = key
            return
    if name not in made:
        named = [pointer.rpartition("/")[2] for pointer in chosen if "/schemas/" in pointer]
        made[name] = named[-1] if named else plausible(name)


def _property_names(shape: _Shape) -> Iterator[str]:
    for part in shape.parts:
        known = part.get("properties")
        yield from known if isinstance(known, dict) else ()


# ---------------------------------------------------------------------------------------------------------------------
# Shapes
# ---------------------------------------------------------------------------------------------------------------------


def _shape(schema: Node | None, wanted: frozenset[str], seen: frozenset[tuple[str, str]]) -> _Shape:
    """Collect what holds at a place. References that lead nowhere say nothing."""
    nodes: list[Node] = []
    waiting = [schema] if schema is not None else []
    met = set(seen)
    mine: set[tuple[str, str]] = set()
    while waiting:
        node = waiting.pop(0)
        if not isinstance(node.value, dict):
            continue
        if isinstance(node.value.get("$ref"), str):
            target = _target(node)
            key = (target.uri, target.pointer) if target else None
            if target is not None and key is not None and key not in mine:
                mine.add(key)
                waiting.insert(0, target)
            if len(node.value) == 1:
                continue
        nodes.append(node)
        waiting += _listed(node, "allOf")
        for word in ("oneOf", "anyOf"):
            chosen = _alternative(_listed(node, word), wanted, met)
            waiting += [chosen] if chosen is not None else []
    return _Shape(tuple(node.value for node in nodes), tuple(nodes), frozenset(met | mine))


def _target(node: Node) -> Node | None:
    try:
        return node.followed()
    except DescriptionError:
        return None


def _listed(node: Node, word: str) -> list[Node]:
    found = _raw(node, word)
    return list(found.elements()) if found is not None and isinstance(found.value, list) else []


def _alternative(branches: Sequence[Node], wanted: frozenset[str], seen: set[tuple[str, str]]) -> Node | None:
    """Choose: the branch that knows most of the wanted members; nothing that contains this one; rather not null."""
    best: tuple[tuple[int, int, int], Node] | None = None
    for branch in branches:
        target = _target(branch)
        if target is None or not isinstance(target.value, dict):
            continue
        knows = 0
        if wanted:
            inner = _shape(branch, wanted, frozenset(seen | {(target.uri, target.pointer)}))
            knows = sum(inner.member(name) is not None for name in wanted)
        is_null = target.value.get("type") == "null"
        rank = (knows, int((target.uri, target.pointer) not in seen), int(not is_null))
        if best is None or rank > best[0]:
            best = (rank, branch)
    return best[1] if best else None


def _contains_itself(schema: Node | None, seen: frozenset[tuple[str, str]]) -> bool:
    if schema is None or not isinstance(schema.value, dict) or "$ref" not in schema.value:
        return False
    target = _target(schema)
    return target is not None and (target.uri, target.pointer) in seen


def _kinds(shape: _Shape) -> list[str]:
    found: list[str] = []
    for part in shape.parts:
        stated = part.get("type")
        listed = [str(each) for each in (stated if isinstance(stated, list) else [stated] if stated else [])]
        # Parts hold together: a later one can only narrow what an earlier one says.
        if listed:
            found = [each for each in found if each in listed] or listed
    if found:
        return found
    if any(isinstance(part.get("properties"), dict) or "additionalProperties" in part for part in shape.parts):
        return ["object"]
    if shape.required:
        return ["object"]
    if any("items" in part for part in shape.parts):
        return ["array"]
    return list(dict.fromkeys(kind_of(each) for each in shape.listed("enum")))


def _offered(shape: _Shape, kinds: Sequence[str]) -> Json | Missing:
    """Give what the schema itself offers, if it is of the type that the schema wants; examples often are not."""
    constant = shape.first("const")
    if constant is not MISSING:
        return constant
    allowed = shape.first("enum")
    listed = allowed if isinstance(allowed, list) else None
    for each in _examples(shape):
        fits = not kinds or kind_of(each) in kinds or (kind_of(each) == "integer" and "number" in kinds)
        if fits and (listed is None or each in listed) and each is not None and _complete(each, shape):
            return each
    if listed:
        return next((each for each in listed if each is not None), None)
    return MISSING


def _examples(shape: _Shape) -> Iterator[Json]:
    for part in shape.parts:
        if "example" in part:
            yield part["example"]
        listed = part.get("examples")
        if isinstance(listed, list):
            yield from listed
        if "default" in part:
            yield part["default"]


def _complete(value: Json, shape: _Shape) -> bool:
    """Tell whether an example has what is required, and keeps to the limits that are easy to check."""
    if isinstance(value, dict):
        return all(name in value for name in shape.required)
    if isinstance(value, str):
        least, most, pattern = shape.first("minLength"), shape.first("maxLength"), shape.first("pattern")
        if isinstance(least, int) and len(value) < least:
            return False
        if isinstance(most, int) and len(value) > most:
            return False
        return not isinstance(pattern, str) or _found(pattern, value)
    if isinstance(value, list):
        least = shape.first("minItems")
        return not isinstance(least, int) or len(value) >= least
    return True


def _found(pattern: str, text: str) -> bool:
    from treadle.mock.patterns import compiled

    known = compiled(pattern)
    return known is None or bool(known.search(text.encode("utf-8", "replace")))


# ---------------------------------------------------------------------------------------------------------------------
# Scalars
# ---------------------------------------------------------------------------------------------------------------------


def _scalar(kind: str, shape: _Shape, name: str) -> Json:
    match kind:
        case "string":
            return _text(shape, name)
        case "integer" | "number":
            return _number(kind, shape)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return plausible(name)


def _text(shape: _Shape, name: str) -> str:
    least, most, pattern = shape.first("minLength"), shape.first("maxLength"), shape.first("pattern")
    shortest = least if isinstance(least, int) else 0
    longest = most if isinstance(most, int) else None
    if isinstance(pattern, str):
        made = matching(pattern, shortest=shortest, longest=longest)
        if made is not None:
            return made
    written = shape.first("format")
    known = _FORMATS.get(written) if isinstance(written, str) else None
    guess = plausible(name)
    text = known if known is not None else guess if isinstance(guess, str) else f"{name or 'text'}-1"
    text = text.ljust(min(shortest, 100_000), "x")
    return text if longest is None else text[:longest]


def _number(kind: str, shape: _Shape) -> int | float:
    low, high, over, under = (
        found if is_number(found := shape.first(word)) or isinstance(found, bool) else None
        for word in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
    )
    # OpenAPI 3.0: the exclusive words are flags.
    if isinstance(over, bool):
        low, over = (None, low) if over else (low, None)
    if isinstance(under, bool):
        high, under = (None, high) if under else (high, None)
    value: float = max(
        1, *(each for each in (low, None if over is None else math.floor(over) + 1) if each is not None), 1
    )
    if high is not None:
        value = min(value, high)
    if under is not None and value >= under:
        value = math.ceil(under) - 1 if kind == "integer" or over is None else (over + under) / 2
    step = shape.first("multipleOf")
    if is_number(step) and step > 0:
        value = math.ceil(value / step) * step
    return int(value) if kind == "integer" and math.isfinite(value) else value


def is_number(value: Json | Missing) -> TypeGuard[float]:
    """Tell whether a value is a number; a truth value is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_NAMED: Final[tuple[tuple[re.Pattern[str], Json], ...]] = (
    (re.compile(r"(?i)e-?mail(_?address)?$"), "somebody@example.com"),
    (re.compile(r"^(is|has|can|was)[A-Z_]|(?i:^(enabled|active|success|ok|required|valid|available)$)"), True),
    (re.compile(r"(?i)(count|total|size|limit|offset|quantity|amount|price|number_of.*|pages?|length)$"), 1),
    (re.compile(r"(?i)(url|uri|href|link|endpoint|website)$"), "https://example.com/"),
    (re.compile(r"(_at|At|(?i:date_?time|timestamp))$"), "2026-01-02T03:04:05Z"),
    (re.compile(r"(?i)(^|_|[a-z])date$"), "2026-01-02"),
    (re.compile(r"(?i)uuid$"), "3fa85f64-5717-4562-b3fc-2c963f66afa6"),
)


def plausible(name: str) -> Json:
    """Guess a value of which nothing but the name is known."""
    for pattern, value in _NAMED:
        if pattern.search(name):
            return value
    return f"{name}-1" if name else "text"


def _singular(name: str) -> str:
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name
