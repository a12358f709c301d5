"""What comes into the machine, what it asks for, and what one turn of it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

from treadle.arazzo import events
from treadle.arazzo.machine.state import State
from treadle.arazzo.machine.watch import Watch
from treadle.errors import TransportFault
from treadle.seams import Channel, Json, Message, Request, Response

__all__ = [
    "Answered",
    "Begin",
    "Continue",
    "Due",
    "Effect",
    "Faulted",
    "Finish",
    "Interrupt",
    "MachineEvent",
    "MachineOptions",
    "Publish",
    "Published",
    "Receive",
    "Received",
    "Send",
    "Turn",
    "Wait",
    "Watched",
]


class Begin(msgspec.Struct, frozen=True, gc=False):
    """A new run starts."""

    now: float
    run_id: str
    inputs: dict[str, Json]
    references: tuple[str, ...] = ()
    """Those values of inputs that are references to secrets."""


class Continue(msgspec.Struct, frozen=True, gc=False):
    """A stored run goes on.

    About a request whose outcome is not known: `resend` allows to repeat it, `took_effect` says that it was
    carried out.
    """

    now: float
    resend: bool = False
    took_effect: bool = False


class Due(msgspec.Struct, frozen=True, gc=False):
    """The time of the last `Wait` has come."""

    now: float


class Answered(msgspec.Struct, frozen=True, gc=False):
    """An answer to the last `Send`. `request` is what was really sent."""

    now: float
    request: Request
    response: Response
    seconds: float
    jitter: float = 0.0


class Published(msgspec.Struct, frozen=True, gc=False):
    """The message of the last `Publish` was handed over to the broker."""

    now: float
    jitter: float = 0.0


class Received(msgspec.Struct, frozen=True, gc=False):
    """The end of the last `Receive`: a message, or None when none came in time."""

    now: float
    message: Message | None
    seconds: float
    jitter: float = 0.0


class Faulted(msgspec.Struct, frozen=True, gc=False):
    """No answer to the last `Send`; `sent` is False when the server certainly did not get it."""

    now: float
    fault: TransportFault
    message: str
    sent: bool
    jitter: float = 0.0


class Interrupt(msgspec.Struct, frozen=True, gc=False):
    """The user wants to stop; never given while a request with effects is out, at most before one is sent."""

    now: float


class Watched(msgspec.Struct, frozen=True, gc=False):
    """The end of the last `Watch`: so many visits changed nothing, then something else came.

    With an answer or a fault that is one more visit, which began at `begun`.
    """

    visits: int
    begun: float
    event: Due | Answered | Faulted | Interrupt

    @property
    def now(self) -> float:
        """When it came."""
        return self.event.now


MachineEvent: TypeAlias = Begin | Continue | Due | Answered | Published | Received | Faulted | Interrupt | Watched


class Send(msgspec.Struct, frozen=True, gc=False):
    """Perform a request within `timeout` seconds. `intent`: the state must be on the disk before it goes out."""

    step_id: str
    request: Request
    intent: bool
    timeout: float


class Publish(msgspec.Struct, frozen=True, gc=False):
    """Send a message within `timeout` seconds; the state must be on the disk before it goes out."""

    step_id: str
    channel: Channel
    message: Message
    timeout: float


class Receive(msgspec.Struct, frozen=True, gc=False):
    """Wait for the first message that is `wanted`, `timeout` seconds at most."""

    step_id: str
    channel: Channel
    wanted: Callable[[Message], bool]
    timeout: float


class Wait(msgspec.Struct, frozen=True, gc=False):
    """Come back at `until`, a Unix time, possibly past; or go on by `watch`, and come back with what changes."""

    until: float
    why: Literal["poll", "retry", "Retry-After", "trouble", "resumed"]
    watch: Watch | None = None


class Finish(msgspec.Struct, frozen=True, gc=False):
    """The run is over, or goes no further without help."""

    result: events.RunFinished


Effect: TypeAlias = Send | Publish | Receive | Wait | Finish


class Turn(msgspec.Struct, frozen=True, gc=False):
    """What one event led to. `durable`: something changed that a resumed run must know, so save before going on."""

    state: State
    effect: Effect
    facts: tuple[events.Event, ...]
    durable: bool


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """What the caller decides: times in seconds. `poll` None means paced, else the exact wait between polls.

    `reveal` gives the secret that a reference in `State.references` stands for.
    """

    poll: float | None = None
    timeout: float = 31 * 24 * 3600.0
    request_timeout: float = 60.0
    reveal: Callable[[str], str] = str
