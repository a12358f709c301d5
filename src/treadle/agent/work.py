"""What a host does for its job: Downloading → Training → Uploading → ended.

Each phase is an event, on the disk before the phase begins. A stop ends Downloading at once, and Training with SIGTERM,
the grace, SIGKILL, after which what has been written is uploaded. MaxRuntimeInSeconds ends Training the same way, by
this machine's own monotonic clock, so that it holds while the control plane is away. An interruption (spot) ends it
that way, too, and only checkpoints are kept. A program that outgrows its volume is killed without grace: it goes on
filling the disk.

A host of several says `ready` after Downloading and waits for the word to start: so all programs find each other.

Work that an agent that is gone had begun is gone on with: see `heir`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec

from treadle.agent import carried, contract, failure, heir, packages, trust, volume
from treadle.agent.data import CHANGES, DIRECTORIES, IMAGE, Data, Staging
from treadle.agent.ended import Cause, Ended, Trained, failed, kept, platform_failed
from treadle.agent.faults import DataError, PullError
from treadle.agent.files import write_whole
from treadle.agent.mirror import Mirror
from treadle.agent.orders import ENDS, Ending, Orders
from treadle.agent.output import JobLog, Pump
from treadle.agent.pipes import Feeders
from treadle.agent.sandbox import network
from treadle.agent.sandbox.choice import Choice
from treadle.agent.sandbox.enter import OWN
from treadle.agent.sandbox.entrance import Entrance
from treadle.agent.spool import Spool
from treadle.agent.surroundings import Place, Surroundings, arranged
from treadle.agent.tape import REST, Tape
from treadle.errors import TreadleError
from treadle.launchers import gpus, processes
from treadle.launchers.engine import Engine
from treadle.launchers.marking import MARKER
from treadle.seams import HostEvent, HostEventKind, HostObjects, HostSpec, SandboxCommand, SandboxProcess
from treadle.training.metrics import Metrics

__all__ = ["Tools", "Work"]

# After the last process of the job has ended, its output ends; only a foreign holder of it takes longer.
_OUTPUT_PATIENCE = 5.0
# From the order to kill until the keeper of the program has to be killed itself.
_KILL_PATIENCE = 10.0

# Below /opt/ml, whom a program's SDK must trust to reach a service that no authority of the machine's vouches for.
_AUTHORITIES = "input/config/ca-bundle.pem"

# A look at the checkpoints may take one part of so many of the time.
_LOOK_SHARE = 10

# Where the package is imported from: an editable installation is not below the interpreter's prefix.
_TREADLE = Path(__file__).parents[1]

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

Told: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Tools:
    """What `main` has chosen: how to open objects, how to isolate, how often the volume is measured (seconds).

    `private` says why several hosts cannot have a network of their own, "" when they can. `engine` finds what runs
    containers.
    `adopts` says that this process takes in orphans and has no other children than the job's. `entrance` is what
    `sandbox` has the program enter by, if that is up already.
    """

    objects: Callable[[Mapping[str, str]], HostObjects]
    sandbox: Callable[[str], Choice]
    measure_every: float = 1.0
    private: Callable[[], str] = network.problem
    engine: Callable[[], Engine] = Engine.find
    adopts: bool = False
    entrance: Entrance | None = None


class Work:
    """The work of one host. It tells through the spool, and hears through `orders`. Build it in the event loop.

    `told` waits until the control plane has all that is in the spool. `last_seen` is when the agent was alive that this
    one comes after, None for the first one.
    """

    def __init__(
        self,
        spec: HostSpec,
        place: Place,
        spool: Spool,
        tools: Tools,
        orders: Orders,
        told: Told,
        last_seen: float | None,
    ) -> None:
        self._spec = spec
        self._place = place
        self._ml = place.directory / "ml"
        self._written = [place.directory / each for each in DIRECTORIES]
        self._spool = spool
        self._tools = tools
        self._orders = orders
        self._told = told
        self._last_seen = last_seen
        self._metrics = Metrics(spec.request.get("AlgorithmSpecification", {}).get("MetricDefinitions") or ())
        self._log = JobLog(place.spool, spool, self._metrics, spec.log_bytes)
        self._loop = asyncio.get_running_loop()
        self._process: SandboxProcess | None = None

    async def run(self) -> None:
        """Do the work; on return `ended` is in the spool, and all log lines before it."""
        left = self._spool.inherited
        if left and left[-1].kind == "ended":
            return
        try:
            if self._place.gpus:
                numbers = carried.gpu_numbers(self._place.gpus, gpus.devices())
                self._spec = msgspec.structs.replace(self._spec, gpus=numbers)
            objects = self._tools.objects(self._spec.objects)
            since = heir.trained_since(left)
            if since is None and contract.in_container(self._spec):
                await self._settle()
            ended = await (self._phases(objects) if since is None else self._go_on(objects, since))
        except (OSError, TreadleError) as error:
            _log.exception("the work cannot go on")
            await self.end()
            ended = platform_failed(str(error))
        if ended is None:
            return
        for each in self._place.claims:
            os.close(each)
        for name in self._metrics.given_up:
            self._log.say(f"metric definition given up, its expression needs too long: {name}")
        self._log.close()
        self._happened("ended", metrics=self._metrics.last(), **ended)

    async def _settle(self) -> None:
        """Find out whether the program runs in a container after all. Raises `ImageError`."""
        from treadle.agent import frameworks  # only who has a container pays for it

        self._spec, note = await asyncio.to_thread(
            frameworks.settled, self._spec, self._place.directory, self._tools.engine
        )
        if note:
            self._log.say(note)

    async def end(self) -> None:
        """Kill the program if it runs, and whoever it left behind."""
        if self._process is not None:
            await self._killed(self._process, asyncio.ensure_future(self._process.wait()))
        await self._end_marked()
        if self._tools.entrance is not None:
            self._tools.entrance.close()  # of no effect when a program has been started
        self._log.let_go()

    async def clear(self) -> None:
        """Remove what the program could write, and what was brought for it."""
        for each in (*DIRECTORIES, IMAGE):
            await asyncio.to_thread(shutil.rmtree, self._place.directory / each, ignore_errors=True)

    def _happened(self, kind: HostEventKind, **members: Any) -> None:
        self._spool.add_event(HostEvent(seq=self._spool.next_seq, kind=kind, at=time.time(), **members))

    async def _phases(self, objects: HostObjects) -> Ended:
        """Give the members of `ended`."""
        if self._last_seen is not None:
            if self._spec.gpus:  # they were given back with the agent that had them
                return self._lost(0.0)
            await self.clear()
        self._happened("downloading")
        for refused in self._metrics.refused:
            self._log.say(f"metric definition left out: {refused}")
        tools = self._tools
        kinds = (tools.sandbox, tools.private, tools.engine)
        async with arranged(self._spec, self._place, *kinds, self._log.say, tools.entrance) as around:
            try:
                contract.lay_out(self._ml, self._spec)
                if self._place.certificate:
                    (self._ml / _AUTHORITIES).write_text(trust.bundle(self._place.certificate))
                data = await self._bring(objects, around)
                await self._together()
                if data is None or self._orders.ending:
                    return {"outcome": ENDS[self._orders.ending or "stop"]}
                trained = await self._train(around, data)
            except DataError as error:
                return failed(failure.client_error("Data download failed", str(error)))
            except PullError as error:
                return failed(f"{error.message} {error.hint}")
        return await self._kept(trained.ended(self._ml, self._log.tail), objects, data.mirrors)

    async def _go_on(self, objects: HostObjects, since: float) -> Ended | None:
        """Finish what an agent that is gone had begun, without its program; give the members of `ended`.

        None when the control plane knows that the host is lost.
        """
        self._log.recover()
        self._log.say(f"the agent of {self._spec.host} was lost; another one tells what it has left")
        await self._orders.heard.wait()
        trained_for = max(0.0, (self._last_seen or since) - since)
        while (how := heir.how_it_ends(self._spool.inherited, self._orders.ending, trained_for)) is None:
            if await self._told_unless_ordered(self._lost(trained_for)):
                return None
        never = threading.Event()
        staging = Staging(self._spec, self._place.directory, objects, self._say_later, never, "anywhere")
        ended = await self._kept(how, objects, await asyncio.to_thread(staging.mirrors))
        if ended["outcome"] == "failed" and how["outcome"] in {"stopped", "max-runtime"}:
            # It has been made to end, and with what could be saved it has.
            self._log.say(ended["failure_reason"])
            return how
        return ended

    async def _told_unless_ordered(self, lost: Ended) -> bool:
        """Tell that the host is lost; False when there is an order before the control plane has taken that."""
        self._log.close()
        event = HostEvent(seq=self._spool.next_seq, kind="ended", at=time.time(), note="lost", **lost)
        self._spool.add_event(msgspec.structs.replace(event, metrics=self._metrics.last()), provisional=True)
        told = asyncio.ensure_future(self._told())
        ordered = asyncio.ensure_future(self._orders.end.wait())
        try:
            await asyncio.wait({told, ordered}, return_when=asyncio.FIRST_COMPLETED)
            if told.done():
                return True
            self._spool.withdraw()
            return False
        finally:
            for each in (told, ordered):
                each.cancel()

    def _lost(self, trained_for: float) -> Ended:
        lost = platform_failed(f"The host {self._spec.host} is lost: its agent is gone.")
        return lost | {"trained_for": trained_for}

    async def _kept(self, how: Ended, objects: HostObjects, mirrors: Sequence[Mirror]) -> Ended:
        """Keep what is to be kept of a program that has ended so, and give the members of `ended`."""
        if how["outcome"] != "interrupted":
            self._happened("uploading", **how)
        return await kept(how, self._spec, self._ml, objects, mirrors, self._say_later)

    def _say_later(self, text: str) -> None:
        """Add a line to the log from another thread."""
        self._loop.call_soon_threadsafe(self._log.say, text)

    # Downloading

    async def _bring(self, objects: HostObjects, around: Surroundings) -> Data | None:
        """Bring the image and the data; None when the host is to end first. Raises `DataError`, `PullError`.

        The image first: a name that is wrong must not be found out after hours of downloading.
        """
        cancelled = threading.Event()
        if archive := self._spec.image.get("archive"):
            directory = self._place.directory / IMAGE
            bring_image = partial(carried.bring_image, archive, objects, directory, cancelled)
            await self._unless_ended(bring_image, cancelled)
            if cancelled.is_set():
                return None
            self._spec = msgspec.structs.replace(self._spec, image={**self._spec.image, "directory": str(directory)})
        if around.image is not None:
            bring = partial(around.image.bring, self._say_later, self._pulled_later, cancelled)
            if not await self._unless_ended(bring, cancelled):
                return None
        request = Staging(self._spec, self._place.directory, objects, self._say_later, cancelled, around.shows)
        return await self._unless_ended(request.bring, cancelled)

    def _pulled_later(self, note: str) -> None:
        """Tell from another thread how far the image is."""
        self._loop.call_soon_threadsafe(lambda: self._happened("image", note=note))

    async def _unless_ended(self, work: Callable[[], _T], cancelled: threading.Event) -> _T | None:
        """Do work in a thread; None when the host is to end first, and the work is told."""
        working = asyncio.ensure_future(asyncio.to_thread(work))
        ended = asyncio.ensure_future(self._orders.end.wait())
        try:
            await asyncio.wait({working, ended}, return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else None
        finally:
            if not working.done():
                cancelled.set()
            ended.cancel()
            working.cancel()

    async def _together(self) -> None:
        """Wait until all hosts of the job are ready, or the host is to end."""
        if len(self._spec.hosts) == 1 or self._orders.ending:
            return
        self._happened("ready")
        waiting = [asyncio.ensure_future(each.wait()) for each in (self._orders.start, self._orders.end)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()

    # Training

    async def _train(self, around: Surroundings, data: Data) -> Trained:
        """Run the program to its end, whoever makes it end. Raises `LaunchError`."""
        spoilt = _Spoilt(self._loop)
        feeders = Feeders(data.streams, self._ml / "input/data", spoilt.tell)
        following = asyncio.ensure_future(self._follow(data.mirrors))
        self._happened("training")
        began = time.monotonic()
        try:
            feeders.start()
            # Not in a thread: the program lives as long as the thread that starts it.
            self._process = process = await around.sandbox.start(await self._command(around, data))
            pump = Pump(process.output, self._log, Tape(self._place.spool))
            try:
                if identity := processes.identify(process.pid):
                    write_whole(self._place.directory / processes.PROGRAM_FILE, msgspec.json.encode(identity))
                code, cause, problem = await self._watch(process, spoilt, began)
                seconds = time.monotonic() - began
                await self._finish(pump)
            except BaseException:
                await self.end()  # before its surroundings are taken away
                raise
            finally:
                pump.close()
        finally:
            await asyncio.to_thread(feeders.stop)
            following.cancel()
            await asyncio.wait({following})
        if cause == "exit" and spoilt.problem:
            cause, problem = "data", spoilt.problem
        if cause == "exit" and code and around.out_of_memory:
            problem = _killed_by_memory(self._spec.memory)
        return Trained(code, cause, seconds, problem)

    async def _follow(self, mirrors: Sequence[Mirror]) -> None:
        """Upload what is kept while the program runs; a look may take a tenth of the time."""
        while mirrors:
            took = 0.0
            for each in mirrors:
                took += await _unbroken(asyncio.to_thread(each.sync))
            await asyncio.sleep(max(self._tools.measure_every, _LOOK_SHARE * took))

    async def _command(self, around: Surroundings, data: Data) -> SandboxCommand:
        spec = self._spec
        image = spec.image.get("directory")
        hidden = (
            *(Path(each) for each in spec.hidden),
            *self._place.hidden,
            self._place.directory,
            *gpus.hidden(spec.gpus),
        )
        argv = contract.command(spec)
        # Whoever keeps the interpreter in the home or in /tmp must be able to run it all the same.
        interpreter = {Path(each) for each in (sys.prefix, sys.base_prefix, _TREADLE)}
        covered = (*hidden, *(Path(each) for each in OWN))
        within = [each for each in interpreter if any(each.is_relative_to(other) for other in covered)]
        environments = _environments(argv, hidden)
        # A program that has a /tmp of its own does not see the one that the machine's user chose.
        machine = {name: value for name, value in os.environ.items() if name != "TMPDIR" or around.shows == "nowhere"}
        command = SandboxCommand(
            argv=argv,
            environment={
                **around.variables,
                **({"AWS_CA_BUNDLE": f"/opt/ml/{_AUTHORITIES}"} if self._place.certificate else {}),
                **contract.environment(spec, machine),
                MARKER: self._place.marker,
            },
            directory=image or ("" if contract.in_container(spec) else "/opt/ml"),
            ml=self._ml,
            host=spec.host,
            hosts=around.addresses,
            hidden=hidden,
            readable=(*([Path(image)] if image else []), *within, *environments),
            network=around.network,
            mounts=data.mounts,
            network_namespace=around.namespace,
            cgroups=around.group.directories if around.group is not None else (),
            rest=self._place.spool / REST,
        )
        if contract.in_container(spec):
            return command
        own = [*environments, *([Path(image)] if image else [])]
        changes, covering = self._place.directory / CHANGES, around.shows == "covering"
        return await asyncio.to_thread(packages.with_own, command, changes, own, covering=covering)

    async def _watch(self, process: SandboxProcess, spoilt: _Spoilt, began: float) -> tuple[int, Cause, str]:
        """Wait for whatever comes first, and see to it that the program ends: exit code, cause, problem."""
        exited = asyncio.ensure_future(process.wait())
        ordered = asyncio.ensure_future(self._orders.end.wait())
        late = asyncio.ensure_future(asyncio.sleep(self._spec.max_runtime))
        full = asyncio.ensure_future(volume.outgrown(self._written, self._spec.volume_bytes, self._tools.measure_every))
        bad = asyncio.ensure_future(spoilt.told.wait())
        try:
            await asyncio.wait({exited, ordered, late, full, bad}, return_when=asyncio.FIRST_COMPLETED)
            if exited.done():
                return exited.result(), "exit", ""
            if bad.done():
                return await self._killed(process, exited), "data", spoilt.problem
            if full.done():
                return await self._killed(process, exited), "volume", f"{full.result()}; the program was ended"
            cause = self._orders.ending
            self._log.say(f"SIGTERM: {_WHY[cause]}; {self._spec.stop_grace:g} s until SIGKILL")
            process.terminate()
            with contextlib.suppress(OSError):  # on a full disk the program may still save something elsewhere
                self._happened("stopping", outcome=ENDS[cause], trained_for=time.monotonic() - began)
            await asyncio.wait({exited, full}, timeout=self._spec.stop_grace, return_when=asyncio.FIRST_COMPLETED)
            return await self._killed(process, exited), self._orders.ending or cause, ""
        finally:
            for each in (exited, ordered, late, full, bad):
                each.cancel()

    async def _killed(self, process: SandboxProcess, exited: asyncio.Future[int]) -> int:
        if not exited.done():
            process.kill()  # of no effect on what has ended
            await asyncio.wait({exited}, timeout=_KILL_PATIENCE)
        if not exited.done():
            await self._end_marked()
        return await exited

    async def _finish(self, pump: Pump) -> None:
        """See that nobody of the job is left, and that all that was written has been read."""
        await self._end_marked()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(pump.done.wait(), _OUTPUT_PATIENCE)
        if not pump.done.is_set():
            self._log.say("a process that is not the job's holds the program's output open; it is not waited for")
            pump.drain()

    async def _end_marked(self) -> None:
        await asyncio.to_thread(processes.end_marked, self._place.marker, spare={os.getpid()})
        if self._tools.adopts:
            # Whoever has no marker any more, and has lost his keeper, has become a child of this process.
            await asyncio.to_thread(processes.end_descendants)


class _Spoilt:
    """Hears, in any thread, that data cannot be streamed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.told = asyncio.Event()
        self.problem = ""

    def tell(self, error: DataError) -> None:
        """Take the first problem."""
        self.problem = self.problem or str(error)
        self._loop.call_soon_threadsafe(self.told.set)


_WHY: Mapping[Ending, str] = {
    "stop": "the job is to stop",
    "interrupt": "the instance is taken away",
    "": "MaxRuntimeInSeconds is over",
}


def _environments(argv: Sequence[str], hidden: Sequence[Path]) -> list[Path]:
    """Give the virtual environments in /tmp that programs of the command are from; none that would show what is hidden.

    The program may be an interpreter behind Treadle's own, which runs scripts with it.
    """
    named = {Path(each).parent.parent for each in argv if each.startswith(tuple(f"{own}/" for own in OWN))}
    return [
        each
        for each in sorted(named)
        if (each / "pyvenv.cfg").is_file()
        and not any(other.is_relative_to(each) or each.is_relative_to(other) for other in hidden)
    ]


async def _unbroken(work: Coroutine[Any, Any, _T]) -> _T:
    """Await work in a thread; whoever is cancelled meanwhile goes when it is done, so that it is not done twice."""
    doing = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait({doing})
        raise


def _killed_by_memory(limit: int) -> str:
    return (
        f"a process was killed because the program took more than the {limit / 1024**3:.1f} GB of memory that its "
        "instance has"
    )
