"""The one loop: take a turn of the machine, tell and store what it says, perform its effect, and again.

Durability: the state is saved before a request that is not known to be a read goes out, and after every turn that
changed something. Visits of a poll that changed nothing are told to the reporter but not stored, so what a run costs
on the disk is O(steps), never O(polls).

Interruption: `Interruption.interrupt` ends a wait or a read at once; a request with effects is waited for first,
because its outcome would be unknown otherwise.

Secrets are masked in every event before anybody sees it: those of the inputs, and those that workflows hand to each
other.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeVar

import msgspec

from treadle.arazzo import events
from treadle.arazzo.machine import (
    Answered,
    Begin,
    Continue,
    Due,
    Faulted,
    Finish,
    Interrupt,
    Machine,
    MachineEvent,
    MachineOptions,
    Publish,
    Published,
    Receive,
    Received,
    Send,
    State,
    Turn,
    Wait,
    Watch,
    Watched,
    ended,
)
from treadle.arazzo.plan import Plan, PlannedStep
from treadle.arazzo.references import References
from treadle.arazzo.secrecy import Secrets
from treadle.errors import StoreError, TransportError, TransportFault, TreadleError, UsageError
from treadle.seams import (
    Authoriser,
    Channel,
    Json,
    MessageTransport,
    Reporter,
    Request,
    RunRecord,
    RunStore,
    Transport,
)

__all__ = ["Clock", "Interruption", "Outcome", "RunOptions", "new_run_id", "resume", "run"]

RESUMABLE: Final = frozenset({"running", "suspended", "in-doubt", "interrupted"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, as in `events.RunFinished`. `resumable`: `treadle resume` can go on with it."""

    run_id: str
    status: Literal["succeeded", "failed", "suspended", "in-doubt", "interrupted"]
    outputs: dict[str, Json]
    reason: str = ""
    step_id: str = ""
    handled: bool = False
    recovered: bool = False
    last_body: Json = None

    @property
    def resumable(self) -> bool:
        """Whether the run can go on."""
        return self.status in RESUMABLE


_E = TypeVar("_E")


class Clock:
    """Time and chance as they are. Tests give another one."""

    def now(self) -> float:
        """Give the Unix time."""
        return time.time()

    def jitter(self) -> float:
        """Give a random number in [0, 1)."""
        return random.random()  # noqa: S311  (spreads polls; nothing is kept secret by it)

    async def sleep_until(self, until: float) -> None:
        """Sleep until a Unix time, at least for a round of the event loop.

        In slices, because a machine that was suspended does not notice otherwise.
        """
        await asyncio.sleep(min(max(0.0, until - self.now()), _SLICE))
        while (left := until - self.now()) > 0:  # noqa: ASYNC110  (a moment is awaited, not an event)
            await asyncio.sleep(min(left, _SLICE))


_SLICE: Final = 5.0


class Interruption:
    """A request to stop one run, from a signal handler or another task of the same loop."""

    def __init__(self) -> None:
        self.requested = False
        self._breaking: asyncio.Task[object] | None = None

    def interrupt(self) -> None:
        """Stop the run as soon as nothing is lost by it; to ask again changes nothing."""
        if self._breaking is not None and not self.requested:
            self._breaking.cancel()
        self.requested = True

    async def breakable(self, doing: Coroutine[Any, Any, _E]) -> _E | None:
        """Do something that may be broken off; None where it was."""
        self._breaking = task = asyncio.current_task()
        try:
            done = await doing
            if self.requested:
                await asyncio.sleep(0)  # the cancellation comes now, where nothing was waited for
        except asyncio.CancelledError:
            if not self.requested or task is None or task.uncancel():
                raise
            return None
        else:
            return done
        finally:
            self._breaking = None


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the caller decides about a run. `setup` is stored with it: what is needed to build its plan again.

    `references` are those values of secret inputs that stand for a secret: `env:NAME`, `file:PATH`.
    """

    machine: MachineOptions = field(default_factory=MachineOptions)
    run_id: str = ""
    setup: bytes = b"{}"
    secrets: Secrets = field(default_factory=Secrets)
    references: tuple[str, ...] = ()


def new_run_id() -> str:
    """Give a name for a run: a time that sorts, and something random.

    >>> len(new_run_id())
    22
    """
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(3)


async def run(
    plan: Plan,
    inputs: dict[str, Json],
    *,
    transport: Transport,
    authoriser: Authoriser,
    store: RunStore,
    reporter: Reporter,
    options: RunOptions | None = None,
    clock: Clock | None = None,
    interruption: Interruption | None = None,
    messages: MessageTransport | None = None,
) -> Outcome:
    """Run a plan to its end. `inputs` are prepared already: valid, and with their defaults.

    `messages` is what steps that use channels need. Raises `UsageError` where there is none, before anything is sent.
    """
    options = options or RunOptions()
    parts = _Parts(transport, authoriser, store, reporter, messages)
    driver = _Driver(plan, parts, options, References(options.references), clock or Clock(), interruption)
    begin = Begin(driver.clock.now(), options.run_id or new_run_id(), inputs, options.references)
    await driver.listen()
    return await driver.drive(driver.machine.begin(begin))


async def resume(
    record: RunRecord,
    plan: Plan,
    *,
    transport: Transport,
    authoriser: Authoriser,
    store: RunStore,
    reporter: Reporter,
    options: RunOptions | None = None,
    clock: Clock | None = None,
    interruption: Interruption | None = None,
    messages: MessageTransport | None = None,
    resend: bool = False,
    took_effect: bool = False,
) -> Outcome:
    """Go on with a stored run. Raises `UsageError`.

    Where a request has no known outcome, `resend` repeats it, and `took_effect` goes on behind it.
    """
    if record.status not in RESUMABLE:
        raise UsageError(f"the run {record.run_id} has {record.status}: there is nothing to go on with")
    options = options or RunOptions(setup=record.setup)
    try:
        state = msgspec.json.decode(record.state, type=State)
    except msgspec.MsgspecError as error:
        raise StoreError(f"the stored state of the run {record.run_id} cannot be read: {error}") from error
    parts = _Parts(transport, authoriser, store, reporter, messages)
    driver = _Driver(plan, parts, options, References(state.references), clock or Clock(), interruption)
    await driver.listen()
    return await driver.drive(
        driver.machine.advance(state, Continue(driver.clock.now(), resend=resend, took_effect=took_effect))
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    transport: Transport
    authoriser: Authoriser
    store: RunStore
    reporter: Reporter
    messages: MessageTransport | None


@dataclass(slots=True)
class _Visits:
    """The visits of a poll that were made without the machine: when the next is due, when the last one began."""

    until: float
    begun: float = 0.0
    unchanged: int = 0


class _Driver:
    def __init__(
        self,
        plan: Plan,
        parts: _Parts,
        options: RunOptions,
        references: References,
        clock: Clock,
        interruption: Interruption | None,
    ) -> None:
        self.plan = plan
        self.machine = Machine(plan, replace(options.machine, reveal=references.reveal))
        self.parts = parts
        self.options = options
        self.references = references
        self.secrets = options.secrets
        self.clock = clock
        self.interruption = interruption or Interruption()

    async def listen(self) -> None:
        """Have the broker keep what arrives on the channels that steps wait for. Raises `UsageError`."""
        steps = [step for each in self.plan.workflows.values() for step in each.steps if step.channel is not None]
        if not steps:
            return
        if self.parts.messages is None:
            raise UsageError(
                f"the step {steps[0].step_id!r} uses an AsyncAPI channel, and no transport for messages is configured",
                hint="in a program, give run(…, messages=…) one; treadle.messages has one that works in memory",
            )
        await self.parts.messages.subscribe([channel for step in steps if (channel := _known_channel(step))])

    async def drive(self, turn: Turn) -> Outcome:
        while True:
            effect, facts = turn.effect, turn.facts
            if turn.durable:
                self.learn(turn.state)
            facts = self.masked(*facts, effect.result) if isinstance(effect, Finish) else self.masked(*facts)
            if turn.durable:
                await self.save(turn.state, facts)
            for fact in facts:
                self.parts.reporter.report(fact)
            if isinstance(effect, Finish):
                return _outcome(effect.result, self.secrets.mask(effect.result).reason)
            turn = self.machine.advance(turn.state, await self.perform(effect))

    def masked(self, *facts: events.Event) -> tuple[events.Event, ...]:
        return tuple(self.secrets.mask(fact) for fact in facts) if self.secrets.texts else facts

    def learn(self, state: State) -> None:
        """Take notice of the secrets that workflows were given; only a turn that is stored can bring new ones."""
        texts = set(self.references.texts)
        for frame in state.frames:
            workflow = self.plan.workflows[frame.workflow]
            if workflow.secrets:
                texts |= workflow.inputs.secret_texts(frame.inputs) - set(state.references)
        self.secrets = self.secrets.also(texts)

    async def perform(self, effect: Send | Publish | Receive | Wait) -> MachineEvent:
        if self.interruption.requested:
            return Interrupt(self.clock.now())
        match effect:
            case Wait(watch=Watch() as watch):
                return await self.watch(effect.until, watch)
            case Wait():
                return await self.breakable(self.wait(effect.until))
            case Send(intent=False):
                return await self.breakable(self.exchange(effect.request, effect.timeout))
            case Receive():
                return await self.breakable(self.receive(effect))
            # The outcome of these would be unknown, so they are waited for.
            case Send():
                return await self.exchange(effect.request, effect.timeout)
            case Publish():
                return await self.publish(effect)

    async def breakable(self, doing: Coroutine[Any, Any, _E]) -> _E | Interrupt:
        if self.interruption.requested:  # by a reporter, say
            doing.close()
            return Interrupt(self.clock.now())
        return await self.interruption.breakable(doing) or Interrupt(self.clock.now())

    async def wait(self, until: float) -> Due:
        await self.clock.sleep_until(until)
        return Due(self.clock.now())

    async def watch(self, until: float, watch: Watch) -> Watched:
        """Make the visits of a poll until one of them comes to something else."""
        made = _Visits(until)
        came = await self.breakable(self.visit(watch, made))
        return Watched(made.unchanged, made.begun, came)

    async def visit(self, watch: Watch, made: _Visits) -> Due | Answered | Faulted:
        while True:
            due = await self.wait(min(made.until, watch.deadline))
            if due.now >= watch.deadline:
                return due
            made.begun = due.now
            self.tell(*watch.begun(due.now, made.unchanged + 1))
            came = await self.exchange(watch.request, min(watch.timeout, watch.deadline - due.now))
            if not isinstance(came, Answered) or not watch.same(came.response):
                return came
            made.unchanged += 1
            pause = watch.pause(came.response, came.now, came.jitter)
            self.tell(*watch.ended(came.response, came.seconds, came.now, pause, made.unchanged))
            made.until = pause.until

    def tell(self, *facts: events.Event) -> None:
        """Report what the machine has no part in."""
        for fact in self.masked(*facts):
            self.parts.reporter.report(fact)

    # -- messages -----------------------------------------------------------------------------------------------------

    @property
    def messages(self) -> MessageTransport:
        if self.parts.messages is None:  # `listen` has seen to it
            msg = "a step uses a channel, and there is no transport for messages"
            raise AssertionError(msg)
        return self.parts.messages

    async def publish(self, effect: Publish) -> MachineEvent:
        try:
            async with asyncio.timeout(effect.timeout):
                await self.messages.send(effect.channel, effect.message)
        except TransportError as error:
            return self.fault(error.fault, error.message, sent=error.sent)
        except TimeoutError:
            return self.fault("timeout", f"the broker of {effect.channel.url} did not take the message", sent=True)
        return Published(self.clock.now(), self.clock.jitter())

    async def receive(self, effect: Receive) -> MachineEvent:
        begun = time.perf_counter()
        try:
            message = await self.messages.receive(effect.channel, effect.wanted, timeout=effect.timeout)
        except TransportError as error:
            return self.fault(error.fault, error.message, sent=error.sent)
        seconds = time.perf_counter() - begun
        return Received(self.clock.now(), message, seconds, self.clock.jitter())

    # -- requests -----------------------------------------------------------------------------------------------------

    async def exchange(self, asked: Request, timeout: float) -> Answered | Faulted:  # noqa: ASYNC109  (the seam's)
        try:
            request = await self.parts.authoriser.authorise(asked)
        except UsageError as error:
            hint = f" ({error.hint})" if error.hint else ""
            return self.fault("credentials", f"{error.message}{hint}", sent=False)
        except TransportError as error:
            # Renewing credentials may need a network of its own; the request itself has not gone out.
            return self.fault(error.fault, error.message, sent=False)
        begun = time.perf_counter()
        try:
            response = await self.parts.transport.send(request, timeout=timeout)
        except TransportError as error:
            return self.fault(error.fault, error.message, sent=error.sent)
        seconds = time.perf_counter() - begun
        # Expressions see the request without its signature: nothing of a document needs it, and it could be shown.
        return Answered(self.clock.now(), asked, response, seconds, self.clock.jitter())

    def fault(self, fault: TransportFault, message: str, *, sent: bool) -> Faulted:
        return Faulted(self.clock.now(), fault, message, sent=sent, jitter=self.clock.jitter())

    async def save(self, state: State, facts: Sequence[events.Event]) -> None:
        record = RunRecord(
            run_id=state.run_id,
            workflow_id=self.plan.workflows[self.plan.entry].workflow_id,
            document=self.plan.document,
            status=state.status or "running",
            started_at=state.started_at,
            updated_at=self.clock.now(),
            state=msgspec.json.encode(state if state.status in RESUMABLE or not state.status else ended(state)),
            setup=self.options.setup,
        )
        await self.parts.store.save(record, [events.encode(fact) for fact in facts])


def _known_channel(step: PlannedStep) -> Channel | None:
    """Give the channel that a step waits on, where its address does not depend on the run."""
    if step.channel is None or step.channel.action != "receive":
        return None
    try:
        return step.channel.channel([])
    except TreadleError:
        return None


def _outcome(result: events.RunFinished, reason: str) -> Outcome:
    """Give the values as they are, for programs; the reason, which is there to be shown, without secrets."""
    return Outcome(
        run_id=result.run_id,
        status=result.status,
        outputs=result.outputs,
        reason=reason,
        step_id=result.step_id,
        handled=result.handled,
        recovered=result.recovered,
        last_body=result.last_body,
    )
