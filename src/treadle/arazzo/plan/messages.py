"""What a step does with a channel: the address complete, the message that goes out, the messages that are wanted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from treadle.arazzo.expressions import Context, EvaluationError, Template, pointer, text_of
from treadle.seams import MISSING, Argument, Call, Channel, ChannelOperation, Json, Message

__all__ = ["PlannedChannel"]

_PARAMETER: Final = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True, slots=True)
class PlannedChannel:
    """What a step does with a channel. `correlation` is the id that a message must have to be received."""

    operation: ChannelOperation
    action: Literal["send", "receive"]
    correlation: Template | None = None

    def channel(self, arguments: Sequence[Argument]) -> Channel:
        """Give the channel with its address complete. Raises `EvaluationError`."""
        given = {each.name: each.value for each in arguments if each.location == "path"}

        def filled(found: re.Match[str]) -> str:
            if found[1] not in given:
                raise EvaluationError(f"the parameter {found[1]!r} of the channel {address!r} has no value")
            return text_of(given[found[1]])

        address = self.operation.address
        complete = _PARAMETER.sub(filled, address)
        return Channel(self.operation.source, complete, self.operation.server, self.operation.protocol)

    def message(self, call: Call) -> Message:
        """Give the message that a call makes: its header parameters are the headers."""
        headers = {each.name: each.value for each in call.arguments if each.location == "header"}
        described = self.operation.media_types
        return Message(call.payload, headers, call.content_type or (described[0] if described else "application/json"))

    def wanted(self, context: Context) -> Callable[[Message], bool]:
        """Give what tells the messages that the step waits for. Raises `EvaluationError`."""
        if self.correlation is None:
            return _any
        value = self.correlation.evaluate(context)
        if value is MISSING:
            raise EvaluationError("the correlation id has no value")
        wanted = text_of(value)
        places = self.operation.correlations
        return lambda message: any(text_of(each) == wanted for each in _at(message, places))


def _any(_: Message) -> bool:
    return True


def _at(message: Message, places: Sequence[tuple[str, tuple[str, ...]]]) -> list[Json]:
    """Give what stands at the places of a message; names of headers compare without case."""
    found = []
    for part, tokens in places:
        if part == "payload":
            value = pointer.follow(message.payload, tokens)
        else:
            value = pointer.follow(_lower(message.headers), [token.lower() for token in tokens[:1]] + [*tokens[1:]])
        if value is not MISSING and value is not None:
            found.append(value)
    return found


def _lower(headers: Mapping[str, Json]) -> dict[str, Json]:
    return {name.lower(): value for name, value in headers.items()}
