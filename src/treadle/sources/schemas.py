"""The schemas of a description, as the rules of a check look at them: walked on demand, never resolved whole.

Schemas refer to each other in circles, and a public description has thousands of them. So a schema is a place in the
document, and going below it follows the one reference that stands there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from treadle.errors import DescriptionError
from treadle.seams import Json
from treadle.sources.walk import Node

__all__ = ["DescribedSchema", "media_schema", "schema_of"]


@dataclass(frozen=True, slots=True)
class DescribedSchema:
    """A schema whose own reference has been followed; see `seams.Schema`."""

    node: Node

    @property
    def keywords(self) -> Mapping[str, Json]:
        """Its keywords."""
        return self.node.value if isinstance(self.node.value, dict) else {}

    def below(self, *tokens: str | int) -> DescribedSchema | None:
        """Give the schema at this way through the keywords, or None."""
        node: Node | None = self.node
        for token in tokens:
            node = node.child(str(token)) if node is not None else None
        return schema_of(node)


def schema_of(node: Node | None) -> DescribedSchema | None:
    """Give the schema at a place, its `$ref` followed; None where that cannot be done.

    Keywords beside a `$ref` count as well: 3.1 says so, and authors of 3.0 mean it (`nullable`).
    """
    if node is None or not isinstance(node.value, (dict, bool)):
        return None
    try:
        target = node.followed()
    except DescriptionError:
        return None
    if target is not node and isinstance(target.value, dict) and isinstance(node.value, dict):
        beside = node.beside(target)
        target = target.having({**target.value, **beside}) if beside else target
    return DescribedSchema(target)


def media_schema(described: Node) -> DescribedSchema | None:
    """Give the schema of a Media Type Object, with its examples among those of the schema."""
    schema = schema_of(described.child("schema"))
    if schema is None or not isinstance(described.value, dict) or not isinstance(schema.node.value, dict):
        return schema
    found = [described.value["example"]] if "example" in described.value else []
    listed = described.value.get("examples")
    found += [each["value"] for each in (listed.values() if isinstance(listed, dict) else ()) if _has_value(each)]
    own = schema.keywords.get("examples")
    found += [schema.keywords["example"]] if "example" in schema.keywords else []
    found += own if isinstance(own, list) else []
    return DescribedSchema(schema.node.having({**schema.node.value, "examples": found})) if found else schema


def _has_value(example: Json) -> bool:
    return isinstance(example, dict) and "value" in example
