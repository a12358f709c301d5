"""Connections that are kept for the next request, and how many exchanges may go on at once."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from treadle.http.connection import Connection
from treadle.http.wire import Origin

__all__ = ["Pool"]


class Pool:
    """The connections of one event loop; whoever takes one has its turn, of which there are `limit` at once.

    A connection is kept for `keep_alive` seconds after its last exchange.
    """

    def __init__(self, *, limit: int, keep_alive: float, max_body: int) -> None:
        self.turns = asyncio.Semaphore(limit)
        self.loop = asyncio.get_running_loop()
        self._keep_alive = keep_alive
        self._max_body = max_body
        self._busy: set[Connection] = set()
        self._idle: dict[Origin, list[Connection]] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._tls: ssl.SSLContext | None = None

    def kept(self, origin: Origin) -> Connection | None:
        """Take a connection that was kept, or None where there is none."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            # Nothing older: the server may be closing it, and a POST into it would leave open whether it arrived.
            if connection.usable and self.loop.time() - connection.idle_since < self._keep_alive:
                self._busy.add(connection)
                return connection
            connection.abort()
        return None

    async def opened(self, origin: Origin) -> Connection:
        """Make a connection. Raises what `faults.connecting` translates."""
        if origin.secure and self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        # Other event loops than asyncio's own do not know it: they try one address after the other.
        eyeballs: dict[str, Any] = (
            {"happy_eyeballs_delay": _HEAD_START} if isinstance(self.loop, asyncio.BaseEventLoop) else {}
        )
        _, connection = await self.loop.create_connection(
            lambda: Connection(self.loop, self._max_body),
            origin.host,
            origin.port,
            ssl=self._tls if origin.secure else None,
            **eyeballs,
        )
        self._busy.add(connection)
        return connection

    def give_back(self, connection: Connection, origin: Origin) -> None:
        """Keep a connection for the next exchange, if it is good for one."""
        self._busy.discard(connection)
        if not connection.usable:
            connection.abort()
            return
        connection.idle_since = self.loop.time()
        self._idle.setdefault(origin, []).append(connection)
        if self._sweeping is None:
            self._sweeping = self.loop.call_later(self._keep_alive, self._sweep)

    def close(self) -> None:
        """Let go of all connections; an exchange that goes on ends as broken."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        for connection in [*self._busy, *(each for idle in self._idle.values() for each in idle)]:
            connection.abort()
        self._idle.clear()

    def _sweep(self) -> None:
        """Close what nobody has used for a while."""
        oldest = self.loop.time() - self._keep_alive
        for origin, idle in list(self._idle.items()):
            self._idle[origin] = [each for each in idle if each.usable and each.idle_since > oldest]
            for connection in set(idle).difference(self._idle[origin]):
                connection.abort()
            if not self._idle[origin]:
                del self._idle[origin]
        self._sweeping = self.loop.call_later(self._keep_alive, self._sweep) if self._idle else None


# Seconds that one address of a host has before the next is tried beside it (RFC 8305, section 5).
_HEAD_START = 0.25
