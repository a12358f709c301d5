"""Groups a listing by a delimiter, for stores and delimiters that have no shorter way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from treadle.seams import CommonPrefix, ObjectInfo

__all__ = ["grouped"]


def grouped(objects: Iterable[ObjectInfo], prefix: str, delimiter: str) -> Iterator[ObjectInfo | CommonPrefix]:
    """Give the objects, which start with `prefix` and are in order, and once each beginning that ends in `delimiter`.

    >>> [each.key if isinstance(each, ObjectInfo) else each.prefix
    ...  for each in grouped([ObjectInfo("a/1", 0, 0), ObjectInfo("a/2", 0, 0), ObjectInfo("b", 0, 0)], "", "/")]
    ['a/', 'b']
    """
    last: str | None = None
    for info in objects:
        if last is not None and info.key.startswith(last):
            continue
        end = info.key.find(delimiter, len(prefix)) if delimiter else -1
        if end < 0:
            yield info
        else:
            last = info.key[: end + len(delimiter)]
            yield CommonPrefix(last)
