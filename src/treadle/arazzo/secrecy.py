"""The texts that nobody may see, and how they are hidden: wherever they stand in an event, however they were written.

A secret comes back in the URL that it was put into, percent-encoded, and in a body that an answer quotes, as JSON in
JSON. What an event is, and the names that the document gives, stay as they are: a password may well be "status".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from treadle.arazzo import events
from treadle.masking import MASK, SHORTEST, spellings

__all__ = ["Secrets"]

_Event = TypeVar("_Event", bound=events.Event)

# Of the members of events those that are the document's own words or the engine's, and so hold no secret.
_OPEN: Final = frozenset(
    {
        "action",
        "document",
        "method",
        "name",
        "path",
        "rule",
        "rules",
        "run_id",
        "severity",
        "status",
        "step_id",
        "target",
        "type",
        "why",
        "workflow_id",
    }
)


@dataclass(frozen=True, slots=True)
class Secrets:
    """Texts that must not appear in events: they are masked wherever they stand."""

    texts: frozenset[str] = frozenset()

    def also(self, texts: Iterable[str]) -> Secrets:
        """Give the same with more texts; one that is too short to be a secret is left out."""
        more = {text for text in texts if len(text) >= SHORTEST}
        return self if more <= self.texts else Secrets(self.texts | more)

    def mask(self, event: _Event) -> _Event:
        """Give the event without the secrets."""
        if not self.texts:
            return event
        forms = _forms(self.texts)
        written = events.encode(event)
        if not any(each in written for _, each in forms):
            return event
        hidden: _Event = _hidden(event, [text for text, _ in forms])
        return hidden


@lru_cache(maxsize=64)
def _forms(texts: frozenset[str]) -> tuple[tuple[str, bytes], ...]:
    """Give how the texts may have been written, the longest first, each also as JSON writes it."""
    forms = {form for text in texts for form in (*spellings(text), _in_json(text))}
    return tuple((each, _in_json(each).encode()) for each in sorted(forms, key=len, reverse=True))


def _in_json(text: str) -> str:
    return msgspec.json.encode(text)[1:-1].decode()


def _hidden(value: Any, forms: Iterable[str]) -> Any:
    if isinstance(value, str):
        for form in forms:
            value = value.replace(form, MASK)
        return value
    if isinstance(value, dict):
        return {_hidden(name, forms): _hidden(each, forms) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_hidden(each, forms) for each in value)
    if isinstance(value, msgspec.Struct):
        members = {name: getattr(value, name) for name in value.__struct_fields__ if name not in _OPEN}
        return msgspec.structs.replace(value, **{name: _hidden(each, forms) for name, each in members.items()})
    return value
