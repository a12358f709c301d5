"""XPath 1.0 to 3.1 over XML text, through elementpath, which is imported when the first query is compiled.

What a query can do is limited: documents come without DTD (so without entities), no function reads files, addresses
or the environment, none takes a pattern (elementpath runs those on Python's `re`, whose time has no bound), and an
evaluation has a deadline and a limit on the size of what it makes.
"""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from types import FrameType
from typing import Any, ClassVar, Final
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from treadle.errors import TreadleError
from treadle.seams import MISSING, Json, Missing

__all__ = ["XPath", "XPathError", "compile_xpath"]

LONGEST: Final = 2_000
"""Characters that a query may have."""
LARGEST: Final = 32 * 1024 * 1024
"""Characters that a document may have."""
DEEPEST: Final = 400
"""Levels that a document may have."""
SECONDS: Final = 5.0
"""Time that one evaluation may take."""
LARGEST_STEP: Final = 200_000
"""Characters or items that a step of an evaluation may give, beyond the size of the document."""

_REFUSED: Final = {
    **dict.fromkeys(("matches", "replace", "tokenize", "analyze-string"), "its pattern would run without a time bound"),
    **dict.fromkeys(("function-lookup", "load-xquery-module", "transform"), "it reaches functions by computed names"),
    **dict.fromkeys(
        ("doc", "doc-available", "collection", "uri-collection", "unparsed-text", "unparsed-text-lines", "json-doc"),
        "it reads from outside the document",
    ),
    **dict.fromkeys(
        ("unparsed-text-available", "environment-variable", "available-environment-variables"),
        "it reads from outside the document",
    ),
    **dict.fromkeys(("parse-xml", "parse-xml-fragment"), "it parses XML of its own"),
}


class XPathError(TreadleError):
    """A text is no XPath of that version, a document is no XML, or an evaluation failed."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class XPath:
    """A compiled query. `_token` is elementpath's root token."""

    text: str
    token: Any

    def holds(self, document: Json, *, any_namespace: bool = True) -> tuple[bool, bool]:
        """Give the effective boolean value, and whether it took ignoring the default namespace to be true.

        Raises `XPathError`.
        """
        root, defaults = _parse(document)
        if self._evaluate(root, self.token.boolean_value):
            return True, False
        if any_namespace and defaults:
            return bool(self._evaluate(_without(root, defaults), self.token.boolean_value)), True
        return False, False

    def select(self, document: Json, *, any_namespace: bool = True) -> Json | Missing:
        """Give what is selected: nothing is MISSING, one item its value, several a list. Raises `XPathError`.

        What finds nothing, `string(//name)` and `count(//pet)` too, is tried again without the default namespace.
        """
        root, defaults = _parse(document)
        found = self._evaluate(root, _values)
        if any_namespace and defaults and not any(found):
            found = self._evaluate(_without(root, defaults), _values)
        return MISSING if not found else found[0] if len(found) == 1 else found

    def nodes(self, root: Element, defaults: set[str]) -> list[Any]:
        """Give elementpath's nodes for a tree, which may lose its default namespaces for it. Raises `XPathError`."""
        found: list[Any] = self._evaluate(root, list)
        return found or (self._evaluate(_without(root, defaults), list) if defaults else found)

    def size(self, root: Element) -> int:
        """Give the characters and elements of a document, about."""
        return sum(len(each.text or "") + len(each.tail or "") + 1 for each in root.iter())

    def _evaluate(self, root: Element, convert: Callable[[list[Any]], Any]) -> Any:
        from elementpath import XPathContext

        try:
            with _bounded(self.size(root)):
                return convert(list(self.token.select(XPathContext(root))))
        except XPathError:
            raise
        except RecursionError:
            raise XPathError(f"'{self.text}' cannot be evaluated: it is nested too deeply") from None
        except Exception as error:
            raise XPathError(f"'{self.text}' cannot be evaluated: {error}") from error


# String literals and comments; then `to` behind an operand (behind a keyword it is an element's name).
_STRINGS: Final = re.compile(r"'[^']*'|\"[^\"]*\"|\(:.*?:\)", re.DOTALL)
_RANGE: Final = re.compile(
    r"(?<!\band)(?<!\bor)(?<!\bin)(?<!\breturn)(?<!\bthen)(?<!\belse)(?<!\bsatisfies)(?<!\beq)(?<!\bne)"
    r"(?<!\bunion)(?:(?<=[\w.])\s+|(?<=[\])}\"*])\s*|(?<=[0-9]))to\b"
)


@lru_cache(maxsize=256)
def compile_xpath(text: str, version: str = "xpath-31") -> XPath:
    """Compile a query of a version (`xpath-31`, `-30`, `-20`, `-10`). Raises `XPathError`."""
    if len(text) > LONGEST:
        raise XPathError(f"it is longer than {LONGEST} characters")
    if _RANGE.search(_STRINGS.sub('""', text)):
        raise XPathError("the range operator 'to' is refused: it makes sequences of any length out of nothing")
    parser = _parser(version)
    try:
        with _bounded(0):  # elementpath evaluates constants while it parses
            token = parser().parse(text)
        symbols = {each.symbol for each in token.iter()}
    except XPathError:
        raise
    except RecursionError:
        raise XPathError("it is nested too deeply") from None
    except Exception as error:
        raise XPathError(str(error)) from error
    for symbol in sorted(symbols & _REFUSED.keys()):
        raise XPathError(
            f"the function {symbol}() is refused: {_REFUSED[symbol]}",
            hint="use contains(), starts-with(), or a criterion of type regex",
        )
    return XPath(text, token)


def _parser(version: str) -> Any:
    try:
        import elementpath
    except ImportError:
        raise XPathError(
            "XPath needs the package elementpath, which is not installed", hint="pip install elementpath"
        ) from None
    if version == "xpath-10":
        return elementpath.XPath1Parser
    if version == "xpath-20":
        return elementpath.XPath2Parser
    # These two are not among the package's top names, so that XPath 1.0 alone stays light.
    if version == "xpath-30":
        from elementpath.xpath30 import XPath30Parser

        return XPath30Parser
    if version == "xpath-31":
        from elementpath.xpath31 import XPath31Parser

        return XPath31Parser
    raise XPathError(f"there is no version '{version}'", hint="known: xpath-31, xpath-30, xpath-20, xpath-10")


# ---------------------------------------------------------------------------------------------------------------------
# Documents
# ---------------------------------------------------------------------------------------------------------------------


class _Builder(TreeBuilder):
    """Builds a tree, refuses a DTD, remembers which namespaces were a default one."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0
        self.defaults: set[str] = set()

    def start(self, tag: str, attrs: Any, /) -> Element:
        self.depth += 1
        if self.depth > DEEPEST:
            raise XPathError(f"the document is nested more than {DEEPEST} levels deep")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self.depth -= 1
        return super().end(tag)

    def start_ns(self, prefix: str, uri: str) -> None:
        if not prefix and uri:
            self.defaults.add(uri)

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:  # noqa: ARG002  (expat's)
        raise XPathError("the document has a DTD, and those are refused: they can define entities")


def _parse(document: Json) -> tuple[Element, set[str]]:
    if not isinstance(document, str):
        raise XPathError("the context is no XML text")
    if len(document) > LARGEST:
        raise XPathError(f"the document is longer than {LARGEST} characters")
    builder = _Builder()
    parser = XMLParser(target=builder)  # noqa: S314  (no DTD gets through the builder, so no entities)
    try:
        parser.feed(document)
        return parser.close(), builder.defaults
    except (ParseError, ValueError) as error:  # ValueError: a lone surrogate
        raise XPathError(f"the context is no XML: {error}") from error


def _without(root: Element, namespaces: set[str]) -> Element:
    """Take the elements of these namespaces out of them, in place."""
    for element in root.iter():
        if element.tag.startswith("{"):
            uri, _, name = element.tag[1:].partition("}")
            if uri in namespaces:
                element.tag = name
    return root


def _values(items: Iterable[Any]) -> list[Json]:
    """Give what has a value in JSON: NaN, which number() makes of nothing, and the infinities have none."""
    return [_value(item) for item in items if not (isinstance(item, float) and not math.isfinite(item))]


def _value(item: Any) -> Json:
    """Give an item as JSON; numbers and texts of elementpath are classes of its own, which nobody else can write."""
    if isinstance(item, bool) or item is None:
        return item
    for kind in (int, float, str):
        if isinstance(item, kind):
            return kind(item)
    if isinstance(item, Decimal):
        return int(item) if item == item.to_integral_value() else float(item)
    if hasattr(item, "nargs"):  # functions, and of XPath 3.1 maps and arrays, which are functions there
        return _structure(item)
    text = getattr(item, "string_value", None)  # a node
    return text if isinstance(text, str) else str(item)


def _structure(item: Any) -> Json:
    from elementpath.xpath_tokens import XPathArray, XPathMap  # loaded by whoever made the item

    if isinstance(item, XPathMap):
        return {str(_value(key)): _sequence(value) for key, value in item.items()}
    if isinstance(item, XPathArray):
        return [_sequence(value) for value in item.items()]
    raise XPathError("a function is no value")


def _sequence(value: Any) -> Json:
    """Give the value of a member, a sequence: null for an empty one, the item of one, a list of several."""
    found = _values(value if isinstance(value, list) else [value])
    return None if not found else found[0] if len(found) == 1 else found


# ---------------------------------------------------------------------------------------------------------------------
# Time
# ---------------------------------------------------------------------------------------------------------------------


@contextmanager
def _bounded(size: int) -> Iterator[None]:
    """Stop what runs inside when it takes too long or makes too much.

    Each call of a Python function, and each step of a generator, looks at the clock; each return looks at what was
    made. A trace function is the one way to stop a foreign evaluator in its own thread; it is set for that time only.
    """
    end = time.monotonic() + SECONDS
    most = size + LARGEST_STEP

    def look(frame: FrameType, event: str, made: Any) -> Any:
        if event == "call":
            frame.f_trace_lines = False
            if time.monotonic() > end:
                raise XPathError(f"the evaluation takes more than {SECONDS:g} s")
        elif event == "return" and isinstance(made, (str, list, tuple)) and len(made) > most:
            raise XPathError("the evaluation makes values that are too large")
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        yield
    finally:
        sys.settrace(before)
