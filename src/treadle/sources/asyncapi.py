"""An AsyncAPI description (2.x and 3.x) as a source of channels.

Only what a workflow needs is looked at: addresses with their parameters, servers, content types, and where messages
carry a correlation id. A channel is worked out when it is asked for, and a mistake in it is a `DescriptionError` then.
What an operation's `action` (3.x), or `publish` and `subscribe` (2.x), say is left alone: they speak of the application
that the description is about, and a workflow says itself whether it sends or receives.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Final, Literal
from urllib.parse import unquote

from treadle.seams import ChannelOperation, Json
from treadle.sources.walk import Node, split_pointer

__all__ = ["AsyncApiSource"]

# Runtime expressions of AsyncAPI: `$message.header#/correlationId`.
_LOCATION: Final = re.compile(r"\$message\.(header|payload)#(/.*)?")
_PARAMETER: Final = re.compile(r"\{([^{}]+)\}")

_Correlation = tuple[Literal["header", "payload"], tuple[str, ...]]


class AsyncApiSource:
    """A description that has been read. `document` is its JSON value, `uri` where it was read from.

    `server` takes the place of every server of the description. Raises `DescriptionError` where the document is no
    AsyncAPI description that can be read.
    """

    def __init__(self, name: str, document: Json, *, uri: str, server: str | None = None) -> None:
        self.name = name
        self._root = Node.whole(document, uri)
        self._server = server
        version = str(self._root.members().get("asyncapi", ""))
        if not version.startswith(("2.", "3.")):
            raise self._root.error(
                "asyncapi-version",
                f"this is no AsyncAPI description that can be read: its version is {version!r}",
                hint="AsyncAPI 2.x and 3.x are",
            )
        self._major = int(version[0])

    def __repr__(self) -> str:
        return f"AsyncApiSource({self.name!r})"

    def operations(self) -> Sequence[ChannelOperation]:
        """Give every operation that has an id. Raises `DescriptionError`."""
        return [self._channel(node, operation, name) for name, node, operation in self._index]

    def find(self, operation_id: str) -> Sequence[ChannelOperation]:
        """Give the operations with that id. Raises `DescriptionError`."""
        return [self._channel(node, operation, name) for name, node, operation in self._index if name == operation_id]

    def at(self, pointer: str) -> ChannelOperation | None:
        """Give the channel, or the operation, at a JSON Pointer, percent-encoded or not. Raises `DescriptionError`."""
        for text in (pointer, unquote(pointer)):
            tokens = list(split_pointer(text))
            if len(tokens) == 2 and tokens[0] == "channels":
                channels = self._root.get("channels")
                found = channels.get(tokens[1]) if channels else None
                if found is not None:
                    return self._channel(found, None, "")
            for name, node, operation in self._index:
                if operation.pointer == text:
                    return self._channel(node, operation, name)
        return None

    @cached_property
    def _index(self) -> Sequence[tuple[str, Node, Node]]:
        """Give the operations: id, channel and operation."""
        return list(self._of_version_3() if self._major == 3 else self._of_version_2())

    def _of_version_3(self) -> Iterator[tuple[str, Node, Node]]:
        operations = self._root.get("operations")
        for name, node in operations.items() if operations else ():
            operation = node.followed()
            channel = operation.get("channel")
            if channel is None:
                raise operation.error("asyncapi-channel", f"the operation {name!r} has no channel")
            yield name, channel, replace(operation, pointer=node.pointer)

    def _of_version_2(self) -> Iterator[tuple[str, Node, Node]]:
        channels = self._root.get("channels")
        for _, node in channels.items() if channels else ():
            channel = replace(node.followed(), pointer=node.pointer)
            for kind in ("publish", "subscribe"):
                operation = channel.get(kind)
                if operation is not None:
                    placed = replace(operation, pointer=f"{node.pointer}/{kind}")
                    yield operation.text("operationId"), channel, placed

    # -- channels -----------------------------------------------------------------------------------------------------

    def _channel(self, channel: Node, operation: Node | None, operation_id: str) -> ChannelOperation:
        address = self._address(channel)
        messages = list(self._messages(channel, operation))
        server, protocol = self._server_of(channel)
        return ChannelOperation(
            source=self.name,
            address=address,
            operation_id=operation_id,
            server=server,
            protocol=protocol,
            media_types=self._media_types(messages),
            parameters=tuple(_PARAMETER.findall(address)),
            correlations=tuple(dict.fromkeys(filter(None, (_correlation(each) for each in messages)))),
        )

    def _address(self, channel: Node) -> str:
        *_, key = ("", *split_pointer(channel.pointer))
        return channel.text("address", key) if self._major == 3 else key

    def _messages(self, channel: Node, operation: Node | None) -> Iterator[Node]:
        """Give the messages of an operation, or all of a channel."""
        if self._major == 3:
            listed = operation.get("messages") if operation else None
            if listed is not None:
                yield from (each.followed() for each in listed.elements())
                return
            described = channel.get("messages")
            yield from (node.followed() for _, node in described.items()) if described else ()
            return
        for holder in (operation,) if operation else (channel.get("publish"), channel.get("subscribe")):
            message = holder.get("message") if holder else None
            choices = message.get("oneOf") if message else None
            if choices is not None:
                yield from (each.followed() for each in choices.elements())
            elif message is not None:
                yield message

    def _media_types(self, messages: Sequence[Node]) -> tuple[str, ...]:
        default = self._root.text("defaultContentType")
        types = [each.text("contentType", default) for each in messages] or [default]
        return tuple(dict.fromkeys(each for each in types if each))

    def _server_of(self, channel: Node) -> tuple[str, str]:
        """Give host and protocol of the channel's first server, else of the description's first."""
        if self._server is not None:
            protocol, separator, host = self._server.partition("://")
            return (host.rstrip("/"), protocol) if separator else (self._server, "")
        servers = self._root.get("servers")
        described = [node.followed() for _, node in servers.items()] if servers else []
        named = channel.get("servers")
        if named is not None and self._major == 3:
            described = [each.followed() for each in named.elements()] or described
        elif named is not None and servers is not None and isinstance(named.value, list) and named.value:
            described = [node for each in named.value if (node := servers.get(str(each)))] or described
        if not described:
            return "", ""
        first = described[0]
        if self._major == 3:
            return first.text("host") + first.text("pathname").rstrip("/"), first.text("protocol")
        return first.text("url").rpartition("://")[2], first.text("protocol")


def _correlation(message: Node) -> _Correlation | None:
    """Give where a message has its correlation id, or None."""
    described = message.get("correlationId")
    found = _LOCATION.fullmatch(described.text("location")) if described else None
    if found is None:
        return None
    part: Literal["header", "payload"] = "header" if found[1] == "header" else "payload"
    return part, tuple(split_pointer(found[2] or ""))
