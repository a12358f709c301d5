"""How parameter values become text: OpenAPI's styles, one function each.

OpenAPI defines them by RFC 6570 (3.0.4 and 3.1.1, "Style Examples" and appendix C). The functions give the finished
text of one parameter: `;color=blue` (matrix), `color=blue&color=black` (form) and so on. Everything that is not an
unreserved character is percent-encoded, so a value can never add a path segment or a query member; `allowReserved` lets
the reserved characters through that do no harm in a query.

Null members are left out, as RFC 6570 leaves out what is undefined. Elements that are themselves lists or objects, for
which no style but deepObject says anything, are written as JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import msgspec

from treadle.errors import CallError
from treadle.seams import ArgumentLocation, Json

__all__ = [
    "DEFAULT_STYLES",
    "Rule",
    "cookie_text",
    "encoded",
    "header_text",
    "path_text",
    "query_text",
    "reserved_kept",
    "scalar",
]

Encode = Callable[[str], str]
Style = Callable[[str, Json, bool, Encode], str]

DEFAULT_STYLES: Final[Mapping[str, str]] = {"path": "simple", "header": "simple", "query": "form", "cookie": "form"}


@dataclass(frozen=True, slots=True)
class Rule:
    """How a parameter is written. `explode` None means the style's default; `media_type` is that of its `content`."""

    name: str
    location: ArgumentLocation
    style: str = ""
    explode: bool | None = None
    allow_reserved: bool = False
    media_type: str = ""

    @property
    def written_style(self) -> str:
        """The style, or the location's default."""
        return self.style or DEFAULT_STYLES.get(self.location, "form")

    @property
    def exploded(self) -> bool:
        """Whether the members of a list or object become parameters of their own."""
        return self.written_style in {"form", "cookie", "deepObject"} if self.explode is None else self.explode


# ---------------------------------------------------------------------------------------------------------------------
# Text and its encoding
# ---------------------------------------------------------------------------------------------------------------------


def encoded(text: str) -> str:
    """Percent-encode all but RFC 3986's unreserved characters."""
    return quote(text, safe="-._~", errors="surrogatepass")


# Of RFC 3986's reserved characters those that are allowed in a query and mean nothing there: `#` would end it, `[` and
# `]` are not allowed, `&` and `+` have a meaning in forms. Percent-encoded triples stay, as with RFC 6570's `{+x}`.
_KEPT: Final = "-._~:/?@!$'()*,;="
_TRIPLE: Final = re.compile(r"(%[0-9A-Fa-f]{2})")


def reserved_kept(text: str) -> str:
    """Percent-encode for a query, keeping reserved characters: `allowReserved`."""
    pieces = _TRIPLE.split(text)
    return "".join(piece if index % 2 else quote(piece, safe=_KEPT) for index, piece in enumerate(pieces))


def _unencoded(text: str) -> str:
    return text


def scalar(value: Json) -> str:
    """Give a value as text: strings as they are, everything else as JSON."""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _elements(value: list[Json], encode: Encode) -> list[str]:
    return [encode(scalar(each)) for each in value if each is not None]


def _members(value: Mapping[str, Json], encode: Encode) -> list[tuple[str, str]]:
    return [(encode(str(key)), encode(scalar(each))) for key, each in value.items() if each is not None]


# ---------------------------------------------------------------------------------------------------------------------
# The styles
# ---------------------------------------------------------------------------------------------------------------------


def matrix(name: str, value: Json, explode: bool, encode: Encode) -> str:
    """`;color=blue,black`, exploded `;color=blue;color=black`; an empty value is `;color`."""
    name = encoded(name)
    if isinstance(value, list):
        elements = _elements(value, encode)
        if explode:
            return "".join(f";{name}={each}" for each in elements)
        return f";{name}={','.join(elements)}" if elements else ""
    if isinstance(value, dict):
        members = _members(value, encode)
        if explode:
            return "".join(f";{key}={each}" for key, each in members)
        return f";{name}={_flat(members, ',')}" if members else ""
    text = encode(scalar(value))
    return f";{name}={text}" if text else f";{name}"


def label(name: str, value: Json, explode: bool, encode: Encode) -> str:  # noqa: ARG001  (the signature of all styles)
    """`.blue,black`, exploded `.blue.black`; an empty value is `.`."""
    separator = "." if explode else ","
    if isinstance(value, list):
        elements = _elements(value, encode)
        return "." + separator.join(elements) if elements else ""
    if isinstance(value, dict):
        members = _members(value, encode)
        text = ".".join(f"{key}={each}" for key, each in members) if explode else _flat(members, ",")
        return "." + text if members else ""
    return "." + encode(scalar(value))


def simple(name: str, value: Json, explode: bool, encode: Encode) -> str:  # noqa: ARG001  (the signature of all styles)
    """`blue,black`; an object is `R,100,G,200`, exploded `R=100,G=200`."""
    if isinstance(value, list):
        return ",".join(_elements(value, encode))
    if isinstance(value, dict):
        members = _members(value, encode)
        return ",".join(f"{key}={each}" for key, each in members) if explode else _flat(members, ",")
    return encode(scalar(value))


def form(name: str, value: Json, explode: bool, encode: Encode) -> str:
    """`color=blue,black`, exploded `color=blue&color=black`; an object exploded is `R=100&G=200`."""
    return _delimited(name, value, explode, encode, ",")


def space_delimited(name: str, value: Json, explode: bool, encode: Encode) -> str:
    """`color=blue%20black`; exploded it is form."""
    return _delimited(name, value, explode, encode, "%20")


def pipe_delimited(name: str, value: Json, explode: bool, encode: Encode) -> str:
    """`color=blue%7Cblack`; exploded it is form. RFC 3986 does not allow a bare `|`."""
    return _delimited(name, value, explode, encode, "%7C")


def deep_object(name: str, value: Json, explode: bool, encode: Encode) -> str:  # noqa: ARG001  (only explode is defined)
    """`color%5BR%5D=100&color%5BG%5D=200`.

    For deeper values and lists, of which OpenAPI says nothing, the form is that of PHP, Rails and Stripe: `a[b][0]=1`.
    """
    return "&".join(f"{encoded(path)}={encode(text)}" for path, text in bracketed(name, value))


def bracketed(name: str, value: Json) -> Iterator[tuple[str, str]]:
    """Give the leaves of a value with their paths in brackets: `a[b][0]`. Nulls are left out."""
    if value is None:
        return
    if isinstance(value, dict):
        for key, each in value.items():
            yield from bracketed(f"{name}[{key}]", each)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from bracketed(f"{name}[{index}]", each)
    else:
        yield name, scalar(value)


def _delimited(name: str, value: Json, explode: bool, encode: Encode, delimiter: str) -> str:
    name = encoded(name)
    if isinstance(value, list):
        elements = _elements(value, encode)
        if explode:
            return "&".join(f"{name}={each}" for each in elements)
        return f"{name}={delimiter.join(elements)}" if elements else ""
    if isinstance(value, dict):
        members = _members(value, encode)
        if explode:
            return "&".join(f"{key}={each}" for key, each in members)
        return f"{name}={_flat(members, delimiter)}" if members else ""
    return f"{name}={encode(scalar(value))}"


def _flat(members: list[tuple[str, str]], delimiter: str) -> str:
    return delimiter.join(part for member in members for part in member)


_PATH_STYLES: Final[Mapping[str, Style]] = {"simple": simple, "label": label, "matrix": matrix}
_QUERY_STYLES: Final[Mapping[str, Style]] = {
    "form": form,
    "spaceDelimited": space_delimited,
    "pipeDelimited": pipe_delimited,
    "deepObject": deep_object,
}
_COOKIE_STYLES: Final[Mapping[str, Style]] = {"form": form, "cookie": form}


def known_style(location: ArgumentLocation, style: str) -> bool:
    """Tell whether a location can have a style."""
    tables = {"path": _PATH_STYLES, "query": _QUERY_STYLES, "cookie": _COOKIE_STYLES, "header": {"simple": simple}}
    return style in tables.get(location, {})


# ---------------------------------------------------------------------------------------------------------------------
# The locations
# ---------------------------------------------------------------------------------------------------------------------


def path_text(rule: Rule, value: Json, *, greedy: bool = False) -> str:
    """Give the text that stands for a path parameter; a greedy one (`{Key+}`) keeps its `/`. Raises `CallError`.

    Nothing at all would make another path of it and is refused: `DELETE /pets/` is not `DELETE /pets/{id}`.
    """
    if value is None:
        raise CallError(f"the path parameter {rule.name!r} is null, which cannot stand in a path")
    if rule.media_type:
        return encoded(_content(rule, value))
    encode = _slashes_kept if greedy else reserved_in_path if rule.allow_reserved else encoded
    text = _PATH_STYLES.get(rule.written_style, simple)(rule.name, value, rule.exploded, encode)
    if not text:
        raise CallError(f"the path parameter {rule.name!r} is empty, which would make another path of it")
    return text


def _slashes_kept(text: str) -> str:
    return quote(text, safe="-._~/")


def reserved_in_path(text: str) -> str:
    """Percent-encode for a path, keeping reserved characters but those that would end it or its segment."""
    return quote(text, safe="-._~:@!$&'()*+,;=")


def query_text(rule: Rule, value: Json) -> str:
    """Give the part of the query that a parameter becomes, `a=1&a=2`; "" when there is nothing to send."""
    if value is None:
        return ""
    encode = reserved_kept if rule.allow_reserved else encoded
    if rule.media_type:
        return f"{encoded(rule.name)}={encode(_content(rule, value))}"
    return _QUERY_STYLES.get(rule.written_style, form)(rule.name, value, rule.exploded, encode)


# RFC 9110 section 5.6.2.
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# RFC 9110 section 5.5: CR, LF and NUL must be refused, other control characters may be; a tab is allowed.
_UNSAFE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def header_text(rule: Rule, value: Json) -> str:
    """Give the value of a header. Raises `CallError` for a name or value that cannot be one."""
    if _TOKEN.fullmatch(rule.name) is None:
        raise CallError(f"{rule.name!r} cannot be the name of a header")
    text = _content(rule, value) if rule.media_type else simple(rule.name, value, rule.exploded, _unencoded)
    if _UNSAFE.search(text):
        raise CallError(
            f"the value of the header {rule.name!r} contains a line break or another control character",
            hint="a header is one line; remove the line break from the input, or encode it",
        )
    return text.strip(" \t")


def cookie_text(rule: Rule, value: Json) -> str:
    """Give the part of the Cookie header that a parameter becomes, `a=1; b=2`; "" when there is nothing to send."""
    if value is None:
        return ""
    if rule.media_type:
        return f"{encoded(rule.name)}={encoded(_content(rule, value))}"
    text = _COOKIE_STYLES.get(rule.written_style, form)(rule.name, value, rule.exploded, encoded)
    return text.replace("&", "; ")


def _content(rule: Rule, value: Json) -> str:
    """OpenAPI's `content`: the value in a media type instead of a style; JSON is the one in use."""
    if isinstance(value, str) and "json" not in rule.media_type:
        return value
    return msgspec.json.encode(value).decode()
