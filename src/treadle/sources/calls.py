"""A call and what is known of its operation become a request. Both kinds of source build their requests here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from treadle.errors import CallError
from treadle.seams import MISSING, Argument, ArgumentLocation, Call, Json, Request, Schema
from treadle.sources import bodies
from treadle.sources.bodies import EncodedBody, PartEncoding
from treadle.sources.parameters import Rule, cookie_text, encoded, header_text, path_text, query_text, scalar
from treadle.sources.paths import Parts, PathKey, Placeholder

__all__ = ["Recipe", "build", "rule_key"]

RuleKey = tuple[ArgumentLocation, str]


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that is needed to build an operation's requests, worked out once.

    `rules` are the declared parameters by `rule_key`; `accept` is the Accept header, "" for none; `fixed` are headers
    whose only possible value the description gives; `encodings` are those of form bodies by media type; `schema` gives
    the schema of the body in a media type.
    """

    method: str
    base: str
    key: PathKey
    rules: Mapping[RuleKey, Rule] = field(default_factory=dict)
    media_types: Sequence[str] = ()
    encodings: Mapping[str, Mapping[str, PartEncoding]] = field(default_factory=dict)
    accept: str = ""
    fixed: tuple[tuple[str, str], ...] = ()
    schema: Callable[[str], Schema | None] | None = None


def rule_key(location: ArgumentLocation, name: str) -> RuleKey:
    """Give what identifies a parameter: header names compare without case, all others with it."""
    if location == "path":
        # `{Key+}` is the parameter Key; descriptions that write it so mostly call the parameter so, too.
        return location, name.removesuffix("+")
    return (location, name.lower()) if location == "header" else (location, name)


def build(recipe: Recipe, call: Call) -> Request:
    """Build a request. Raises `CallError`."""
    arguments = {rule_key(argument.location, argument.name): argument for argument in call.arguments}
    url = recipe.base.rstrip("/") + _path(recipe, arguments)
    if query := _query(recipe, arguments):
        url = f"{url}?{query}"
    headers, stated_type = _headers(recipe, arguments)
    body = _body(recipe, call, stated_type, amz="x-amz-target" in headers)
    if body is not None:
        # A step's own Content-Type header is sent as it stands, save where the body's type carries a boundary.
        own = stated_type if stated_type and "boundary=" not in body.content_type else body.content_type
        headers["content-type"] = ("Content-Type", header_text(_CONTENT_TYPE, own))
    return Request(recipe.method, url, tuple(headers.values()), body.content if body else b"")


Arguments = Mapping[RuleKey, Argument]


def _rule(recipe: Recipe, argument: Argument) -> Rule:
    declared = recipe.rules.get(rule_key(argument.location, argument.name))
    return declared or Rule(argument.name, argument.location)


def _path(recipe: Recipe, arguments: Arguments) -> str:
    for location, name in arguments:
        if location == "path" and name not in recipe.key.names and not _in_query_template(recipe.key, name):
            raise CallError(f"the path has no parameter {{{name}}}; it has {_listed(recipe.key.names)}")
    text = "".join(part if isinstance(part, str) else _placeholder(recipe, part, arguments) for part in recipe.key.path)
    # Servers and proxies resolve these even when they are percent-encoded.
    if "/." in text and not {".", ".."}.isdisjoint(text.split("/")):
        given = ", ".join(f"{{{name}}}" for name in sorted(recipe.key.names))
        raise CallError(f"with these values of {given} the path is {text}, and `.` or `..` make another path of it")
    return text if text.startswith("/") or not text else f"/{text}"


def _placeholder(recipe: Recipe, part: Placeholder, arguments: Arguments) -> str:
    argument = arguments.get(("path", part.name))
    if argument is None:
        raise CallError(
            f"the path parameter {{{part.name}}} has no value",
            hint="give the step a parameter of that name with `in: path`, and the input that its value comes from",
        )
    return path_text(_rule(recipe, argument), argument.value, greedy=part.greedy)


def _listed(names: frozenset[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names)) or "none"


def _query(recipe: Recipe, arguments: Arguments) -> str:
    whole = [argument for (location, _), argument in arguments.items() if location == "querystring"]
    given = [argument for (location, _), argument in arguments.items() if location == "query"]
    if whole and given:
        raise CallError("a parameter `in: querystring` is the whole query, so there can be none `in: query` beside it")
    used: set[str] = set()
    texts = [_templated(name, parts, arguments, used) for name, parts in recipe.key.query]
    texts += [query_text(_rule(recipe, argument), argument.value) for argument in given if argument.name not in used]
    texts += [_querystring(recipe, argument) for argument in whole]
    return "&".join(filter(None, texts))


def _querystring(recipe: Recipe, argument: Argument) -> str:
    """Arazzo 1.1: the value is the complete query string; OpenAPI 3.2 may also describe it as a form."""
    if isinstance(argument.value, str):
        return _legal_query(argument.value.removeprefix("?"))
    rule = _rule(recipe, argument)
    if bodies.is_json(rule.media_type):
        return encoded(bodies.encode(argument.value, rule.media_type).content.decode())
    if not isinstance(argument.value, dict):
        raise CallError(f"the parameter {argument.name!r} is the whole query: it must be text, not {argument.value!r}")
    return bodies.encode(argument.value, rule.media_type or "application/x-www-form-urlencoded").content.decode()


_QUERY_CHARACTERS: Final = frozenset("-._~:/?@!$&'()*+,;=%[]|")


def _legal_query(text: str) -> str:
    """Percent-encode what can stand in no query at all, `#`, spaces and the like; the rest is the author's own."""
    return "".join(
        each if each in _QUERY_CHARACTERS or (each.isascii() and each.isalnum()) else encoded(each) for each in text
    )


def _in_query_template(key: PathKey, name: str) -> bool:
    return any(isinstance(part, Placeholder) and part.name == name for _, parts in key.query for part in parts or ())


def _templated(name: str, parts: Parts | None, arguments: Arguments, used: set[str]) -> str:
    """Give a member that the path key spells out; an argument of its name takes the place of a constant."""
    placeholders = [part.name for part in parts or () if isinstance(part, Placeholder)]
    if not placeholders:
        if ("query", name) in arguments:
            return ""
        return name if parts is None else f"{name}={''.join(map(str, parts))}"
    used.update(placeholders)
    return f"{name}={''.join(_template_part(part, arguments) for part in parts or ())}"


def _template_part(part: str | Placeholder, arguments: Arguments) -> str:
    if isinstance(part, str):
        return part
    argument = arguments.get(("query", part.name)) or arguments.get(("path", part.name))
    if argument is None or argument.value is None:
        raise CallError(f"the query parameter {{{part.name}}} of the path has no value")
    return encoded(scalar(argument.value))


_CONTENT_TYPE: Final = Rule("Content-Type", "header")
# The transport counts and frames the body; a length or framing from a document could only contradict it.
_TRANSPORTS_OWN: Final = frozenset({"content-length", "transfer-encoding", "connection"})


def _headers(recipe: Recipe, arguments: Arguments) -> tuple[dict[str, tuple[str, str]], str]:
    """Give the headers by lower-case name, and the Content-Type that a step states as a header, "" for none."""
    headers = {name.lower(): (name, value) for name, value in recipe.fixed}
    if recipe.accept:
        headers["accept"] = ("Accept", recipe.accept)
    cookies: list[str] = []
    for (location, lower), argument in arguments.items():
        if location == "cookie":
            cookies.append(cookie_text(_rule(recipe, argument), argument.value))
        elif location == "header" and lower not in _TRANSPORTS_OWN and argument.value is not None:
            headers[lower] = (argument.name, header_text(_rule(recipe, argument), argument.value))
    if cookies := list(filter(None, cookies)):
        stated = headers.get("cookie")
        headers["cookie"] = ("Cookie", "; ".join([stated[1], *cookies] if stated else cookies))
    _, stated_type = headers.pop("content-type", ("", ""))
    return headers, stated_type


def _body(recipe: Recipe, call: Call, stated_type: str, *, amz: bool) -> EncodedBody | None:
    media_type = call.content_type or stated_type or bodies.preferred(recipe.media_types)
    if call.payload is MISSING:
        # AWS JSON 1.1 has no request without a body: an operation without members is sent `{}`.
        if amz and media_type and "x-amz-json" in media_type:
            return EncodedBody(b"{}", media_type)
        return EncodedBody(b"", stated_type) if stated_type else None
    payload: Json = call.payload
    if not media_type:
        media_type = "text/plain; charset=utf-8" if isinstance(payload, str) else "application/json"
    return bodies.encode(payload, media_type, recipe.encodings.get(media_type), recipe.schema)
