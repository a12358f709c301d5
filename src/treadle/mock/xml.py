"""XML for criteria of type xpath, and for answers whose media type is XML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from treadle.arazzo.expressions import EvaluationError
from treadle.arazzo.expressions.xpath import XPathError, compile_xpath
from treadle.seams import MISSING, Json, Missing
from treadle.sources.walk import Node

__all__ = ["candidates", "holds", "written"]

_NAME: Final = re.compile(r"[A-Za-z_][\w.-]*\Z")


def holds(text: str, document: Json | Missing) -> bool:
    """Tell whether an XPath holds."""
    if not isinstance(document, str):
        return False
    try:
        return compile_xpath(text, "xpath-31").holds(document, any_namespace=True)[0]
    except (EvaluationError, XPathError):
        return False


# `/a/b[c = 'x']/@d`, `//b`: what criteria really write.
_STEP: Final = re.compile(r"(//?)(?:[\w.-]+:)?(@?[A-Za-z_*][\w.-]*)((?:\[[^\]]*\])*)")
_VALUE: Final = re.compile(
    r"(?:text\(\)\s*)?(=|!=|>=|<=|>|<|eq|ne|gt|ge|lt|le)\s*(?:'([^']*)'|\"([^\"]*)\"|(-?\d+(?:\.\d+)?))"
)
_INSIDE: Final = re.compile(r"\[\s*(@?[A-Za-z_][\w.-]*)\s*=\s*(?:'([^']*)'|\"([^\"]*)\"|(\d+))\s*\]")


def candidates(text: str, body: Json | Missing, positive: bool) -> Iterator[str]:
    """Give documents for which an XPath may hold (or, not `positive`, may not); what `body` has stays where it can."""
    if not positive:
        yield "<none/>"
        return
    steps = list(_STEP.finditer(text))
    paths: list[list[re.Match[str]]] = []
    for each in steps:
        if paths and paths[-1][-1].end() == each.start():
            paths[-1].append(each)
        else:
            paths.append([each])
    for path in paths:
        tail = text[path[-1].end() :]
        found = _VALUE.search(tail)
        for value in _values(found):
            made = _nested(path, value)
            yield from (joined for joined in [_joined(body, made)] if joined)
            yield made


_ELEMENT: Final = re.compile(r"\s*<([\w.-]+)[^>]*>(.*)</\1>\s*", re.DOTALL)


def _joined(body: Json | Missing, made: str) -> str:
    """Put the content of one document behind that of another with the same root, or "" where there is none."""
    known, new = _ELEMENT.fullmatch(body) if isinstance(body, str) else None, _ELEMENT.fullmatch(made)
    if known is None or new is None or new[1] not in {_ANYWHERE, known[1]}:
        return ""
    end = known.end(2)
    return f"{known.string[:end]}{new[2]}{known.string[end:]}"


_ANYWHERE: Final = "root"
"""The root around what may stand anywhere."""


def _values(found: re.Match[str] | None) -> list[str]:
    if found is None:
        return ["text", "1"]
    literal = next((each for each in found.groups()[1:] if each is not None), "")
    operator = found[1]
    if operator in ("!=", "ne"):
        return [f"not {literal}", "1"]
    try:
        number = float(literal)
    except ValueError:
        return [literal]
    near = {">": number + 1, "gt": number + 1, "<": number - 1, "lt": number - 1}.get(operator, number)
    return [f"{near:g}", literal]


def _nested(path: list[re.Match[str]], value: str) -> str:
    inner = escape(value)
    attribute = ""
    for step in reversed(path):
        name, filters = step[2], step[3]
        if name.startswith("@"):
            attribute, inner = f" {name[1:]}={quoteattr(value)}", ""
            continue
        name = "item" if name == "*" else name
        for found in _INSIDE.finditer(filters):
            literal = next((each for each in found.groups()[1:] if each is not None), "")
            if found[1].startswith("@"):
                attribute += f" {found[1][1:]}={quoteattr(literal)}"
            else:
                inner = f"<{found[1]}>{escape(literal)}</{found[1]}>{inner}"
        inner = f"<{name}{attribute}>{inner}</{name}>"
        attribute = ""
    return inner if path[0][1] != "//" else f"<{_ANYWHERE}>{inner}</{_ANYWHERE}>"


def written(value: Json | Missing, schema: Node | None) -> str:
    """Write a JSON value as XML (OpenAPI, XML Object: the names that a schema gives)."""
    if isinstance(value, str) and value.lstrip().startswith("<"):
        return value
    described = schema.value if schema is not None and isinstance(schema.value, dict) else {}
    stated = described.get("xml")
    name = stated.get("name") if isinstance(stated, dict) else None
    if not isinstance(name, str):
        name = schema.pointer.rpartition("/")[2] if schema is not None and "/schemas/" in schema.pointer else "root"
    return _element(name, None if value is MISSING else value)


def _element(name: str, value: Json) -> str:
    name = name if _NAME.match(name) else "item"
    if isinstance(value, dict):
        return f"<{name}>{''.join(_member(key, each) for key, each in value.items())}</{name}>"
    if isinstance(value, list):
        return f"<{name}>{''.join(_element('item', each) for each in value)}</{name}>"
    if value is None:
        return f"<{name}/>"
    text = "true" if value is True else "false" if value is False else str(value)
    return f"<{name}>{escape(text)}</{name}>"


def _member(name: str, value: Json) -> str:
    if isinstance(value, list):
        return "".join(_element(name, each) for each in value)
    return _element(name, value)
