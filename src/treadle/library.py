"""Treadle in a program: read a document, look at it, run its workflows.

A document is read once and run often; a run is an asynchronous task, its events can be listened to, and its end is a
value. What the command line does is done here by the same parts: the same `treadle.toml` holds, and a run is kept in
the same database, so `treadle runs ls` shows it and `treadle resume` goes on with it.

Two things are otherwise than on the command line, where a person is asked. `on="aws"` is consent: nobody confirms what
is created. And a transport that the program brings gets the requests as the document makes them, unsigned, unless an
authoriser is given with it: what answers for a server has no use for credentials.

`on="mock"` answers from what the document asks for (`treadle mock`), in this process, without waiting and without a
trace on the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike, fspath
from typing import Any, Literal, Self, TypedDict, Unpack

import msgspec

from treadle.arazzo.events import Event
from treadle.arazzo.inputs import Input, Inputs
from treadle.arazzo.location import Document as Text
from treadle.arazzo.location import join
from treadle.arazzo.model import Description
from treadle.arazzo.references import referring
from treadle.arazzo.run import Clock, Interruption, Outcome, RunOptions
from treadle.arazzo.run import run as engine
from treadle.cli import fetching, local, mocked
from treadle.cli.configured import settings_for
from treadle.cli.given import prepared, setup_of
from treadle.cli.opening import Opened, Setup, open_description, open_plan, registry_of
from treadle.cli.options import Where
from treadle.cli.parts import options_for, parts
from treadle.cli.tape import Tape, Unsigned
from treadle.errors import DescriptionError, Diagnostic, TreadleError, UsageError
from treadle.seams import Authoriser, Json, MessageTransport, RunStore, Transport
from treadle.settings import weighed

__all__ = ["Document", "Result", "Run", "RunError", "RunSettings", "Workflow", "load", "run"]

Status = Literal["succeeded", "failed", "suspended", "in-doubt", "interrupted"]


class RunSettings(TypedDict, total=False):
    """What can be said about one run. Times in seconds.

    `poll`: the pause between two visits of a loop, else paced; `timeout`: the longest time of the run;
    `request_timeout`: that of a request. `store`: "home" (durable, the default), "memory", or a store. `transport`:
    what answers instead of the network, and `authoriser` what adds credentials then; `messages`: a broker, for steps
    that use channels; `clock`: another time. `record` writes every exchange to a file, `replay` answers from one.
    """

    poll: float | None
    timeout: float | None
    request_timeout: float | None
    store: Literal["home", "memory"] | RunStore
    transport: Transport | None
    authoriser: Authoriser | None
    messages: MessageTransport | None
    clock: Clock | None
    record: str | PathLike[str] | None
    replay: str | PathLike[str] | None


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow as its document declares it."""

    id: str
    summary: str
    description: str
    inputs: Mapping[str, Input]
    outputs: tuple[str, ...]
    steps: tuple[str, ...]
    line: int
    """Where it begins in the document, counted from 1; 0 where that is not known."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended.

    `step` is where it ended other than well, `reason` why. `handled`: an action of the document ended it;
    `recovered`: it succeeded after a failure that an action took care of. `last_body` is what the last answer said.
    `diagnostics` are warnings and notes about document and inputs.
    """

    run_id: str
    workflow: str
    status: Status
    outputs: Mapping[str, Json]
    reason: str = ""
    step: str = ""
    handled: bool = False
    recovered: bool = False
    last_body: Json = None
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the run succeeded."""
        return self.status == "succeeded"

    @property
    def resumable(self) -> bool:
        """Whether the run can go on: `treadle resume RUN`."""
        return self.status in {"suspended", "in-doubt", "interrupted"}

    def raise_for_status(self) -> Result:
        """Give the result if the run succeeded. Raises `RunError`."""
        if not self.ok:
            raise RunError(self)
        return self


class RunError(TreadleError):
    """A run did not succeed; `result` says how it ended."""

    def __init__(self, result: Result) -> None:
        at = f" at {result.step}" if result.step else ""
        because = f": {result.reason}" if result.reason else ""
        hint = f"go on with: treadle resume {result.run_id}" if result.status == "suspended" else ""
        super().__init__(f"the workflow {result.workflow} ended {result.status}{at}{because}", hint=hint)
        self.result = result


class Run:
    """A run that has begun: an asynchronous iterator of its events, and its result when it is awaited.

    >>> async def follow(document: Document) -> Result:
    ...     async with document.start() as run:
    ...         async for event in run:
    ...             print(type(event).__name__)
    ...         return await run

    Leaving `async with` before the end interrupts the run in order. Without it the run goes on by itself.
    """

    def __init__(self, driven: _Driven) -> None:
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._interruption = Interruption()
        self._task = asyncio.get_running_loop().create_task(driven.drive(self, self._interruption))
        self._task.add_done_callback(lambda _: self._events.put_nowait(None))

    def report(self, event: Event) -> None:
        """Take notice of an event: the engine's part of it."""
        self._events.put_nowait(event)

    def interrupt(self) -> None:
        """End the run as soon as nothing is lost by it; it can be resumed."""
        self._interruption.interrupt()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """Give the next event. Raises what kept the run from beginning or going on."""
        event = None if self._task.done() and self._events.empty() else await self._events.get()
        if event is None:
            await self._task
            raise StopAsyncIteration
        return event

    def __await__(self) -> Generator[Any, None, Result]:
        # Who waits for the result may be cancelled without the run; only `async with` ties them together.
        return asyncio.shield(self._task).__await__()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        self.interrupt()
        if kind is None:
            await self._task
        else:
            await asyncio.gather(self._task, return_exceptions=True)  # what is raised already is the cause


@dataclass(frozen=True)
class Document:
    """An Arazzo document that was read, with what was decided about it. `load` makes one."""

    setup: Setup
    text: Text = field(repr=False)
    description: Description = field(repr=False)

    @cached_property
    def workflows(self) -> Mapping[str, Workflow]:
        """The workflows by their ids, in the order of the document."""
        return {each.id: each for each in self._workflows()}

    def _workflows(self) -> Iterable[Workflow]:
        for each in self.description.workflows:
            schema = {} if each.inputs is None else each.inputs
            inputs = Inputs(schema, self.text, join(each.pointer, "inputs"), strict=self.setup.strict)
            yield Workflow(
                id=each.workflow_id,
                summary=each.summary or "",
                description=each.description or "",
                inputs=inputs.declared,
                outputs=tuple(each.outputs),
                steps=tuple(step.step_id for step in each.steps),
                line=self.text.place(each.pointer).line,
            )

    def check(self) -> tuple[Diagnostic, ...]:
        """Give everything that `treadle check` finds, in the order of the document; nothing is sent or raised."""
        from treadle.cli.checking import check_document

        try:
            found = check_document(self.setup, local=local.known, fetch=fetching.fetch).diagnostics
        except DescriptionError as error:
            found = tuple(error.diagnostics)
        return tuple(weighed(found, self.setup.rules))

    async def run(
        self,
        workflow: str | None = None,
        inputs: Mapping[str, Json] | None = None,
        **settings: Unpack[RunSettings],
    ) -> Result:
        """Run a workflow to its end; it may be left out where there is only one.

        However it ends is in the result. Raises `DescriptionError` and `UsageError` where nothing was sent because
        document, inputs or settings are wrong, `LaunchError` where the local service cannot be started, and
        `StoreError`. When the task is cancelled the run stays as it was last stored, and can be resumed.
        """
        return await _Driven(self, workflow, inputs, settings).drive(_Nobody(), Interruption())

    def start(
        self,
        workflow: str | None = None,
        inputs: Mapping[str, Json] | None = None,
        **settings: Unpack[RunSettings],
    ) -> Run:
        """Begin to run a workflow in a task of its own, and listen to it; as `run` otherwise."""
        return Run(_Driven(self, workflow, inputs, settings))


def load(
    document: str | PathLike[str],
    *,
    on: str | None = None,
    servers: Mapping[str, str] | None = None,
    sources: Mapping[str, str] | None = None,
    credentials: Mapping[str, Mapping[str, str]] | None = None,
    hosts: Sequence[str] = (),
    strict: bool = False,
    config: str | PathLike[str] | None = None,
) -> Document:
    """Read a document, a file or a URL. Raises `DescriptionError` where it is none.

    `on`: `local`, `aws`, `mock`, a URL, or a target of `treadle.toml`; `servers` and `sources`: the URL of a source
    description's server, and where to read it from, by its name; `credentials`: source → security scheme → `env:NAME`
    or `file:PATH`; `hosts`: the only ones that steps may call; `strict` makes errors of what is taken though the
    specification does not have it; `config`: the `treadle.toml` that holds, else the one that stands beside the
    document or above it.
    """
    path = fspath(document)
    settings = settings_for(path, None if config is None else fspath(config))
    setup = setup_of(
        path,
        None,
        Where(
            on=on,
            servers=[*(servers or {}).items()],
            sources=[*(sources or {}).items()],
            hosts=hosts,
            strict=strict,
        ),
        settings=settings,
    )
    known = {**setup.credentials, **{name: dict(each) for name, each in (credentials or {}).items()}}
    setup = msgspec.structs.replace(setup, credentials=known)
    text, description, found = open_description(setup, registry_of(setup, fetching.fetch))
    if description is None:
        raise DescriptionError(found)
    return Document(setup, text, description)


def run(
    document: str | PathLike[str] | Document,
    workflow: str | None = None,
    inputs: Mapping[str, Json] | None = None,
    *,
    on: str | None = None,
    servers: Mapping[str, str] | None = None,
    sources: Mapping[str, str] | None = None,
    strict: bool = False,
    **settings: Unpack[RunSettings],
) -> Result:
    """Run a workflow and wait for its end: `load` and `Document.run` for programs without an event loop.

    Where to and how strictly is said when a `Document` is loaded; for one, those options are refused.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise UsageError("treadle.run is called within an event loop", hint="await treadle.load(…).run(…) there")
    if not isinstance(document, Document):
        document = load(document, on=on, servers=servers, sources=sources, strict=strict)
    elif on or servers or sources or strict:
        raise UsageError("on, servers, sources and strict belong to the document", hint="give them to treadle.load")
    return asyncio.run(document.run(workflow, inputs, **settings))


# ---------------------------------------------------------------------------------------------------------------------
# One run
# ---------------------------------------------------------------------------------------------------------------------


class _Nobody:
    """A reporter that tells nobody."""

    def report(self, event: object) -> None:
        pass


@dataclass(frozen=True, slots=True)
class _Begun:
    """What a run is made of once everything that could be wrong has been looked at."""

    opened: Opened
    inputs: dict[str, Json]
    options: RunOptions
    diagnostics: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True)
class _Driven:
    """A run that was asked for."""

    document: Document
    workflow: str | None
    inputs: Mapping[str, Json] | None
    settings: RunSettings

    async def drive(self, reporter: Any, interruption: Interruption) -> Result:
        """Open, run, let go of everything."""
        files = [self.settings.get(name) for name in ("record", "replay")]
        record, replay = (None if each is None else fspath(each) for each in files)  # type: ignore[call-overload]
        tape = await asyncio.to_thread(Tape.of, record, replay)
        with local.using() as service:
            # Reading descriptions and starting the service block.
            begun = await asyncio.to_thread(self._begin, tape, service)
            async with self._parts(begun, tape, service) as given:
                outcome = await engine(
                    begun.opened.plan,
                    begun.inputs,
                    **given,
                    reporter=reporter,
                    options=begun.options,
                    interruption=interruption,
                    messages=self.settings.get("messages"),
                )
            _all_asked(tape, given["transport"])
        return _result(outcome, begun)

    def _begin(self, tape: Tape, service: local.Service) -> _Begun:
        offline = tape.replays or self.settings.get("transport") is not None
        setup, text = self._setup(tape), self.document.text
        opened = (
            mocked.opened(setup, text)
            if mocked.is_mocked(setup)
            else open_plan(setup, local=tape.nowhere if offline else service, fetch=fetching.fetch, document=text)
        )
        entry = opened.plan.workflows[opened.plan.entry]
        given = dict(self.inputs or {})
        if mocked.is_mocked(setup) and self.inputs is None:
            from treadle.mock import sample_inputs

            given = sample_inputs(entry)
        values, references = referring(entry.inputs, tape.inputs(given))
        references = () if tape.replays else references  # what they were for was answered already
        inputs, found = prepared(entry.inputs, values, references)
        opened.ready(inputs)
        diagnostics = (*opened.diagnostics, *found)
        return _Begun(opened, inputs, options_for(opened, inputs, references), diagnostics)

    def _setup(self, tape: Tape) -> Setup:
        setup = self.document.setup
        where = tape.where(Where(on=setup.on, servers=tuple(setup.servers.items())))
        named = {"poll": None, "timeout": None, "request_timeout": None}
        chosen = {name: value for name in named if (value := self.settings.get(name)) is not None}
        return msgspec.structs.replace(
            setup,
            workflow=tape.workflow(self.workflow),
            on=where.on,
            servers=dict(where.servers),
            **chosen,
        )

    @contextlib.asynccontextmanager
    async def _parts(self, begun: _Begun, tape: Tape, service: local.Service) -> AsyncIterator[dict[str, Any]]:
        """Give transport, authoriser, store and clock: those that were given, else those of this machine."""
        wanted, clock = self.settings.get("store", "home"), self.settings.get("clock")
        async with contextlib.AsyncExitStack() as stack:
            given: dict[str, Any]
            if tape.replays:
                given = await stack.enter_async_context(tape.replayed(begun.options.secrets))
            elif mocked.is_mocked(begun.opened.setup):
                given = mocked.parts(begun.opened)
            else:
                given = await stack.enter_async_context(self._own(begun, service, wanted))
            if clock is not None:
                given["clock"] = clock
            if not isinstance(wanted, str):
                given["store"] = wanted
            inner = given["transport"]
            given["transport"] = tape.recorder(
                inner, begun.opened, begun.inputs, begun.options.secrets, begun.options.references
            )
            if given["transport"] is not inner:
                stack.push_async_callback(given["transport"].close)
            yield given

    @contextlib.asynccontextmanager
    async def _own(self, begun: _Begun, service: local.Service, wanted: object) -> AsyncIterator[dict[str, Any]]:
        transport, authoriser = self.settings.get("transport"), self.settings.get("authoriser")
        async with parts(begun.opened, begun.options.run_id, service, durable=wanted == "home") as given:
            if transport is not None:
                # It is the caller's, who may use it again.
                given |= {"transport": transport, "authoriser": Unsigned()}
            if authoriser is not None:
                given["authoriser"] = authoriser
            yield given


def _all_asked(tape: Tape, transport: Transport) -> None:
    """Raise `UsageError` where a run asked for less than was recorded: it did something else."""
    unasked = tape.unasked(transport) if tape.replays else ""
    if unasked:
        raise UsageError(unasked, hint="the document is not what it was, or the inputs are not: record it again")


def _result(outcome: Outcome, begun: _Begun) -> Result:
    entry = begun.opened.plan.workflows[begun.opened.plan.entry]
    return Result(
        run_id=outcome.run_id,
        workflow=entry.workflow_id,
        status=outcome.status,
        outputs=outcome.outputs,
        reason=outcome.reason,
        step=outcome.step_id,
        handled=outcome.handled,
        recovered=outcome.recovered,
        last_body=outcome.last_body,
        diagnostics=begun.diagnostics,
    )
