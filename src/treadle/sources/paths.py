"""Path keys as real descriptions write them.

`/pets/{petId}` is OpenAPI's own form. Three more are common in public descriptions: what stands after `#` only tells
operations of one path apart (`/#CreateTrainingJob` is `/`); what stands after `?` belongs to the query, constants as
well as templates (`/{Bucket}?acl`, `?uploadId={uploadId}`); `{Key+}` is a parameter that keeps its slashes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote

__all__ = ["PathKey", "Placeholder", "parse_path_key"]


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A `{name}`; `greedy` is `{name+}`."""

    name: str
    greedy: bool = False


Parts = tuple[str | Placeholder, ...]


@dataclass(frozen=True, slots=True)
class PathKey:
    """A path key taken apart. `query` holds pairs of an encoded name and the parts of its value, None for `?acl`."""

    path: Parts
    query: tuple[tuple[str, Parts | None], ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """The names of the placeholders in the path."""
        return frozenset(part.name for part in self.path if isinstance(part, Placeholder))


_PLACEHOLDER: Final = re.compile(r"\{([^{}]+?)(\+?)\}")


@lru_cache(maxsize=512)
def parse_path_key(key: str) -> PathKey:
    """Take a path key apart."""
    path, _, query = key.partition("#")[0].partition("?")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    return PathKey(
        _parts(path, safe="/:@!$&'()*+,;=%~"),
        tuple(
            (quote(name, safe="%~"), _parts(value, safe="/:@!$'()*,;=%~") if equals else None)
            for name, equals, value in pairs
        ),
    )


def _parts(text: str, *, safe: str) -> Parts:
    parts: list[str | Placeholder] = []
    end = 0
    for found in _PLACEHOLDER.finditer(text):
        if found.start() > end:
            parts.append(quote(text[end : found.start()], safe=safe))
        parts.append(Placeholder(found[1], greedy=bool(found[2])))
        end = found.end()
    if end < len(text):
        parts.append(quote(text[end:], safe=safe))
    return tuple(parts)
