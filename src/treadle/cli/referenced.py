"""Reads the documents that the references of an API description lead into."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from treadle.arazzo.load import load
from treadle.arazzo.registry import may_refer
from treadle.errors import DescriptionError, Diagnostic

if TYPE_CHECKING:
    from treadle.arazzo.registry import Registry
    from treadle.seams import Json

__all__ = ["Referenced"]

_MOST: Final = 5000
_LARGEST: Final = 64 * 1024 * 1024
_PATIENCE: Final = 60.0


class Referenced:
    """Reads the documents that the references of one description lead into, each once; see `sources.walk.ReadOther`.

    What one description may cost is bounded: five thousand documents, 64 MiB, and a minute of reading, all together.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[tuple[str, bool], Json | DescriptionError] = {
            (uri, True): each.value for uri, each in registry.documents.items()
        }
        self._read = 0
        self._size = 0
        self._seconds = 0.0

    def __call__(self, reference: str, base: str) -> tuple[str, Json]:
        """Give the URI and the value of the document that a reference in the one at `base` means.

        Raises `DescriptionError`.
        """
        uri = self._registry.resolve(base, reference)
        key = uri, may_refer(base, uri)  # what is known because a file refers to it stays unknown to the network
        if key not in self._known:
            self._known[key] = self._value(uri, base)
        known = self._known[key]
        if isinstance(known, DescriptionError):
            raise DescriptionError(known.diagnostics)
        return uri, known

    def _value(self, uri: str, base: str) -> Json | DescriptionError:
        if self._read >= _MOST or self._size >= _LARGEST or self._seconds >= _PATIENCE:
            message = f"{uri} is not read: the description is spread over too many, too large or too slow documents"
            return DescriptionError([Diagnostic("source-unreadable", message)])
        began = time.monotonic()
        self._read += 1
        try:
            data = self._registry.read(uri, origin=base)
            self._size += len(data)
            return load(data, uri).value
        except DescriptionError as error:
            return error
        finally:
            self._seconds += time.monotonic() - began
