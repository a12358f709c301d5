"""What a host does for its job: Downloading → Training → Uploading → ended.

Each phase is an event, on the disk before the phase begins. A stop ends Downloading at once, and Training with SIGTERM,
the grace, SIGKILL, after which what has been written is uploaded. MaxRuntimeInSeconds ends Training the same way, by
this machine's own monotonic clock, so that it holds while the control plane is away. A program that outgrows its
volume is killed without grace: it goes on filling the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from treadle.agent import artifacts, channels, contract, failure, volume
from treadle.agent.files import write_whole
from treadle.agent.metrics import Metrics
from treadle.agent.output import JobLog, Pump
from treadle.agent.sandbox import Choice
from treadle.agent.spool import Spool
from treadle.errors import TreadleError
from treadle.launchers import processes
from treadle.seams import HostEvent, HostEventKind, HostSpec, Objects, SandboxCommand, SandboxProcess, StagedOutput

__all__ = ["Tools", "Work"]

# After the last process of the job has ended, its output ends; only a foreign holder of it takes longer.
_OUTPUT_PATIENCE = 5.0
# From the order to kill until the keeper of the program has to be killed itself.
_KILL_PATIENCE = 10.0
_PLATFORM_ERROR = "InternalServerError: We encountered an internal error. Please try again."

_log = logging.getLogger(__name__)

Cause = Literal["exit", "stop", "max-runtime", "volume"]


@dataclass(frozen=True, slots=True)
class Tools:
    """What `main` has chosen: how to open objects, how to isolate, how often the volume is measured (seconds).

    `adopts` says that this process takes in orphans and has no other children than the job's.
    """

    objects: Callable[[Mapping[str, str]], Objects]
    sandbox: Callable[[str], Choice]
    measure_every: float = 1.0
    adopts: bool = False


@dataclass(frozen=True, slots=True)
class Trained:
    """How the program ended: exit code, what made it end, seconds that it ran, and for a volume what was too much."""

    exit_code: int
    cause: Cause
    seconds: float
    problem: str = ""

    @property
    def outcome(self) -> str:
        """The outcome of the host, if its outputs can be kept."""
        if self.cause == "exit":
            return "completed" if self.exit_code == 0 else "failed"
        return {"stop": "stopped", "max-runtime": "max-runtime", "volume": "failed"}[self.cause]


class Work:
    """The work of one host. It tells through the spool, and hears through `stop`."""

    def __init__(
        self, spec: HostSpec, directory: Path, marker: str, spool: Spool, tools: Tools, stop: asyncio.Event
    ) -> None:
        self._spec = spec
        self._directory = directory
        self._ml = directory / "ml"
        self._marker = marker
        self._spool = spool
        self._tools = tools
        self._stop = stop
        self._metrics = Metrics(spec.request.get("AlgorithmSpecification", {}).get("MetricDefinitions") or ())
        self._log = JobLog(spool, self._metrics, spec.log_bytes)
        self._process: SandboxProcess | None = None

    async def run(self) -> None:
        """Do the work; on return `ended` is in the spool, and all log lines before it."""
        try:
            ended = await self._phases(self._tools.objects(self._spec.objects))
        except (OSError, TreadleError) as error:
            _log.exception("the work cannot go on")
            await self.end()
            ended = _failed(f"{_PLATFORM_ERROR} {error}")
        self._log.close()
        self._happened("ended", metrics=self._metrics.last(), **ended)

    async def end(self) -> None:
        """Kill the program if it runs, and whoever it left behind."""
        if self._process is not None:
            await self._killed(self._process, asyncio.ensure_future(self._process.wait()))
        await self._end_marked()

    def _happened(self, kind: HostEventKind, **members: Any) -> None:
        self._spool.add_event(HostEvent(seq=self._spool.next_seq, kind=kind, at=time.time(), **members))

    async def _phases(self, objects: Objects) -> dict[str, Any]:
        """Give the members of `ended`."""
        self._happened("downloading")
        for refused in self._metrics.refused:
            self._log.say(f"metric definition left out: {refused}")
        try:
            contract.lay_out(self._ml, self._spec)
            await self._stage(objects)
        except channels.DataError as error:
            return _failed(failure.client_error("Data download failed", str(error)))
        if self._stop.is_set():
            return {"outcome": "stopped"}
        trained = await self._train()
        how = {"exit_code": trained.exit_code, "trained_for": trained.seconds}
        self._happened("uploading")
        try:
            outputs = await self._upload(objects, model=trained.outcome != "failed")
        except artifacts.ArtifactError as error:
            return _failed(failure.client_error("Artifact upload failed", str(error))) | how
        reason = self._failure_reason(trained) if trained.outcome == "failed" else ""
        return {"outcome": trained.outcome, "failure_reason": reason, "outputs": outputs} | how

    def _failure_reason(self, trained: Trained) -> str:
        if trained.problem:
            return failure.algorithm_error(f"{trained.problem}; the program was ended", trained.exit_code)
        return failure.algorithm_error(failure.failure_file(self._ml), trained.exit_code, self._log.tail)

    # Downloading

    async def _stage(self, objects: Objects) -> None:
        """Bring the data, unless there is a stop first. Raises `DataError`."""
        cancelled = threading.Event()
        staging = asyncio.ensure_future(asyncio.to_thread(self._bring, objects, cancelled))
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({staging, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if staging.done():
                staging.result()
        finally:
            cancelled.set()
            stopped.cancel()
            staging.cancel()

    def _bring(self, objects: Objects, cancelled: threading.Event) -> None:
        placements = channels.plan(self._spec, objects)
        coming = sum(each.info.size for each in placements)
        if problem := volume.problem(self._ml, self._spec.volume_bytes, coming=coming):
            raise channels.DataError(f"With the input data {problem}.")
        channels.download(placements, objects, self._ml / "input/data", cancelled)

    # Training

    async def _train(self) -> Trained:
        """Run the program to its end, whoever makes it end. Raises `LaunchError`."""
        choice = await asyncio.to_thread(self._tools.sandbox, self._spec.sandbox)
        self._log.say(f"sandbox: {choice.sandbox.name}" + (f" ({choice.warning})" if choice.warning else ""))
        self._happened("training")
        began = time.monotonic()
        # Not in a thread: the program lives as long as the thread that starts it.
        self._process = process = choice.sandbox.start(self._command())
        if identity := processes.identify(process.pid):
            write_whole(self._directory / processes.PROGRAM_FILE, msgspec.json.encode(identity))
        pump = Pump(process.output, self._log)
        try:
            code, cause, problem = await self._watch(process)
            seconds = time.monotonic() - began
            await self._finish(pump)
        finally:
            pump.close()
        return Trained(code, cause, seconds, problem)

    def _command(self) -> SandboxCommand:
        spec = self._spec
        image = spec.image.get("directory")
        hidden = (*(Path(each) for each in spec.hidden), self._directory)
        # Whoever keeps the interpreter in the home must be able to run it all the same.
        interpreter = {Path(each) for each in (sys.prefix, sys.base_prefix)}
        within = [each for each in interpreter if any(each.is_relative_to(other) for other in hidden)]
        return SandboxCommand(
            argv=contract.command(spec),
            environment={**contract.environment(spec), processes.MARKER: self._marker},
            directory=image or "/opt/ml",
            ml=self._ml,
            host=spec.host,
            hosts=contract.addresses(spec.hosts),
            hidden=hidden,
            readable=(*([Path(image)] if image else []), *within),
            network=not spec.request.get("EnableNetworkIsolation", False),
        )

    async def _watch(self, process: SandboxProcess) -> tuple[int, Cause, str]:
        """Wait for whatever comes first, and see to it that the program ends: exit code, cause, problem."""
        exited = asyncio.ensure_future(process.wait())
        stopped = asyncio.ensure_future(self._stop.wait())
        late = asyncio.ensure_future(asyncio.sleep(self._spec.max_runtime))
        full = asyncio.ensure_future(volume.outgrown(self._ml, self._spec.volume_bytes, self._tools.measure_every))
        try:
            await asyncio.wait({exited, stopped, late, full}, return_when=asyncio.FIRST_COMPLETED)
            if exited.done():
                return exited.result(), "exit", ""
            if full.done():
                return await self._killed(process, exited), "volume", full.result()
            cause: Cause = "stop" if stopped.done() else "max-runtime"
            self._log.say(f"SIGTERM: {_WHY[cause]}; {self._spec.stop_grace:g} s until SIGKILL")
            process.terminate()
            await asyncio.wait({exited, full}, timeout=self._spec.stop_grace, return_when=asyncio.FIRST_COMPLETED)
            return await self._killed(process, exited), cause, ""
        finally:
            for each in (exited, stopped, late, full):
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
        await asyncio.to_thread(processes.end_marked, self._marker, spare={os.getpid()})
        if self._tools.adopts:
            # Whoever has no marker any more, and has lost his keeper, has become a child of this process.
            await asyncio.to_thread(processes.end_descendants)

    # Uploading

    async def _upload(self, objects: Objects, *, model: bool) -> list[StagedOutput]:
        loop = asyncio.get_running_loop()

        def say(text: str) -> None:
            loop.call_soon_threadsafe(self._log.say, text)

        return await asyncio.to_thread(artifacts.upload, self._spec, self._ml, objects, say, model=model)


_WHY: Mapping[Cause, str] = {"stop": "the job is to stop", "max-runtime": "MaxRuntimeInSeconds is over"}


def _failed(reason: str) -> dict[str, Any]:
    return {"outcome": "failed", "failure_reason": reason[: failure.LIMIT]}
