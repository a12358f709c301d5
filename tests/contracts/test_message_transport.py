"""The contract of `MessageTransport`, for every implementation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from treadle.messages import MemoryBroker
from treadle.seams import Channel, Message, MessageTransport

ORDERS = Channel("shop", "orders", "localhost:9092", "kafka")
OTHERS = Channel("shop", "others", "localhost:9092", "kafka")

pytestmark = pytest.mark.parametrize("made", [pytest.param(MemoryBroker, id="memory")])
Made = Callable[[], MessageTransport]


def anything(_: Message) -> bool:
    return True


async def test_what_is_sent_is_received_once_and_in_order(made: Made) -> None:
    """Each message has one taker, payload and headers as they were sent."""
    broker = made()
    await broker.subscribe([ORDERS])
    for number in (1, 2):
        await broker.send(ORDERS, Message({"n": number}, {"Id": number}, "application/json"))
    first = await broker.receive(ORDERS, anything, timeout=1)
    second = await broker.receive(ORDERS, anything, timeout=1)
    assert first == Message({"n": 1}, {"Id": 1}, "application/json")
    assert second is not None
    assert second.payload == {"n": 2}
    assert await broker.receive(ORDERS, anything, timeout=0.01) is None
    await broker.close()


async def test_what_is_not_wanted_stays_for_others(made: Made) -> None:
    """Many runs wait on one channel, each for its own message."""
    broker = made()
    await broker.subscribe([ORDERS])
    for number in range(3):
        await broker.send(ORDERS, Message(number))
    last = await broker.receive(ORDERS, lambda message: message.payload == 2, timeout=1)
    first = await broker.receive(ORDERS, anything, timeout=1)
    assert (last, first) == (Message(2), Message(0))
    await broker.close()


async def test_channels_are_apart(made: Made) -> None:
    """A message arrives where it was sent."""
    broker = made()
    await broker.subscribe([ORDERS, OTHERS])
    await broker.send(OTHERS, Message("x"))
    assert await broker.receive(ORDERS, anything, timeout=0.01) is None
    assert await broker.receive(OTHERS, anything, timeout=1) == Message("x")
    await broker.close()


async def test_who_waits_is_woken_by_its_message_only(made: Made) -> None:
    """Two wait at once; each gets what it wants, in whatever order it comes."""
    broker = made()
    await broker.subscribe([ORDERS])
    waiting = [
        asyncio.create_task(broker.receive(ORDERS, lambda message, n=number: message.payload == n, timeout=5))  # type: ignore[misc]
        for number in (1, 2)
    ]
    await asyncio.sleep(0)
    await broker.send(ORDERS, Message(2))
    assert await waiting[1] == Message(2)
    assert not waiting[0].done()
    await broker.send(ORDERS, Message(1))
    assert await waiting[0] == Message(1)
    await broker.close()
