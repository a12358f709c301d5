"""What the operation's schema wants of a payload, as `compile_value` asks: which type stands where.

A schema may be as large as the description; only the way that a payload takes through it is ever walked. `allOf` is
looked into, because descriptions write inheritance so; alternatives are not, for nobody can tell which one is meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from treadle.seams import Json, Schema

__all__ = ["wanted"]


def wanted(schema: Schema | None) -> Mapping[str, Json] | None:
    """Give a schema as a mapping of the keywords `type`, `properties` and `items`."""
    return None if schema is None else _Wanted(schema)


def _parts(schema: Schema) -> Iterator[Schema]:
    """Give the schema and what `allOf` adds to it, one level deep."""
    yield schema
    more = schema.keywords.get("allOf")
    for index in range(len(more) if isinstance(more, list) else 0):
        part = schema.below("allOf", index)
        if part is not None:
            yield part


@dataclass(frozen=True)
class _Wanted(Mapping[str, Json]):
    schema: Schema

    def __getitem__(self, key: str) -> Json:
        if key == "properties":
            return _Properties(self.schema)
        if key == "items":
            found = (part.below("items") for part in _parts(self.schema))
            return wanted(next((each for each in found if each is not None), None))
        for part in _parts(self.schema):
            if key in part.keywords:
                return part.keywords[key]
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(("type", "properties", "items"))

    def __len__(self) -> int:
        return 3


@dataclass(frozen=True)
class _Properties(Mapping[str, Json]):
    schema: Schema

    def __getitem__(self, name: str) -> Json:
        for part in _parts(self.schema):
            found = part.below("properties", name)
            if found is not None:
                return wanted(found)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        names = (part.keywords.get("properties") for part in _parts(self.schema))
        return iter({name: None for each in names if isinstance(each, dict) for name in each})

    def __len__(self) -> int:
        return sum(1 for _ in self)
