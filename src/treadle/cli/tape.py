"""`--record` and `--replay`: what a run exchanged kept in a file, and answered from it again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from treadle.arazzo.references import References
from treadle.arazzo.run import Clock
from treadle.cli.opening import Opened
from treadle.cli.options import Where, option
from treadle.errors import UsageError
from treadle.http.replay import Header, Recording, RecordingTransport, ReplayTransport, read_recording
from treadle.seams import Json, Request, Transport
from treadle.sources.servers import LocalService

if TYPE_CHECKING:
    from treadle.arazzo.secrecy import Secrets

__all__ = ["Still", "Tape", "Unsigned", "tapes"]


def tapes(command: Any) -> Any:
    """Add `--record` and `--replay`."""
    options = (
        option(
            "Course",
            "--record",
            type=click.Path(dir_okay=False),
            metavar="FILE",
            help="Write every request and its answer to a file, secrets masked.",
        ),
        option(
            "Course",
            "--replay",
            type=click.Path(exists=True, dir_okay=False),
            metavar="FILE",
            help="Answer from such a file: no network, no waiting. A request that is not the recorded one is an error.",
        ),
    )
    for each in reversed(options):
        command = each(command)
    return command


class Still(Clock):
    """A clock that jumps to where it is to wait for."""

    def __init__(self) -> None:
        self._now = time.time()

    def now(self) -> float:
        """Give the time that has been jumped to."""
        return self._now

    def jitter(self) -> float:
        """Give no chance at all."""
        return 0.0

    async def sleep_until(self, until: float) -> None:
        """Jump there."""
        self._now = max(self._now, until)


class Unsigned:
    """An authoriser that leaves requests alone."""

    async def authorise(self, request: Request) -> Request:
        """Give the request as it is."""
        return request


@dataclass(frozen=True, slots=True)
class Tape:
    """What is recorded, or replayed, or neither. Raises `UsageError` for both at once."""

    record: Path | None = None
    recording: Recording | None = None

    @classmethod
    def of(cls, record: str | None, replay: str | None) -> Tape:
        """Take the options as they were given; a recording is read."""
        if record and replay:
            raise UsageError("--record and --replay exclude each other")
        return cls(Path(record) if record else None, read_recording(Path(replay)) if replay else None)

    @property
    def replays(self) -> bool:
        """Whether nothing is sent."""
        return self.recording is not None

    def inputs(self, given: dict[str, Json]) -> dict[str, Json]:
        """Give the inputs of a replay: those that were recorded, and over them what was given."""
        return {**self.recording.header.inputs, **given} if self.recording else given

    def where(self, where: Where) -> Where:
        """Say where requests go: what was named, else what was named when the recording was made."""
        if self.recording is None or where.on is not None or where.servers:
            return where
        header = self.recording.header
        return replace(where, on=header.on, servers=tuple(header.servers.items()))

    def workflow(self, named: str | None) -> str | None:
        """Give the workflow: the one that was named, else the recorded one."""
        return named or (self.recording.header.workflow if self.recording else None) or None

    @staticmethod
    def nowhere() -> LocalService:
        """Stand for the service of this machine in a replay, which starts none."""
        return LocalService("http://127.0.0.1")

    def recorder(
        self,
        inner: Transport,
        opened: Opened,
        inputs: dict[str, Json],
        secrets: Secrets,
        references: Iterable[str],
    ) -> Transport:
        """Give the transport that records, where that is wanted."""
        if self.record is None:
            return inner
        label = opened.setup.label or opened.setup.document
        header = Header(
            document=Path(label).name,
            digest=opened.document.digest,
            workflow=opened.plan.entry,
            inputs=inputs,
            on=opened.setup.on,
            servers=opened.setup.servers,
        )
        return RecordingTransport(inner, self.record, header, secrets={*secrets.texts, *References(references).texts})

    @contextlib.asynccontextmanager
    async def replayed(self, secrets: Secrets) -> AsyncIterator[dict[str, Any]]:
        """Give what takes the place of the network, the signatures, the store and the clock in a replay."""
        from treadle.stores.memory import MemoryRunStore

        if self.recording is None:
            msg = "there is nothing to replay"
            raise AssertionError(msg)
        transport = ReplayTransport(self.recording, secrets=secrets.texts)
        yield {"transport": transport, "authoriser": Unsigned(), "store": MemoryRunStore(), "clock": Still()}

    @staticmethod
    def unasked(transport: Transport) -> str:
        """Say what of a recording nobody has asked for, "" where there is nothing."""
        left = transport.left if isinstance(transport, ReplayTransport) else 0
        return f"the run ended, and {left} recorded request{'s were' if left > 1 else ' was'} not sent" if left else ""
