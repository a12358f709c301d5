"""An OpenAPI description (3.0, 3.1, 3.2, and Swagger 2.0) as a source of operations.

Only what a run needs is looked at. Building the index reads the keys of `paths` and each operation's `operationId`;
an operation's parameters, servers and media types are worked out when it is first found, its responses when one comes.
So a description of many megabytes with mistakes in it serves as long as the operations in use are sound, and a mistake
in one of those is a `DescriptionError` with its JSON Pointer when the operation is looked up, before anything is sent.

Only `paths` are indexed: callbacks and webhooks describe requests that others send.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Final, TypeGuard, get_args
from urllib.parse import unquote

from treadle.errors import CallError, DescriptionError, Diagnostic
from treadle.seams import (
    Answer,
    ArgumentLocation,
    Call,
    Json,
    Operation,
    OperationParameter,
    Request,
    Response,
)
from treadle.sources import bodies, swagger
from treadle.sources.bodies import PartEncoding
from treadle.sources.calls import Recipe, RuleKey, build, rule_key
from treadle.sources.parameters import Rule, known_style
from treadle.sources.paths import parse_path_key
from treadle.sources.reads import AMZ_TARGET, certainly_reads
from treadle.sources.schemas import DescribedSchema, media_schema
from treadle.sources.servers import described_server, root_server, server_of
from treadle.sources.walk import Node, ReadOther, UnreadReference, split_pointer

__all__ = ["OpenApiSource"]

_SUCCESS: Final = re.compile(r"2\d\d")
# RFC 9110 section 8.3.1, with the parameters as they come; a key that is none must not become a header.
_MEDIA_TYPE: Final = re.compile(r"[\w!#$&^.+*-]+/[\w!#$&^.+*-]+( *;[ -~]*)?")
_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
_LOCATIONS: Final[tuple[ArgumentLocation, ...]] = get_args(ArgumentLocation)


class OpenApiSource:
    """A description that has been read. `document` is its JSON value, `uri` where it was read from.

    `server` is the base URL that takes the place of every server of the description; without it, or where it is the
    description's own, paths and operations may name theirs. Hosts of AWS are those of the region of `environment`,
    os.environ unless given. `read` reads the other documents that references lead into. A parameter or body that cannot
    be read counts as not described, so that the step's own spelling decides; the operation's `notes` say so.
    Raises `DescriptionError` where the document is no OpenAPI description.
    """

    def __init__(
        self,
        name: str,
        document: Json,
        *,
        uri: str,
        server: str | None = None,
        environment: Mapping[str, str] | None = None,
        read: ReadOther | None = None,
    ) -> None:
        self.name = name
        self._unread: list[Diagnostic] = []
        self._uri = uri
        self._environment = environment
        self.whole = Node.whole(document, uri, read)
        self.version = _version(self.whole)
        own = described_server(document, uri, environment)
        self.server = server.rstrip("/") if server and server.rstrip("/") != own else None

    def __repr__(self) -> str:
        return f"OpenApiSource({self.name!r}, uri={self._uri!r})"

    def operations(self) -> Sequence[Operation]:
        """Give every operation of `paths`. Raises `DescriptionError` where `paths` itself is broken."""
        return self._all

    @property
    def unread(self) -> Sequence[Diagnostic]:
        """What stands in the way of the paths that cannot be read, whose operations are not among those given."""
        _ = self._all
        return self._unread

    def find(self, operation_id: str) -> Sequence[Operation]:
        """Give the operations with that id. Raises `DescriptionError` where one of them is broken."""
        found = self._by_id.get(operation_id, ())
        for operation in found:
            operation.check()
        return found

    def at(self, pointer: str) -> Operation | None:
        """Give the operation at a JSON Pointer, percent-encoded or not. Raises `DescriptionError` where broken."""
        for text in (pointer, unquote(pointer)):
            operation = self._by_pointer.get(tuple(split_pointer(text)))
            if operation is not None:
                operation.check()
                return operation
        return None

    def security_schemes(self) -> Mapping[str, Json]:
        """Give the security schemes that the description declares, by name."""
        components = self.whole.get("components")
        schemes = components.get("securitySchemes") if components else self.whole.get("securityDefinitions")
        return {name: node.followed().members() for name, node in schemes.items()} if schemes else {}

    @cached_property
    def base(self) -> str | None:
        """The server of requests whose path and operation name none of their own. Raises `DescriptionError`."""
        return self.server or root_server(self.whole.value, self._uri, self._environment)

    def server_for(self, path_item: Node, operation: Node) -> str | None:
        """Give the server of an operation: its own, its path's, or the description's. Raises `DescriptionError`."""
        if self.server:
            return self.server
        for node in (operation, path_item):
            if (url := server_of(node, self._uri, self._environment)) is not None:
                return url
        return self.base

    @cached_property
    def _all(self) -> Sequence[_OpenApiOperation]:
        paths = self.whole.get("paths")
        items = paths.items() if paths else ()
        # `paths` may carry extensions; every other key is a path, with or without its slash.
        return [each for key, item in items if not key.startswith("x-") for each in self._of_path(key, item)]

    def _of_path(self, key: str, item: Node) -> Iterator[_OpenApiOperation]:
        try:
            item = _merged(item)
        except DescriptionError as error:  # the other paths may serve all the same
            self._unread += _warnings(error)
            return
        if not isinstance(item.value, dict):
            return
        for method in _METHODS:
            if method in item.value:
                yield _OpenApiOperation(self, method.upper(), item, parent=item, tokens=("paths", key, method))
        if isinstance(item.value.get("additionalOperations"), dict):
            more = item.raw("additionalOperations") or item
            for method in more.value:
                tokens = ("paths", key, "additionalOperations", method)
                yield _OpenApiOperation(self, method, item, parent=more, tokens=tokens)

    @cached_property
    def _by_id(self) -> Mapping[str, Sequence[_OpenApiOperation]]:
        index: dict[str, list[_OpenApiOperation]] = {}
        for operation in self._all:
            if operation.operation_id:
                index.setdefault(operation.operation_id, []).append(operation)
        return index

    @cached_property
    def _by_pointer(self) -> Mapping[tuple[str, ...], _OpenApiOperation]:
        return {operation.tokens: operation for operation in self._all}


def _warnings(error: DescriptionError) -> list[Diagnostic]:
    return [replace(each, severity="warning") for each in error.diagnostics]


def _version(root: Node) -> str:
    members = root.members()
    version = str(members.get("openapi", members.get("swagger", "")))
    if not version.startswith(("3.", "2.0")):
        said = f"its version is {version!r}" if version else "it has no member `openapi`"
        raise root.error(
            "openapi-version",
            f"this is no OpenAPI description that can be read: {said}",
            hint="OpenAPI 3.0, 3.1, 3.2 and Swagger 2.0 are",
        )
    return version[:3]


def _merged(item: Node) -> Node:
    """Give a path item, with what its `$ref` leads to beneath its own members (OpenAPI 3.1, Path Item Object)."""
    if not isinstance(item.value, dict) or "$ref" not in item.value:
        return item
    target = item.followed()
    own = item.beside(target)
    return target.having({**target.members(), **own}) if own else target


class _OpenApiOperation:
    """One operation. Everything beyond its id, method and path is worked out once, when it is first asked for."""

    def __init__(
        self, source: OpenApiSource, method: str, item: Node, *, parent: Node, tokens: tuple[str, ...]
    ) -> None:
        self._source = source
        self._item = item
        self._parent = parent
        self.path = tokens[1]
        self.method = method
        self.tokens = tokens
        raw = parent.value[tokens[-1]]
        stated = raw.get("operationId", "") if isinstance(raw, dict) else ""
        self.operation_id = stated if isinstance(stated, str) else ""
        self.notes: list[Diagnostic] = []
        self._promises: dict[int, Sequence[str]] = {}

    def __repr__(self) -> str:
        return f"<{self.method} {self.path} of {self.source}>"

    @property
    def source(self) -> str:
        return self._source.name

    def check(self) -> None:
        """Work out all that a call needs; that nothing names a server is no mistake. Raises `DescriptionError`.

        The responses, too: a run must not begin to read documents when an answer comes.
        """
        _ = self._described, self._encodings, self._server, self._responses

    @property
    def parameters(self) -> Sequence[OperationParameter]:
        return [parameter for parameter, _ in self._described.values()]

    @property
    def request_media_types(self) -> Sequence[str]:
        return self._media_types

    @property
    def body_required(self) -> bool:
        body = self._request_body
        return bool(body and isinstance(body.value, dict) and body.value.get("required") is True)

    @property
    def statuses(self) -> Sequence[str]:
        return list(self._responses)

    def request_schema(self, media_type: str = "") -> DescribedSchema | None:
        return _schema_of(self._body, media_type)

    def response_schema(self, status: str) -> DescribedSchema | None:
        try:
            return _schema_of(self._responses[status.upper()].get("content"))
        except (DescriptionError, KeyError):
            return None

    def ready(self) -> None:
        try:
            _ = self._recipe
        except DescriptionError as error:  # a server of the path's or the operation's own that cannot be
            raise CallError(error.message, hint=error.hint) from error

    def read_only(self, call: Call) -> bool:
        stated = next((each.value for each in call.arguments if each.name.lower() == AMZ_TARGET.lower()), None)
        fixed = next((value for name, value in self._fixed if name.lower() == AMZ_TARGET.lower()), None)
        return certainly_reads(self.method, str(stated) if stated else fixed)

    def request(self, call: Call) -> Request:
        self.ready()
        return build(self._recipe, call)

    def answer(self, response: Response) -> Answer:
        promised = self._promised(response.status)
        body, problem = bodies.decode(response.body, response.header("content-type"), promised=promised)
        return Answer(response.status, response.headers, body, problem, response.url)

    # -- what the description says ------------------------------------------------------------------------------------

    @property
    def described(self) -> Node:
        """The Operation Object, of Swagger 2.0 in OpenAPI 3's words. Raises `DescriptionError`."""
        return self._node

    @cached_property
    def _node(self) -> Node:
        node = self._parent.get(self.tokens[-1])
        if node is None:
            raise self._parent.error("openapi-type", f"there is no operation {self.tokens[-1]!r}")
        node.members()
        return swagger.upgraded(node, self._source.whole) if self._source.version == "2.0" else node

    @cached_property
    def _described(self) -> Mapping[RuleKey, tuple[OperationParameter, Rule]]:
        """The declared parameters: those of the path, overridden by those of the operation."""
        declared: dict[RuleKey, tuple[OperationParameter, Rule]] = {}
        item = swagger.upgraded(self._item, self._source.whole) if self._source.version == "2.0" else self._item
        for owner in (item, self._node):
            listed = owner.get("parameters")
            for element in listed.elements() if listed else ():
                node = self._followed(element)
                if node is None:
                    continue
                parameter, rule = _parameter(node)
                declared[rule_key(parameter.location, parameter.name)] = parameter, rule
        return declared

    def _followed(self, node: Node) -> Node | None:
        """Give what a `$ref` leads to, or None with a note where that cannot be read."""
        try:
            return node.followed()
        except UnreadReference as error:
            self.notes += _warnings(error)
            return None

    @cached_property
    def _request_body(self) -> Node | None:
        raw = self._node.raw("requestBody")
        return self._followed(raw) if raw else None

    @cached_property
    def _body(self) -> Node | None:
        return self._request_body.get("content") if self._request_body else None

    @cached_property
    def _responses(self) -> Mapping[str, Node]:
        """The described responses by status, a reference followed where it leads somewhere; none where broken."""
        try:
            responses = self._node.get("responses")
        except DescriptionError:
            return {}
        if responses is None or not isinstance(responses.value, dict):
            return {}
        return {key.upper(): self._response(node) for key, node in responses.items()}

    def _response(self, node: Node) -> Node:
        try:
            return self._followed(node) or node
        except DescriptionError:
            return node

    @cached_property
    def _media_types(self) -> Sequence[str]:
        return list(self._body.members()) if self._body else []

    @cached_property
    def _fixed(self) -> tuple[tuple[str, str], ...]:
        """A required X-Amz-Target whose schema allows one value only; an example is no value."""
        values = [
            (parameter.name, _only_value(parameter.schema))
            for parameter, _ in self._described.values()
            if parameter.location == "header" and parameter.required and parameter.name.lower() == AMZ_TARGET.lower()
        ]
        return tuple((name, value) for name, value in values if value is not None)

    @cached_property
    def _server(self) -> str | None:
        return self._source.server_for(self._item, self._node)

    @cached_property
    def _recipe(self) -> Recipe:
        base = self._server
        if base is None:
            raise CallError(
                f"the description names no server that can be called: {self.source!r}",
                hint=f"name one with --server {self.source}=URL",
            )
        return Recipe(
            method=self.method,
            base=base,
            key=parse_path_key(self.path),
            rules={key: rule for key, (_, rule) in self._described.items()},
            media_types=self._media_types,
            encodings=self._encodings,
            accept=self._accept(),
            fixed=self._fixed,
            schema=self.request_schema,
        )

    @cached_property
    def _encodings(self) -> Mapping[str, Mapping[str, PartEncoding]]:
        return {media_type: self._encoding(media_type) for media_type in self._media_types}

    def _encoding(self, media_type: str) -> Mapping[str, PartEncoding]:
        described = self._body.get(media_type) if self._body else None
        encoding = described.get("encoding") if described else None
        if encoding is None:
            return {}
        return {name: _part_encoding(node.followed()) for name, node in encoding.items()}

    def _accept(self) -> str:
        """Give the media types of the answers that the description calls successes, in its order."""
        responses = self._node.members().get("responses")
        statuses = [int(str(key)) for key in responses if _SUCCESS.fullmatch(str(key))] if _is_object(responses) else []
        types = [media_type for status in statuses for media_type in self._promised(status)]
        return ", ".join(dict.fromkeys(each for each in types if _MEDIA_TYPE.fullmatch(each)))

    def _promised(self, status: int) -> Sequence[str]:
        """Give the media types that the description states for a status; none where it is broken: never raises."""
        if status not in self._promises:
            try:
                promised = self._look_up(status)
            except DescriptionError:
                promised = []
            self._promises[status] = promised
        return self._promises[status]

    def _look_up(self, status: int) -> Sequence[str]:
        """OpenAPI, Responses Object: the status itself, then its range, then `default`."""
        keys = (str(status), f"{status // 100}XX", "DEFAULT")
        found = next((self._responses[key] for key in keys if key in self._responses), None)
        content = found.get("content") if found else None
        return list(content.members()) if content else []


def _parameter(node: Node) -> tuple[OperationParameter, Rule]:
    name, location = node.text("name"), node.text("in")
    if not name:
        raise node.error("parameter-name", "a parameter has no name")
    if location not in _LOCATIONS:
        raise node.error(
            "parameter-in", f"the parameter {name!r} is in {location!r}", hint=f"one of: {', '.join(_LOCATIONS)}"
        )
    style = node.text("style")
    if style and not known_style(location, style):
        raise node.error("parameter-style", f"a parameter in {location} cannot have the style {style!r}")
    parameter = OperationParameter(name, location, node.flag("required"), _schema(node))
    content = node.get("content")
    rule = Rule(
        name,
        location,
        style,
        node.flag("explode") if "explode" in node.members() else None,
        node.flag("allowReserved"),
        next(iter(content.members()), "") if content else "",
    )
    return parameter, rule


def _schema_of(content: Node | None, media_type: str = "") -> DescribedSchema | None:
    """Give the schema of a media type of a `content`, or of its first JSON one."""
    if content is None:
        return None
    wanted = media_type.partition(";")[0].strip().lower()
    types = [each for each in content.members() if _fits(each, wanted)]
    described = content.child(types[0]) if types else None
    return media_schema(described) if described else None


def _fits(described: str, wanted: str) -> bool:
    stated = described.partition(";")[0].strip().lower()
    if not wanted:
        return bodies.is_json(stated) or stated == "*/*"
    return stated in {wanted, "*/*"} or (stated.endswith("/*") and wanted.startswith(stated[:-1]))


def _schema(node: Node) -> Json:
    """Give the schema of a parameter; None also where it is broken, for nothing is built from it."""
    try:
        schema = node.get("schema")
    except DescriptionError:
        return None
    return schema.value if schema else None


def _is_object(value: Json) -> TypeGuard[dict[str, Json]]:
    return isinstance(value, dict)


def _only_value(schema: Json) -> str | None:
    if not isinstance(schema, dict):
        return None
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    return values[0] if isinstance(values, list) and len(values) == 1 and isinstance(values[0], str) else None


def _part_encoding(node: Node) -> PartEncoding:
    explode = node.flag("explode") if "explode" in node.members() else None
    return PartEncoding(node.text("contentType"), node.text("style"), explode)
