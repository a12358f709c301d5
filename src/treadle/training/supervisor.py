"""The one loop of the training service: queue, place, listen, settle. Every change of a job goes through it.

A change is made in three steps that nothing can tear apart: `advance` says what the job becomes, the store keeps that,
and only then anybody sees it. What follows from a job is done by looking at the job, not by remembering what happened:
a job without hosts is placed, a job with an outcome is settled. So a supervisor that is started on the jobs of one that
was killed needs no recovery of its own: it looks at them and goes on. A job is looked at when it has changed, and all
of them at each tick: thousands may wait without slowing the others down.

Two orders make a crash harmless at any point:

* the attempt and its token are stored before a host is launched, its handle right after. A host with neither handle
  nor claim may or may not have been launched: a new attempt is begun, and the old agent, if there is one, is told that
  its attempt is over (409) before it has touched anything;
* outputs are moved to their places before the status says `Completed`. To move one that has been moved is no error.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import secrets
import shutil
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec

from treadle.errors import ImageError, LaunchError, ObjectError, StoreError
from treadle.home import remove_tree
from treadle.seams import (
    Capacity,
    ClaimAnswer,
    HostLaunch,
    JobRecord,
    JobStore,
    Launcher,
    LogBatch,
    Objects,
    Report,
    ReportAnswer,
    Room,
)
from treadle.training import images, instances, outputs, spec
from treadle.training.hosts import host_names, instance_types
from treadle.training.instances import Way
from treadle.training.job import (
    Announced,
    Claimed,
    Event,
    Host,
    HostLost,
    HostReported,
    Job,
    Launched,
    LaunchedAgain,
    LaunchFailed,
    Limit,
    LimitReached,
    Placed,
    Settled,
    StopRequested,
    Waiting,
    advance,
    commands,
    decode,
    record,
)

__all__ = ["AGENTS", "Announcer", "AttemptOverError", "JobLogs", "Supervisor", "WrongTokenError"]

_log: Final = logging.getLogger(__name__)

_T = TypeVar("_T")

# Seconds for which an agent may say nothing, while its process is alive, before it is given up. It is patient: the
# agent answers for its job by itself, and a machine that hangs may come back.
_SILENCE: Final = 600.0
# Seconds that an agent has for leaving by itself after its job has ended.
_LEAVE: Final = 10.0
# A report is not held longer than this, so that a connection that died is noticed.
_LONGEST_HOLD: Final = 60.0
AGENTS: Final = 3
"""So many agents may a host have, one after the other: those after the first tell what it had left to tell, and finish
what can be finished without its program."""
# Between two answers to the same agent that carry the same commands: the first one may have been lost.
_REMIND: Final = 2.0


class WrongTokenError(Exception):
    """The token is not that of the attempt."""


class AttemptOverError(Exception):
    """The attempt is over, or its host belongs to another agent. The text says which."""


class JobLogs(Protocol):
    """Where log lines go; called in threads, by one caller per stream at a time. See `logs_store`."""

    def append(
        self,
        job: str,
        host: str,
        epoch: int,
        attempt: int,
        batch: LogBatch | None,
        notices: Sequence[tuple[int, str]] = (),
    ) -> int:
        """Store lines durably; how many of the program's lines the stream has now. Raises `StoreError`."""
        ...

    def remark(self, job: str, host: str, notices: Sequence[tuple[int, str]]) -> None:
        """Add lines of the service's own to the host's latest stream. Raises `StoreError`."""
        ...

    def forget(self, job: str) -> None:
        """Take notice that nothing more is written for the job."""
        ...

    def delete(self, job: str) -> None:
        """Remove the logs of a job, for good. Raises `StoreError`."""
        ...

    def jobs(self) -> Sequence[str]:
        """Give the names of the jobs that have logs."""
        ...


class Announcer(Protocol):
    """Hears of every change of a job that is to be announced (`Job.announced`); see `announce`."""

    def changed(self, job: Job) -> None:
        """Take notice of a job as it is now, and stored. Must not block."""
        ...


@dataclass(slots=True, eq=False)
class _Live:
    """An unfinished job, and what is known about it only here and now."""

    job: Job
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    next_change: asyncio.Event | None = None
    """For who waits for one; thousands of jobs may have nobody who does."""
    task: asyncio.Task[None] | None = None
    """What is being done about the job: it is placed, or settled."""
    seen: dict[tuple[int, str], float] = field(default_factory=dict)
    """(attempt, host) → when its agent was last heard of, by the monotonic clock."""
    told: dict[tuple[int, str], tuple[float, tuple[str, ...]]] = field(default_factory=dict)
    """(attempt, host) → when it was last told commands, and which."""
    streams: dict[str, asyncio.Lock] = field(default_factory=dict)

    @property
    def busy(self) -> bool:
        return self.task is not None and not self.task.done()

    def stream(self, host: str, attempt: int) -> asyncio.Lock:
        """Give what makes its holder the only one who writes to the log of an attempt's host."""
        return self.streams.setdefault(f"{host}-{attempt}", asyncio.Lock())

    def notify(self) -> None:
        """Wake everybody who waits for a change."""
        if self.next_change is not None:
            self.next_change.set()
            self.next_change = None

    async def change(self) -> None:
        """Wait for the next change."""
        self.next_change = self.next_change or asyncio.Event()
        await self.next_change.wait()


@dataclass(frozen=True, slots=True)
class _Leaving:
    """A job that has ended, whose agents may still be about to leave."""

    name: str
    deadline: float
    handles: tuple[str, ...] = ()
    staging: tuple[str, str] | None = None
    kept: frozenset[str] = frozenset()
    """Keys in staging that are not removed: those of outputs that could not be put in their places."""
    uploads: frozenset[str] = frozenset()
    """Keys of which an upload may have been killed: to remove them removes the directories that it had made."""
    outlived: bool = False
    """Whether a container may have outlived an agent that was lost, unseen."""

    @classmethod
    def of(cls, job: Job, deadline: float) -> _Leaving:
        handles = (*job.abandoned, *(each.handle for each in job.hosts if each.handle))
        # Outputs that are in their places are in staging no more. The others stay: somebody trained for them.
        kept = frozenset(each.staged for each in job.outputs)
        bucket, prefix = spec.staging(job)
        hosts = host_names(job.request)
        uploads = {f"{prefix}{attempt}/{host}/model.tar.gz" for attempt in range(1, job.attempt + 1) for host in hosts}
        lost = bool(job.abandoned) or any(each.agents > 1 for each in job.hosts)
        outlived = lost and job.image.get("kind") == "container"
        return cls(job.name, deadline, handles, (bucket, prefix), kept, frozenset(uploads), outlived)


class Supervisor:
    """Drives every job to its end. `start` before use, `stop` after; `endpoint` says where agents find the service.

    `tick` is the time in seconds between two looks at the machines; nothing else is looked at periodically.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        objects: Objects,
        launcher: Launcher,
        logs: JobLogs,
        place: spec.Place,
        endpoint: Callable[[], str],
        clock: Callable[[], float] = time.time,
        tick: float = 2.0,
        silence: float = _SILENCE,
        leave: float = _LEAVE,
        announcer: Announcer | None = None,
    ) -> None:
        self._jobs = jobs
        self._objects = objects
        self._launcher = launcher
        self._logs = logs
        self._place = place
        self._endpoint = endpoint
        self._clock = clock
        self._tick = tick
        self._silence = silence
        self._leave = leave
        self._announcer = announcer
        # A finished job is edited by one at a time, and nobody cleans up after a job that is being deleted.
        self._editing = asyncio.Lock()
        self._cleaning = asyncio.Lock()
        self._live: dict[str, _Live] = {}
        # The names of jobs that have changed and have not been looked at since.
        self._changed: dict[str, None] = {}
        # Who waits for room, first in, first out; and what the others take of the machine. Both by name.
        self._queue: dict[str, _Live] = {}
        self._unsorted = False
        self._taken: dict[str, Capacity] = {}
        # When a launcher that had no room is asked next.
        self._ask_again = 0.0
        self._leaving: list[_Leaving] = []
        self._wake = asyncio.Event()
        self._ended = asyncio.Event()
        self._quiet = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._released = False

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take over the unfinished jobs of the store, and begin. Raises `StoreError`."""
        capacity = await self._launcher.capacity()
        for stored in await self._jobs.unfinished():
            job = decode(stored)
            self._live[job.name] = _Live(job)
            if not _unplaced(job):
                ways, _ = _ways(job, capacity)
                self._taken[job.name] = ways[0].need.capacity if ways else Capacity(0, 0)
        self._changed = dict.fromkeys(self._live)
        await self._sweep()
        if self._announcer is not None:
            await self._announce_what_was_not()
        self._update_quiet()
        sweeping = self._told("earlier jobs", self._sweep_machines())
        self._loops = [asyncio.create_task(each) for each in (self._work(), self._watch(), sweeping)]

    async def run(self) -> None:
        """Wait for as long as all goes well: returns when stopped, raises what broke the loops."""
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._loops)

    def release(self) -> None:
        """Answer every report that is held, and hold none any more: the service is about to stop listening."""
        self._released = True
        for live in self._live.values():
            live.notify()

    async def stop(self) -> None:
        """Finish what has begun and cannot be left half done. Agents go on."""
        self.release()
        for each in self._loops:
            each.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        # Only what is not done is awaited: from Python 3.12 on, awaiting what is done gives no turn to the callbacks
        # that take it out of the set.
        while unfinished := [each for each in self._tasks if not each.done()]:
            await asyncio.wait(unfinished)

    @property
    def busy(self) -> bool:
        """Whether a job is unfinished or being cleaned up after."""
        return bool(self._live or self._leaving)

    async def quiet(self) -> None:
        """Wait until nothing is unfinished."""
        await self._quiet.wait()

    def _update_quiet(self) -> None:
        if self.busy:
            self._quiet.clear()
        else:
            self._quiet.set()

    # -- what the service asks for ------------------------------------------------------------------------------------

    async def capacity(self) -> Capacity:
        """Give what the machines have."""
        return await self._launcher.capacity()

    async def add(self, job: Job) -> bool:
        """Take a new job; False when its name is taken. Raises `StoreError`."""
        if self._announcer is not None:
            job = msgspec.structs.replace(job, announced=0)
        # Where others wait it waits at once: it will not pass them, and need not be stored a second time.
        if self._queue:
            job = advance(job, Waiting(job.created_at))
        try:
            return await self._added(job)
        except asyncio.CancelledError:
            # It may be stored, or may yet be. (`_whole` takes a tenth of the time of all that it takes to take a job.)
            self._spawn(self._added(job))
            raise

    async def _announce_what_was_not(self) -> None:
        """Announce what an earlier service could not. Jobs that began without a webhook are heard of from now on."""
        for live in self._live.values():
            if live.job.announced is None:
                await self._apply(live, Announced(self._clock(), len(live.job.transitions)))
        for stored in await self._jobs.all():
            self._announce(decode(stored))

    def _announce(self, job: Job) -> None:
        if self._announcer is not None:
            self._announcer.changed(job)

    async def _added(self, job: Job) -> bool:
        """Store a job and take it, unless its name is taken; one that is stored already is taken from there."""
        stored = record(job)
        if not await self._jobs.insert(stored) and (job.name in self._live or await self._jobs.get(job.name) != stored):
            return False
        live = self._live[job.name] = _Live(job)
        self._announce(job)
        self._update_quiet()
        if self._queue and job.secondary_status == "Pending":
            self._queue_up(live)
        else:
            self._look_later(job)
        return True

    async def find(self, name: str) -> Job | None:
        """Give a job as it is now, or None."""
        if live := self._live.get(name):
            return live.job
        stored = await self._jobs.get(name)
        return decode(stored) if stored else None

    def running(self, name: str, attempt: int) -> Job | None:
        """Give a job that has not ended, if this attempt is its current one, else None."""
        live = self._live.get(name)
        return live.job if live and live.job.attempt == attempt else None

    async def edit(self, name: str, decide: Callable[[Job], Event]) -> Job | None:
        """Apply to a job, finished or not, the event that `decide` makes of it; None when there is no such job.

        What `decide` raises is raised, and nothing has changed. Raises `StoreError`.
        """
        return await self._whole(self._edited(name, decide))

    async def _edited(self, name: str, decide: Callable[[Job], Event]) -> Job | None:
        async with self._editing:
            if live := self._live.get(name):
                return await self._applied(live, decide)
            stored = await self._jobs.get(name)
            if stored is None:
                return None
            job = decode(stored)
            changed = advance(job, decide(job))
            if changed is not job:
                await self._store(changed)
            return changed

    async def delete(self, name: str) -> bool:
        """Remove an ended job, its logs, and what its hosts left behind; False when there is none. Outputs stay.

        The record goes last: whatever happens before, the name stays taken and the deletion can be asked for again.
        Raises `StoreError`.
        """
        return await self._whole(self._deleted(name))

    async def _deleted(self, name: str) -> bool:
        # It is live for a moment still after its end can be seen.
        while (live := self._live.get(name)) and live.job.finished:
            await live.change()
        async with self._editing, self._cleaning:
            if name in self._live or await self._jobs.get(name) is None:
                return False
            for leaving in [each for each in self._leaving if each.name == name]:
                await self._leave_behind(leaving)
            await asyncio.to_thread(self._logs.delete, name)
            return await self._jobs.delete(name)

    async def prune(self, *, dry: bool) -> list[Path]:
        """Remove logs and hosts' directories that belong to no job any more; give them. Raises `StoreError`."""
        async with self._editing, self._cleaning:
            home = self._place.home
            # In this order: a job is stored before it has anything on the disk.
            places = [(root, each) for root in (home.logs, home.jobs) for each in await asyncio.to_thread(_names, root)]
            known = {each.name for each in await self._jobs.all()} | {each.name for each in self._leaving}
            found = [(root, name) for root, name in places if name not in known]
            if not dry:
                for root, name in found:
                    remove = self._logs.delete if root == home.logs else lambda each: remove_tree(home.jobs / each)
                    await asyncio.to_thread(remove, name)
            return [root / name for root, name in found]

    async def request_stop(self, name: str) -> None:
        """Begin to stop a job; nothing happens to one that has ended. The agents are told at once."""
        if live := self._live.get(name):
            await self._apply(live, StopRequested(self._clock()))

    # -- what agents ask for ------------------------------------------------------------------------------------------

    async def claim(self, token: str, job: str, attempt: int, host: str, agent: str) -> ClaimAnswer:
        """Give an agent its host. Raises `WrongTokenError`, `AttemptOverError`, `StoreError`."""
        live, _ = await self._admitted(token, job, attempt, host)
        if live is None:
            raise AttemptOverError("The job has ended.")
        live.seen[attempt, host] = time.monotonic()
        now = await self._apply(live, Claimed(self._clock(), attempt, host, agent))
        its = _owned(now, attempt, host, agent)
        if its.outcome:
            raise AttemptOverError("The host has ended.")
        return ClaimAnswer(spec=spec.host_spec(now, its, self._place, await self._launcher.capacity()))

    async def report(self, token: str, report: Report) -> ReportAnswer:
        """Take what an agent has to tell; held while there is neither news nor a command, for at most `wait` seconds.

        Raises `WrongTokenError`, `AttemptOverError`, `StoreError`.
        """
        live, job = await self._admitted(token, report.job, report.attempt, report.host)
        its = _owned(job, report.attempt, report.host, report.agent)
        if live is None:
            # The job is finished, so everything was taken; the answer that said so was lost.
            last = report.log.first + len(report.log.lines) if report.log else 0
            return ReportAnswer(events_to=its.seq, log_to=last)
        live.seen[report.attempt, report.host] = time.monotonic()
        log_to = await self._take_log(live, report)
        for event in report.events:
            await self._apply(live, HostReported(self._clock(), report.attempt, report.host, event))
        heartbeat = not report.events and report.log is None
        if heartbeat:
            await self._hold(live, report)
        live.seen[report.attempt, report.host] = time.monotonic()
        its = _owned(live.job, report.attempt, report.host, report.agent)
        orders = commands(live.job, report.host)
        if orders and heartbeat:
            live.told[report.attempt, report.host] = (time.monotonic(), tuple(orders))
        return ReportAnswer(events_to=its.seq, log_to=log_to, commands=orders)

    async def _admitted(self, token: str, name: str, attempt: int, host: str) -> tuple[_Live | None, Job]:
        live = self._live.get(name)
        job = live.job if live else await self.find(name)
        if job is None:
            raise AttemptOverError("There is no such job.")
        if not 1 <= attempt <= len(job.tokens) or not hmac.compare_digest(job.tokens[attempt - 1], _hash(token)):
            raise WrongTokenError
        if attempt != job.attempt or job.host(host) is None:
            raise AttemptOverError("The attempt is over.")
        return live, job

    async def _take_log(self, live: _Live, report: Report) -> int:
        """Store the report's lines; how many the stream has. A heartbeat that knows no stream yet makes none."""
        if not report.stream_epoch:
            return 0
        job = live.job
        now = int(self._clock() * 1000)
        notices = [(now, f"[treadle] {note}") for note in job.notes]
        # One caller per stream; and the write goes on when the one who sent the report is gone.
        async with live.stream(report.host, report.attempt):
            writing = asyncio.to_thread(
                self._logs.append, job.name, report.host, report.stream_epoch, report.attempt, report.log, notices
            )
            return await self._whole(writing)

    async def _hold(self, live: _Live, report: Report) -> None:
        """Wait for a command, or for the end of the attempt."""
        key = (report.attempt, report.host)
        now = time.monotonic()
        until = now + min(report.wait, _LONGEST_HOLD)
        while (left := until - time.monotonic()) > 0 and not self._released:
            host = live.job.host(report.host)
            if live.job.attempt != report.attempt or host is None or host.outcome:
                return
            if orders := tuple(commands(live.job, report.host)):
                at, told = live.told.get(key, (0.0, ()))
                if told != orders or time.monotonic() - at >= _REMIND:
                    return
                left = min(left, at + _REMIND - time.monotonic())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(left, 0.0)):
                    await live.change()

    # -- changing a job -----------------------------------------------------------------------------------------------

    async def _apply(self, live: _Live, event: Event) -> Job:
        """Advance a job by an event, durably. Whoever is cancelled while it waits does not tear the change apart."""
        return await self._whole(self._applied(live, lambda _: event))

    async def _applied(self, live: _Live, decide: Callable[[Job], Event]) -> Job:
        async with live.lock:
            job = advance(live.job, decide(live.job))
            if job is live.job:
                return job
            await self._store(job)
            live.job = job
        live.notify()
        self._look_later(job)
        return job

    async def _store(self, job: Job) -> None:
        if not await self._jobs.update(record(job)):
            raise StoreError(f"The job {job.name} was changed by somebody else.", hint="Run one service per home.")
        self._announce(job)

    async def _whole(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Await work that goes on to its end even when the one who waits for it is cancelled."""
        return await asyncio.shield(self._spawn(work))

    def _spawn(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it goes to whoever awaits; when nobody does any more, it need not be told as forgotten

    # -- the loop -----------------------------------------------------------------------------------------------------

    def _look_later(self, job: Job) -> None:
        self._changed[job.name] = None
        self._wake.set()

    async def _work(self) -> None:
        """Do what follows from the jobs that have changed; at each tick from all, should the disk have had a fault."""
        due = 0.0
        while True:
            self._wake.clear()
            changed, self._changed = self._changed, {}
            if (now := time.monotonic()) >= due:
                changed, due = dict.fromkeys(self._live), now + self._tick
            try:
                await self._look_at_jobs([self._live[name] for name in changed if name in self._live])
            except StoreError as error:
                _log.error("%s %s", error.message, error.hint)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, due - time.monotonic()) if self._live else None):
                    await self._wake.wait()

    async def _look_at_jobs(self, lives: Sequence[_Live]) -> None:
        for live in lives:
            if live.busy:
                self._changed[live.job.name] = None  # it is looked at again, with whatever changes next
            elif live.job.outcome:
                self._queue.pop(live.job.name, None)
                live.task = self._spawn(self._told(live.job.name, self._settle(live)))
        for live in lives:
            if _unplaced(live.job) and not live.busy:
                await self._line_up(live)
        self._sort_queue()
        await self._place_who_waits()
        # Stored together: a commit takes its time, and whoever comes meanwhile waits to be looked at.
        wait = [
            each
            for each in lives
            if each.job.name in self._queue and each.job.secondary_status != "Pending" and not each.busy
        ]
        await asyncio.gather(*(self._apply(each, Waiting(self._clock())) for each in wait))

    async def _line_up(self, live: _Live) -> None:
        if live.job.stop_requested or live.job.limit:
            # Its launch was lost, and it will not be launched again: nothing runs.
            for host in live.job.hosts:
                await self._apply(live, HostLost(self._clock(), live.job.attempt, host.name, "It was not launched."))
            return
        if live.job.name not in self._queue:
            self._taken.pop(live.job.name, None)
            self._queue_up(live)

    def _queue_up(self, live: _Live) -> None:
        last = next(reversed(self._queue.values()), live)
        self._queue[live.job.name] = live
        # A job that comes back is older than others; and of some that were created at once the first may come second.
        self._unsorted |= last.job.created_at > live.job.created_at

    def _sort_queue(self) -> None:
        """Put who is oldest first; once for all that have lined up, since thousands may wait."""
        if self._unsorted:
            self._queue = dict(sorted(self._queue.items(), key=lambda each: each[1].job.created_at))
            self._unsorted = False

    async def _place_who_waits(self) -> None:
        """Place who is first, and the next, for as long as there is room.

        Who does not fit lets nobody pass, or a large job would never get its turn.
        """
        if not self._queue:
            return
        capacity = await self._launcher.capacity()
        while self._queue:
            name, live = next(iter(self._queue.items()))
            if live.busy or time.monotonic() < self._ask_again:
                return  # the launcher is asked whether there is room for it, or will be
            used = list(self._taken.values())
            possible, why = _ways(live.job, capacity)
            ways = [each for each in possible if _fits(each.need.capacity, capacity, used)]
            if not ways:
                if why:
                    await self._apply(live, Waiting(self._clock(), why))
                return
            way = ways[0]
            if capacity.machines is not None or way.need.capacity.gpus:
                live.task = self._spawn(self._told(name, self._place_with_room(live, ways, capacity)))
                return
            del self._queue[name]
            self._taken[name] = way.need.capacity
            live.task = self._spawn(self._told(name, self._launch(live, way)))

    async def _told(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Do work on a job; a fault is logged, and as the job is as it was, the next tick does the work again."""
        try:
            await work
        except StoreError as error:
            _log.error("%s: %s %s", name, error.message, error.hint)
        except Exception:  # noqa: BLE001  (one job's fault must not stop the others; it is logged whole)
            _log.exception("%s: unexpected fault", name)

    # -- placing ------------------------------------------------------------------------------------------------------

    async def _place_with_room(self, live: _Live, ways: Sequence[Way], capacity: Capacity) -> None:
        """Launch a job in the first way that the launcher keeps room for; else it stays where it is in the queue."""
        name = live.job.name
        await self._kill(live.job.abandoned)
        why = ""
        for way in ways:
            try:
                room = await self._room(live, way, capacity)
            except LaunchError as error:
                room, why = None, error.message
            if name not in self._queue:
                return  # it was stopped meanwhile
            if room is not None:
                del self._queue[name]
                self._taken[name] = way.need.capacity
                self._wake.set()  # the next one in the queue may have its turn
                await self._launch(live, way, room, cluster=capacity.machines is not None)
                return
        self._ask_again = time.monotonic() + self._tick
        await self._apply(live, Waiting(self._clock(), why))

    async def _room(self, live: _Live, way: Way, capacity: Capacity) -> Room | None:
        """Ask for room for all hosts of the job's next attempt. Raises `LaunchError`."""
        needs = {host: instances.need(kind, capacity).capacity for host, kind in instance_types(way.request).items()}
        return await self._launcher.reserve(live.job.name, live.job.attempt + 1, needs)

    async def _launch(self, live: _Live, way: Way, room: Room | None = None, *, cluster: bool = False) -> None:
        """Begin an attempt, in room that is kept for it where it was asked for."""
        await self._kill(live.job.abandoned)
        token = secrets.token_urlsafe(32)
        before = live.job
        placed = Placed(
            self._clock(),
            _hash(token),
            host_names(way.request),
            room.gpus if room else {},
            selected=way.selected,
            notes=way.notices if way.selected else (),
            addresses=room.addresses if room and cluster else {},
        )
        job = await self._apply(live, placed)
        if job.attempt == before.attempt:
            return  # it was stopped meanwhile
        # What was placed before and never found is not alive for long: its attempt is over.
        await self._kill(each.handle for each in before.hosts if each.handle)
        try:
            if cluster and job.image.get("directory"):
                bucket, key = spec.image_archive(job)
                await asyncio.to_thread(images.carry, job.image["directory"], self._objects, bucket, key)
            # Side by side: on a cluster each takes a second.
            launching = (self._launch_host(live, job, host, token) for host in job.hosts)
            for problem in await asyncio.gather(*launching, return_exceptions=True):
                if problem is not None:
                    raise problem
        except (LaunchError, ObjectError, ImageError) as error:
            reason = f"{error.message} {error.hint}".strip()
            await self._apply(live, LaunchFailed(self._clock(), job.attempt, reason))

    async def _launch_host(self, live: _Live, job: Job, host: Host, token: str) -> None:
        """Launch one host of an attempt. Raises `LaunchError`."""
        handle = await self._launcher.launch(self._host_launch(job, host, token))
        live.seen[job.attempt, host.name] = time.monotonic()
        now = await self._apply(live, Launched(self._clock(), job.attempt, host.name, handle))
        its = now.host(host.name) if now.attempt == job.attempt else None
        if its is None or its.handle != handle:
            await self._kill([handle])  # the attempt is over before it began

    def _host_launch(self, job: Job, host: Host, token: str) -> HostLaunch:
        return HostLaunch(
            job=job.name,
            attempt=job.attempt,
            host=host.name,
            token=token,
            endpoint=self._endpoint(),
            endpoint_file=str(self._place.home.endpoint_file),
            directory=self._directory(job, host),
        )

    def _directory(self, job: Job, host: Host) -> str:
        return str(self._place.home.jobs / job.name / str(job.attempt) / host.name)

    async def _kill(self, handles: Iterable[str]) -> None:
        for handle in handles:
            try:
                await self._launcher.kill(handle)
            except LaunchError as error:
                # It can do no harm: its attempt is over, and what it uploads is committed by nobody.
                _log.warning("an agent that should be gone is not: %s", error.message)

    # -- settling -----------------------------------------------------------------------------------------------------

    async def _settle(self, live: _Live) -> None:
        """Put outputs in their places, then let the outcome be seen, then clean up."""
        job = live.job
        await self._kill(job.abandoned)
        failure = await asyncio.to_thread(outputs.commit, self._objects, job.outputs, partial(self._remark, job))
        job = await self._apply(live, Settled(self._clock(), failure))
        self._logs.forget(job.name)
        del self._live[job.name]
        self._taken.pop(job.name, None)
        live.notify()
        self._leaving.append(_Leaving.of(job, time.monotonic() + self._leave))
        self._ended.set()
        self._wake.set()
        self._update_quiet()

    def _remark(self, job: Job, text: str, host: str = "") -> None:
        """Add a line to the log of a host, of the first one if none is named; called in a thread."""
        _log.info("%s: %s", job.name, text)
        self._logs.remark(job.name, host or job.hosts[0].name, [(int(self._clock() * 1000), f"[treadle] {text}")])

    # -- watching -----------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Look whether agents live, and clean up after those that have left."""
        while True:
            for live in list(self._live.values()):
                if limit := live.job.limit_reached(self._clock()):
                    await self._told(live.job.name, self._limited(live, limit))
                for host in live.job.hosts:
                    if not host.outcome and not live.job.outcome:
                        await self._told(live.job.name, self._look_at_host(live, live.job.attempt, host))
            for leaving in list(self._leaving):
                await self._told(leaving.name, self._look_at_leaving(leaving))
            self._ended.clear()
            # Agents leave within a moment of their job's end, and what they leave takes room: it is looked for sooner.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._tick / 10 if self._leaving else self._tick):
                    await self._ended.wait()

    async def _look_at_host(self, live: _Live, attempt: int, host: Host) -> None:
        now = time.monotonic()
        heard = live.seen.get((attempt, host.name))
        silent = now - live.seen.setdefault((attempt, host.name), now)
        if host.handle and not await self._launcher.alive(host.handle):
            reason = f"The host {host.name} is lost: its agent is gone."
        elif silent > self._silence:
            reason = f"The host {host.name} is lost: its agent has said nothing for {silent:.0f} seconds."
        else:
            return
        if host.handle and host.agents < AGENTS and await self._launched_again(live, attempt, host):
            return
        async with live.stream(host.name, attempt):
            with contextlib.suppress(StoreError):  # where there is no room for it, the job must end all the same
                await asyncio.to_thread(self._remark, live.job, reason, host.name)
        at = self._clock()
        await self._apply(live, HostLost(at, attempt, host.name, reason, heard=None if heard is None else at - silent))

    async def _launched_again(self, live: _Live, attempt: int, host: Host) -> bool:
        """Let another agent take the place of one that is lost; False where that is not possible."""
        if live.job.host(host.name) != host or live.job.attempt != attempt:
            return True  # it has ended, or said something, meanwhile
        try:
            handle = await self._launcher.launch_again(host.handle)
        except LaunchError as error:
            _log.warning("%s/%s: %s", live.job.name, host.name, error.message)
            return False
        live.seen[attempt, host.name] = time.monotonic()
        job = await self._apply(live, LaunchedAgain(self._clock(), attempt, host.name, host.handle, handle))
        its = job.host(host.name) if job.attempt == attempt else None
        if its is None or its.handle != handle:
            await self._kill([handle])
        return True

    async def _limited(self, live: _Live, limit: Limit) -> None:
        await self._apply(live, LimitReached(self._clock(), limit))

    async def _look_at_leaving(self, leaving: _Leaving) -> None:
        alive = [each for each in leaving.handles if await self._launcher.alive(each)]
        if alive and time.monotonic() < leaving.deadline:
            return
        # To the end, also of this service: what is left on a cluster would be kept from others until the next one.
        await self._whole(self._left(leaving))

    async def _left(self, leaving: _Leaving) -> None:
        async with self._cleaning:
            if leaving in self._leaving:  # else the job has been deleted meanwhile
                await self._leave_behind(leaving)

    async def _leave_behind(self, leaving: _Leaving) -> None:
        # Also for those that have left: the launcher ends what they may have started.
        await self._kill(leaving.handles)
        try:
            await self._launcher.release(leaving.name)
        except LaunchError as error:
            _log.warning("%s: the room that was kept for it stays kept for now: %s", leaving.name, error.message)
        if leaving.outlived:
            await self._launcher.sweep(str(self._place.home.jobs), self._living)
        await asyncio.to_thread(self._clean, leaving)
        self._leaving.remove(leaving)
        self._update_quiet()

    def _clean(self, leaving: _Leaving) -> None:
        """Remove what is left in staging and the hosts' directories; logs stay.

        The directories go last: by them the next service sees (`_sweep`) what this one was not given the time for.
        """
        _keep_agent_logs(self._place.home.jobs / leaving.name, self._place.home.logs / leaving.name)
        if leaving.staging:
            bucket, prefix = leaving.staging
            try:
                found = {info.key for info in self._objects.list(bucket, prefix)}
                for key in sorted((found | leaving.uploads) - leaving.kept):
                    self._objects.delete(bucket, key)
            except ObjectError as error:
                _log.warning("%s: what is left in s3://%s/%s stays: %s", leaving.name, bucket, prefix, error.message)
        remove_tree(self._place.home.jobs / leaving.name)

    async def _sweep_machines(self) -> None:
        """Have removed what outlived the agents of containers; who never had one need not have an engine asked."""
        stored = await self._jobs.all()
        cluster = (await self._launcher.capacity()).machines is not None
        if cluster or await asyncio.to_thread(_any_container, stored):
            await self._launcher.sweep(str(self._place.home.jobs), self._living)

    def _living(self) -> set[str]:
        """Give the directories of the hosts that may be at work."""
        jobs = [each.job for each in list(self._live.values())]
        return {self._directory(job, host) for job in jobs for host in job.hosts}

    async def _sweep(self) -> None:
        """Clean up after jobs that ended in the moment when an earlier service did."""
        directory = self._place.home.jobs
        names = await asyncio.to_thread(
            lambda: [each.name for each in directory.iterdir()] if directory.is_dir() else []
        )
        for name in sorted(set(names) - set(self._live)):
            stored = await self._jobs.get(name)
            now = time.monotonic()
            self._leaving.append(_Leaving.of(decode(stored), now) if stored else _Leaving(name, deadline=now))


# ---------------------------------------------------------------------------------------------------------------------
# Small things
# ---------------------------------------------------------------------------------------------------------------------


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _owned(job: Job, attempt: int, host: str, agent: str) -> Host:
    """Give the host if the agent has it, and it is one that counts still."""
    its = job.host(host) if job.attempt == attempt else None
    if its is None or (job.outcome and not its.outcome):
        raise AttemptOverError("The attempt is over.")
    if its.agent != agent:
        raise AttemptOverError("The host belongs to another agent.")
    return its


def _unplaced(job: Job) -> bool:
    """Tell whether a job must be placed: it has no hosts, or hosts of which nobody can know whether they run."""
    unknown = (each for each in job.hosts if not each.handle and not each.agent and not each.outcome)
    return not job.outcome and (not job.hosts or any(unknown))


def _ways(job: Job, machine: Capacity) -> tuple[list[Way], str]:
    """Give the ways to place a job, the preferred one first, else why there is none.

    There was one when the job was taken. What the machines have lost since, it waits for.
    """
    try:
        return instances.ways(job.request, machine), ""
    except instances.AbsentError as error:
        return [], error.truth


def _fits(need: Capacity, machine: Capacity, used: Sequence[Capacity]) -> bool:
    return (
        need.cpus + sum(each.cpus for each in used) <= machine.cpus
        and need.memory + sum(each.memory for each in used) <= machine.memory
        and need.gpus + sum(each.gpus for each in used) <= machine.gpus
    )


def _any_container(stored: Iterable[JobRecord]) -> bool:
    return any(decode(each).image.get("kind") == "container" for each in stored)


def _names(directory: Path) -> list[str]:
    return [each.name for each in directory.iterdir()] if directory.is_dir() else []


def _keep_agent_logs(directory: Path, logs: Path) -> None:
    """Keep what agents had to say about themselves, beside the logs of the job; it is for whoever looks for a fault."""
    for path in directory.glob("*/*/agent.log"):
        attempt, host = path.parts[-3:-1]
        with contextlib.suppress(OSError):
            if path.stat().st_size:
                logs.mkdir(mode=0o700, parents=True, exist_ok=True)
                shutil.move(path, logs / f"{host}-attempt-{attempt}.agent.txt")
