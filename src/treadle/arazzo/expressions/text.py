"""Values as text: what stands where `{$expr}` stood, escaped for the place where it lands."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from treadle.arazzo.expressions.scope import EvaluationError
from treadle.seams import MISSING, Json, Missing

__all__ = ["ESCAPES", "Escape", "brief", "plain", "text_of"]

Escape: TypeAlias = Callable[[str], str]


def text_of(value: Json) -> str:
    """Write a value as text (Arazzo 1.1, "Runtime Expressions"): strings as they are, everything else as JSON.

    Raises `EvaluationError` for what has no text: JSON nested beyond Python's recursion limit.
    """
    if isinstance(value, str):
        return value
    if value is True:
        return "true"
    if value is False:
        return "false"
    if value is None:
        return "null"
    try:
        return int.__repr__(value) if isinstance(value, int) else _dump(value)
    except ValueError:
        raise EvaluationError("a number has more than 4300 digits, which Python does not write out") from None
    except RecursionError:
        raise EvaluationError("a value is nested too deeply to be written as text") from None


def _dump(value: Json) -> str:
    # NaN and infinities cannot come from JSON; if one got here, its Python name is better than a failure.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_other)


def _other(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


def plain(text: str) -> str:
    """Leave the text alone."""
    return text


_XML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"})


def _xml(text: str) -> str:
    return text.translate(_XML)


def _form(text: str) -> str:
    from urllib.parse import quote  # the import is only paid by form templates

    return quote(text, safe="", errors="replace")


ESCAPES: Final[Mapping[str, Escape]] = {"": plain, "xml": _xml, "form": _form}
"""Place → what makes text safe there."""

_LONGEST = 80


def brief(value: Json | Missing) -> str:
    """Show a value in one short line, at a cost that does not depend on its size."""
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= _LONGEST else f'"{value[:_LONGEST]}…" ({len(value)} characters)'
    if value is MISSING:
        return "missing"
    if isinstance(value, list):
        return f"an array of {len(value)}"
    if isinstance(value, Mapping):
        return f"an object of {len(value)}"
    text = text_of(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
