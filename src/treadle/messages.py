"""A message broker in memory: channels with messages that wait until somebody takes them.

Each message is taken once, by the first that wants it; what nobody wanted yet stays. So a workflow may wait for an
answer that came before it looked, and a thousand runs can wait on one channel for the message with their own
correlation id. `sent` is what was sent, for tests; `deliver` is how the world outside answers.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence

from treadle.seams import Channel, Message

__all__ = ["MemoryBroker"]


class MemoryBroker:
    """Channels by their address; whichever description names an address means the same channel."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Message]] = []
        self.closed = False
        self._waiting: defaultdict[str, list[Message]] = defaultdict(list)
        self._arrived = asyncio.Condition()

    async def subscribe(self, channels: Sequence[Channel]) -> None:
        """Nothing needs to be done: everything is kept."""

    async def send(self, channel: Channel, message: Message) -> None:
        """Take a message over."""
        self.sent.append((channel.address, message))
        await self.deliver(channel.address, message)

    async def deliver(self, address: str, message: Message) -> None:
        """Have a message arrive on a channel."""
        async with self._arrived:
            self._waiting[address].append(message)
            self._arrived.notify_all()

    async def receive(
        self,
        channel: Channel,
        wanted: Callable[[Message], bool],
        *,
        timeout: float,  # noqa: ASYNC109  (the protocol's)
    ) -> Message | None:
        """Take the first message that is wanted, in the order in which they came."""
        try:
            async with asyncio.timeout(timeout), self._arrived:
                while (found := self._take(channel.address, wanted)) is None:
                    await self._arrived.wait()
                return found
        except TimeoutError:
            return None

    def _take(self, address: str, wanted: Callable[[Message], bool]) -> Message | None:
        waiting = self._waiting[address]
        index = next((index for index, each in enumerate(waiting) if wanted(each)), None)
        return None if index is None else waiting.pop(index)

    async def close(self) -> None:
        """Let go of everything."""
        self.closed = True
        self._waiting.clear()
