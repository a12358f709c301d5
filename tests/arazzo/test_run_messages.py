"""AsyncAPI steps (1.1): sending, waiting, correlation, timeouts, and a refusal where there is no broker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.arazzo.shelf import Shelf
from treadle.arazzo import events
from treadle.arazzo.run import Outcome, RunOptions, resume, run
from treadle.errors import DescriptionError, TransportError, UsageError
from treadle.http import ScriptedTransport
from treadle.messages import MemoryBroker
from treadle.seams import Channel, Message, Request, Response, RunRecord
from treadle.sources.asyncapi import AsyncApiSource
from treadle.stores.memory import MemoryRunStore

ASYNC: dict[str, Any] = {
    "asyncapi": "3.0.0",
    "info": {"title": "Orders", "version": "1"},
    "servers": {"kafka": {"host": "localhost:9092", "protocol": "kafka"}},
    "channels": {
        "place": {"address": "orders/{shop}", "messages": {"m": {"$ref": "#/components/messages/Order"}}},
        "confirm": {"address": "confirmed", "messages": {"m": {"$ref": "#/components/messages/Done"}}},
        "plain": {"messages": {"m": {"payload": {}}}},
    },
    "operations": {
        "placeOrder": {"action": "receive", "channel": {"$ref": "#/channels/place"}},
        "confirmOrder": {"action": "send", "channel": {"$ref": "#/channels/confirm"}},
    },
    "components": {
        "messages": {
            "Order": {"contentType": "application/json", "correlationId": {"location": "$message.header#/orderId"}},
            "Done": {"contentType": "application/json", "correlationId": {"location": "$message.header#/orderId"}},
        }
    },
}

DOCUMENT = """
sourceDescriptions:
- {name: api, url: api.json, type: openapi}
- {name: shop, url: shop.json, type: asyncapi}
workflows:
- workflowId: buy
  inputs: {type: object, properties: {id: {type: string, default: o-1}}}
  steps:
  - stepId: place
    operationId: $sourceDescriptions.shop.placeOrder
    action: send
    parameters:
    - {name: orderId, in: header, value: $inputs.id}
    - {name: shop, in: channel, value: rome}
    requestBody: {payload: {petId: 7}}
  - stepId: confirm
    channelPath: '{$sourceDescriptions.shop.url}#/channels/confirm'
    action: receive
    correlationId: $inputs.id
    timeout: 300
    successCriteria: [{condition: $message.payload#/status == 'ok'}]
    outputs: {id: $message.payload#/id, from: $message.header.sender, all: $message.payload}
  - {stepId: after, operationId: one, requestBody: {payload: {id: $steps.confirm.outputs.id}}}
  outputs: {id: $steps.confirm.outputs.id, from: $steps.confirm.outputs.from}
"""


def answering(status: str = "ok", order: str = "o-1") -> Message:
    return Message({"status": status, "id": 42}, {"ORDERID": order, "Sender": "till"})


class Collected:
    def __init__(self) -> None:
        self.facts: list[events.Event] = []

    def report(self, event: Any) -> None:
        self.facts.append(event)


class Nobody:
    async def authorise(self, request: Request) -> Request:
        return request


class Watched(MemoryBroker):
    """A broker that tells when somebody begins to wait for a message."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = asyncio.Event()

    async def receive(
        self,
        channel: Channel,
        wanted: Callable[[Message], bool],
        *,
        timeout: float,  # noqa: ASYNC109  (the protocol's)
    ) -> Message | None:
        self.waiting.set()
        return await super().receive(channel, wanted, timeout=timeout)


class World:
    """A run with a broker, a scripted server and a store."""

    def __init__(self, tmp_path: Path, document: str = DOCUMENT, api: Any = ASYNC) -> None:
        self.plan = Shelf(tmp_path, {"main.yaml": document, "shop.json": api}, version="1.1.0").open().plan
        self.broker = Watched()
        self.http = ScriptedTransport(lambda _: Response(200, (("Content-Type", "application/json"),), b"{}"))
        self.store = MemoryRunStore()
        self.told = Collected()

    async def run(self, broker: Any = None, **inputs: Any) -> Outcome:
        return await run(
            self.plan,
            {"id": "o-1", **inputs},
            transport=self.http,
            authoriser=Nobody(),
            store=self.store,
            reporter=self.told,
            options=RunOptions(run_id="r"),
            messages=broker or self.broker,
        )

    async def resume(self) -> Outcome:
        record = await self.store.load("r")
        assert isinstance(record, RunRecord)
        return await resume(
            record,
            self.plan,
            transport=self.http,
            authoriser=Nobody(),
            store=self.store,
            reporter=self.told,
            messages=self.broker,
        )

    def of(self, kind: type[Any]) -> list[Any]:
        return [fact for fact in self.told.facts if isinstance(fact, kind)]


async def test_a_message_is_sent_and_its_answer_awaited(tmp_path: Path) -> None:
    """Send completes at once; receive with the first message that has the correlation id; then the rest runs."""
    world = World(tmp_path)
    await world.broker.deliver("confirmed", answering(order="somebody else's"))
    await world.broker.deliver("confirmed", answering())
    outcome = await world.run()
    assert outcome.status == "succeeded", outcome.reason
    assert world.broker.sent == [("orders/rome", Message({"petId": 7}, {"orderId": "o-1"}, "application/json"))]
    assert outcome.outputs == {"id": 42, "from": "till"}
    assert world.http.requests[0].body == b'{"id":42}'
    sent = [(fact.method, fact.url) for fact in world.of(events.RequestSent)]
    assert sent[:2] == [
        ("SEND", "kafka://localhost:9092/orders/rome"),
        ("RECEIVE", "kafka://localhost:9092/confirmed"),
    ]
    assert [fact.channel for fact in world.of(events.MessageReceived)] == ["kafka://localhost:9092/confirmed"]


async def test_a_message_may_come_while_the_step_waits(tmp_path: Path) -> None:
    """The broker wakes it."""
    world = World(tmp_path)

    async def later() -> None:
        await world.broker.waiting.wait()
        await world.broker.deliver("confirmed", answering())

    _, outcome = await asyncio.gather(later(), world.run())
    assert outcome.status == "succeeded"


async def test_without_a_message_in_time_the_step_fails(tmp_path: Path) -> None:
    """§1.5: it fails and triggers onFailure; here there is none, so the workflow fails."""
    world = World(tmp_path)
    await world.broker.deliver("confirmed", answering(order="another"))
    outcome = await world.run()
    assert outcome.status == "failed"
    assert "no message came in 0.3" in outcome.reason
    assert "correlation id" in outcome.reason


async def test_a_message_that_says_no_fails_the_step(tmp_path: Path) -> None:
    """`successCriteria` look at `$message.payload`."""
    world = World(tmp_path)
    await world.broker.deliver("confirmed", answering("sold out"))
    outcome = await world.run()
    assert outcome.status == "failed"
    assert "$message.payload#/status == 'ok'" in outcome.reason


async def test_without_a_broker_nothing_is_sent(tmp_path: Path) -> None:
    """A clear refusal before the run begins."""
    world = World(tmp_path)
    with pytest.raises(UsageError, match="no transport for messages is configured"):
        await run(world.plan, {}, transport=world.http, authoriser=Nobody(), store=world.store, reporter=world.told)
    assert world.told.facts == []


class Broken(MemoryBroker):
    """A broker that loses the connection when it is given a message."""

    def __init__(self, *, sent: bool) -> None:
        super().__init__()
        self.reached = sent

    async def send(self, channel: Channel, message: Message) -> None:
        del channel, message
        raise TransportError("reset", "the broker is gone", sent=self.reached)


async def test_a_message_whose_fate_is_unknown_leaves_the_run_in_doubt(tmp_path: Path) -> None:
    """As with a request that has effects: it is not sent twice unless somebody says so."""
    world = World(tmp_path)
    assert (await world.run(Broken(sent=True))).status == "in-doubt"


async def test_a_run_that_waits_for_a_message_can_be_taken_up_again(tmp_path: Path) -> None:
    """What is stored says that it waits."""
    world = World(tmp_path, DOCUMENT.replace("    timeout: 300\n", ""))
    task = asyncio.create_task(world.run())
    await world.broker.waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await world.broker.deliver("confirmed", answering())
    outcome = await world.resume()
    assert outcome.status == "succeeded"
    assert len(world.broker.sent) == 1


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        pytest.param("shop.placeOrder", "shop.placeOder", "did you mean 'placeOrder'", id="no-operation"),
        pytest.param("#/channels/confirm", "#/channels/none", "no channel at '/channels/none'", id="no-channel"),
        pytest.param("    action: send\n", "", "does not say whether it sends or receives", id="no-action"),
        pytest.param("in: header", "in: query", "messages have only headers", id="query"),
        pytest.param("shop.url}#/channels/confirm", "shop.url}#/channels/plain", "correlation id", id="no-correlation"),
    ],
)
def test_what_is_wrong_with_a_channel_is_told_before_the_run(
    tmp_path: Path, before: str, after: str, words: str
) -> None:
    """Channels are planned like operations."""
    with pytest.raises(DescriptionError) as caught:
        World(tmp_path, DOCUMENT.replace(before, after))
    assert any(words in each.message + each.hint for each in caught.value.diagnostics if each.severity == "error")


ASYNC_2: dict[str, Any] = {
    "asyncapi": "2.6.0",
    "info": {"title": "Light", "version": "1"},
    "defaultContentType": "application/json",
    "servers": {"a": {"url": "mqtt://broker:1883", "protocol": "mqtt"}},
    "channels": {
        "light/{id}": {
            "publish": {
                "operationId": "turn",
                "message": {"oneOf": [{"correlationId": {"location": "$message.payload#/meta/id"}}, {}]},
            }
        }
    },
}


def test_asyncapi_2_is_read_too() -> None:
    """Channels by their address, operations below them, servers by URL."""
    source = AsyncApiSource("light", ASYNC_2, uri="file:///x.json")
    (found,) = source.find("turn")
    assert (found.address, found.server, found.protocol) == ("light/{id}", "broker:1883", "mqtt")
    assert found.parameters == ("id",)
    assert found.media_types == ("application/json",)
    assert found.correlations == (("payload", ("meta", "id")),)
    by_pointer = source.at("/channels/light~1{id}")
    assert by_pointer is not None
    assert by_pointer.address == "light/{id}"
    assert source.at("/channels/light~1{id}/publish") == found
    assert source.at("/channels/dark") is None
    with pytest.raises(DescriptionError, match="AsyncAPI"):
        AsyncApiSource("old", {"asyncapi": "1.2.0"}, uri="file:///x.json")
