"""How runtime expressions are misspelt: which one a text probably means.

Only spelling is judged here. Whether the result is an expression, and whether what it names is there, says `parse`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final

__all__ = ["respelt"]

_ROOTS: Final = (
    "inputs",
    "outputs",
    "steps",
    "workflows",
    "request",
    "response",
    "message",
    "sourceDescriptions",
    "components",
    "statusCode",
    "method",
    "url",
)
_OTHER_WORDS: Final = {
    "req": "request",
    "res": "response",
    "status": "statusCode",
    "status_code": "statusCode",
    "sources": "sourceDescriptions",
    "source": "sourceDescriptions",
}
"""What other languages call the roots."""

_ALONE: Final = {
    **dict.fromkeys((f"response.{name}" for name in ("statuscode", "status_code", "status", "code")), "$statusCode"),
    "request.url": "$url",
    "request.method": "$method",
}
_PARTS: Final = {
    "request": ("header", "query", "path", "body"),
    "response": ("header", "body"),
    "message": ("header", "payload"),
}

# `$steps['a']`, `$response.body['id']`, `#id` and `.length()` are how other languages get there.
_QUOTED: Final = re.compile(r"\[(['\"])([A-Za-z0-9_\-]+)\1\]")
_POINTED: Final = re.compile(r"#(?:\$\.)?(?=[A-Za-z_])")
# Plain expressions only: `$input.path('$')` and its like belong to other languages, and are sent to their servers.
_SHAPE: Final = re.compile(r"\$?([A-Za-z_]+)((?:[.#\[][A-Za-z0-9_\-.~/#\[\]@:$]*)?)")
_PART: Final = re.compile(r"\.([A-Za-z]+)(?=[.#\[/]|\Z)")
_BODY: Final = re.compile(r"\.(body|payload)(?:\.\$)?[/.](?=[^/.])")
_QUERY: Final = re.compile(r"\$((?:\.[A-Za-z_][A-Za-z0-9_\-]*|\[[0-9]+\])+)")
_SINGULAR: Final = re.compile(r"(\.[^.#\[]+)\.(output|input)(?=[.#\[]|\Z)", re.IGNORECASE)


def respelt(text: str) -> str:
    """Give a text as it is spelt properly, with the `$` that it may lack; "" where nothing comes close.

    >>> respelt("$input.name"), respelt("$respone.body#/id"), respelt("$response.status")
    ('$inputs.name', '$response.body#/id', '$statusCode')
    """
    if len(text) > _LONGEST:
        return ""
    query = _QUERY.fullmatch(text)
    if query is not None:  # where an expression must stand, a JSONPath can only mean the answer
        return "$response.body#" + re.sub(r"\.|\[([0-9]+)\]", r"/\1", query[1])
    text = _POINTED.sub("#/", _QUOTED.sub(r".\2", text.removesuffix("()")))
    found = _SHAPE.fullmatch(text.rstrip("."))
    if found is None:
        return ""
    root = _near(found[1], _ROOTS, _OTHER_WORDS)
    if not root:
        return ""
    rest = found[2]
    alone = _ALONE.get(f"{root}{rest}".lower())
    if alone:
        return alone
    if root in _PARTS:
        rest = _PART.sub(lambda part: f".{_near(part[1], _PARTS[root]) or part[1]}", rest, count=1)
        if "/" in rest.partition("#")[0] or ".$" in rest:
            rest = _BODY.sub(r".\1#/", rest, count=1)
    elif root in {"steps", "workflows"}:
        rest = _SINGULAR.sub(lambda part: f"{part[1]}.{part[2].lower()}s", rest, count=1)
    return f"${root}{rest}"


_LONGEST: Final = 500


def _near(word: str, known: Iterable[str], others: dict[str, str] | None = None) -> str:
    folded = {each.lower(): each for each in known} | (others or {})
    lower = word.lower()
    near = [lower] if lower in folded else difflib.get_close_matches(lower, folded, 1, 0.72)
    return folded[near[0]] if near else ""
