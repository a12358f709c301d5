"""Texts that only look like expressions: those of other languages, and misspelt ones inside of longer texts.

They are sent as they stand, which can be meant (templates of another program); so they are told, and nothing else.
Only what names a declared input or step is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from treadle.arazzo.expressions.parse import meant
from treadle.arazzo.expressions.scope import Scope

__all__ = ["lookalikes"]

_NAMED: Final = r"(?:inputs|steps|workflows)\.[A-Za-z0-9_\-.#/\[\]]+"
_ALONE: Final = re.compile(_NAMED)
_BRACKETED: Final = re.compile(rf"(?:\$?\{{\{{?|<)\s*(\$?{_NAMED})\s*(?:\}}\}}?|>)")
_MISSPELT: Final = re.compile(r"(?<![\w${])\$[A-Za-z]+(?:\.[A-Za-z0-9_\-]+)+")


def lookalikes(text: str, scope: Scope) -> Iterator[tuple[str, str]]:
    """Give what stands in a text and looks like an expression, with how the expression is written there.

    A text that is one misspelt expression is not looked at: it is judged as such.
    """
    found = [(each[0], each[1]) for each in _BRACKETED.finditer(text) if not each[0].startswith(("{$", "<$"))]
    found += [(each[0], each[0]) for each in _MISSPELT.finditer(text) if each[0] != text]
    found += [(text, text)] if _ALONE.fullmatch(text) else []
    for source, name in found:
        proper, declared = (name, True) if name.startswith("$") and source != name else meant(name, scope)
        if declared:
            yield source, proper if source == text else f"{{{proper}}}"
