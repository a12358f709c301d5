"""What an operation gives back, and how it is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from treadle.seams import ObjectReader
from treadle.training.api.s3 import xml

__all__ = ["Answer", "of_xml"]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: `body`, or, when there is a `reader`, `length` bytes of an object from `start`."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    reader: ObjectReader | None = None
    start: int = 0
    length: int = 0


def of_xml(name: str, content: Iterable[str], headers: Mapping[str, str] | None = None) -> Answer:
    """Give an answer that is a document."""
    return Answer(200, {"content-type": "application/xml", **(headers or {})}, xml.document(name, content))
