"""Hosts on this machine: each agent is a process of its own that outlives who started it.

A handle is JSON: which process, since when, and where its host's directory is. It is found again after the server has
been started anew, and is not taken for another process that has the same number, or for a dead one that nobody has
reaped.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from treadle import _version
from treadle.errors import LaunchError
from treadle.launchers import cgroups, containers, gpus, processes
from treadle.launchers.gpus import Claim, Gpu
from treadle.launchers.handles import Handle
from treadle.launchers.marking import MARKER
from treadle.launchers.processes import Identity
from treadle.seams import Capacity, HostLaunch, Room

__all__ = ["AGENT_LOG", "LAUNCH_FILE", "LocalLauncher"]

LAUNCH_FILE = "launch.json"
"""In a host's directory: its `HostLaunch`, with the token, readable by its owner alone."""

AGENT_LOG = "agent.log"
"""In a host's directory: what the agent has to say about itself."""

# The keeper of a program hears of the agent's death from the kernel, and ends what it keeps; then it is gone.
_KEEPER_PATIENCE = 5.0
# Limits can be changed and GPUs come and go, but not with every job; a look reads some twenty files.
_LOOK_AGAIN = 2.0
# An agent that is killed has let go of its GPUs before Ray gives them to the next, or is about to.
_GPU_PATIENCE = 20.0
_GPU_LOOK_AGAIN = 0.1
_CGROUP = Path("/sys/fs/cgroup")


class _Handle(Handle, frozen=True):
    agent: Identity
    directory: str
    marker: str


@dataclass(slots=True)
class _Kept:
    """The GPUs of an attempt by host, and the claims on them, by number, that no agent has been given yet."""

    gpus: dict[str, tuple[int, ...]]
    claims: dict[int, Claim]


def _installed() -> str:
    """Give the version that is installed by now: a service outlives an update, and agents are new processes."""
    text = Path(_version.__file__).read_text("utf-8")
    found = re.search(r'"(.+)"', text)
    return found[1] if found else text


class LocalLauncher:
    """`seams.Launcher` on one Linux machine. `environment` is what agents get; by default this process's own.

    It says which of the machine's GPUs, which `devices` finds, are this service's to assign. `installed` gives the
    version of Treadle that an agent would have.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        devices: Callable[[], Sequence[Gpu]] = gpus.devices,
        installed: Callable[[], str] = _installed,
    ) -> None:
        self._environment = os.environ if environment is None else environment
        self._devices = devices
        self._installed = installed
        self._looked: tuple[float, Capacity] | None = None
        self._reapers: set[asyncio.Task[None]] = set()
        self._kept: dict[str, _Kept] = {}

    async def capacity(self) -> Capacity:
        """Give what this machine has, within the limits of this process's cgroup (v2, v1 or none)."""
        now = time.monotonic()
        if self._looked is None or now - self._looked[0] >= _LOOK_AGAIN:
            seen = gpus.visible(self._devices(), self._environment)
            self._looked = (now, Capacity(_cpus(), _memory(), len(seen.gpus), withheld=seen.withheld))
        return self._looked[1]

    async def reserve(self, job: str, _attempt: int, needs: Mapping[str, Capacity]) -> Room | None:
        """Claim GPUs: nothing else of the machine could be another service's. Raises `LaunchError` where they are."""
        await self.release(job)
        wanted = sum(each.gpus for each in needs.values())
        claims: dict[int, Claim] = {}
        with contextlib.ExitStack() as unless_all:
            taken = []
            for each in gpus.visible(self._devices(), self._environment).gpus:
                if len(claims) == wanted:
                    break
                if made := gpus.claim(each):
                    claims[each.number] = unless_all.enter_context(made)
                else:
                    taken.append(each.number)
            if len(claims) < wanted:
                self._check_own(taken)
                return None
            unless_all.pop_all()
        numbers = iter(claims)
        kept = self._kept[job] = _Kept(
            {host: tuple(itertools.islice(numbers, each.gpus)) for host, each in needs.items()}, claims
        )
        return Room(addresses=dict.fromkeys(needs, "127.0.0.1"), gpus=kept.gpus)

    def _check_own(self, taken: Collection[int]) -> None:
        """Raise `LaunchError` unless GPUs are taken by this service's own jobs, which may be about to end."""
        own = {number for its in self._kept.values() for numbers in its.gpus.values() for number in numbers}
        if others := [str(each) for each in taken if each not in own]:
            one = len(others) == 1
            raise LaunchError(
                f"{'GPU' if one else 'GPUs'} {' and '.join(others)} {'is' if one else 'are'} taken by another service"
            )

    async def release(self, job: str) -> None:
        """Let go of what is kept for a job, but for what its agents have been given."""
        if its := self._kept.pop(job, None):
            for each in its.claims.values():
                each.close()

    async def launch(self, host: HostLaunch) -> str:
        """Start an agent in a session of its own. Raises `LaunchError`."""
        try:
            self._check_version()
            return self._launched(host, await self._claims(host))
        except OSError as error:
            raise LaunchError(f"The agent of {host.job}/{host.host} cannot be started: {error}.") from error

    async def launch_again(self, handle: str) -> str:
        """Start another agent from the launch file that the first one had, without its GPUs. Raises `LaunchError`."""
        await self.kill(handle)
        directory = Path(_Handle.read(handle).directory)
        try:
            self._check_version()
            launch = msgspec.json.decode((directory / LAUNCH_FILE).read_bytes(), type=HostLaunch)
            return self._launched(launch, ())
        except (OSError, msgspec.DecodeError) as error:
            raise LaunchError(f"No other agent can be started in {directory}: {error}.") from error

    def _check_version(self) -> None:
        if (installed := self._installed()) != _version.__version__:
            raise LaunchError(
                f"This service is Treadle {_version.__version__}, and {installed} has been installed since.",
                hint="Start the service anew, then the job.",
            )

    def _launched(self, host: HostLaunch, claims: Sequence[Claim]) -> str:
        """Start an agent that has claims from then on; give its handle. Raises `LaunchError`, `OSError`."""
        if sys.platform != "linux":
            raise LaunchError(f"Agents run on Linux; this is {sys.platform}.")
        directory = Path(host.directory)
        with contextlib.ExitStack() as ours:
            popen = self._start(host, directory, [ours.enter_context(each).fileno() for each in claims])
        identity = processes.identify(popen.pid)
        self._reap(popen)
        if identity is None:
            raise LaunchError(f"The agent of {host.job}/{host.host} ended at once; see {directory / AGENT_LOG}.")
        return _Handle(identity, host.directory, processes.marker(host)).text()

    async def _claims(self, host: HostLaunch) -> list[Claim]:
        """Give the claims on the host's GPUs: those that are kept for it, or made for what it has been assigned.

        Who assigns may be quicker than the agent that had them before. Raises `LaunchError`.
        """
        if (its := self._kept.get(host.job)) and not host.gpus:
            return [its.claims.pop(each) for each in its.gpus.get(host.host, ())]
        with contextlib.ExitStack() as unless_all:
            made = []
            for each in gpus.named(host.gpus, self._devices()):
                deadline = time.monotonic() + _GPU_PATIENCE
                while (claim := gpus.claim(each)) is None:
                    if time.monotonic() > deadline:
                        raise LaunchError(f"GPU {each.uuid or each.number} is taken by another service of its machine")
                    await asyncio.sleep(_GPU_LOOK_AGAIN)
                made.append(unless_all.enter_context(claim))
            unless_all.pop_all()
            return made

    def _start(self, host: HostLaunch, directory: Path, claims: list[int]) -> subprocess.Popen[bytes]:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_private(directory / LAUNCH_FILE, msgspec.json.encode(msgspec.structs.replace(host, claims=claims)))
        with (directory / AGENT_LOG).open("ab") as log:
            return subprocess.Popen(
                # -P: what lies in the directory must not be taken for a module.
                [sys.executable, "-P", "-m", "treadle.agent", str(directory / LAUNCH_FILE)],
                stdin=subprocess.PIPE if host.leased else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=directory,
                pass_fds=claims,
                env={**self._environment, MARKER: processes.marker(host)},
            )

    def _reap(self, popen: subprocess.Popen[bytes]) -> None:
        """Reap the agent when it ends, if this process lives then; else process 1 does."""
        reaper = asyncio.get_running_loop().create_task(_reaped(popen))
        self._reapers.add(reaper)
        reaper.add_done_callback(self._reapers.discard)

    async def alive(self, handle: str) -> bool:
        """Tell whether that very agent still runs."""
        try:
            return processes.alive(_Handle.read(handle).agent)
        except LaunchError:
            return True  # it speaks for itself, to the service

    async def sweep(self, directory: str, live: Callable[[], Collection[str]]) -> None:
        """Remove containers and networks of hosts below a directory that do not live."""
        living = lambda: {Path(each) for each in live()}  # noqa: E731  (a name for what the next line would not hold)
        await asyncio.to_thread(containers.sweep, Path(directory), living, self._environment)

    async def kill(self, handle: str) -> None:
        """End the agent and all that it started; no error when it is gone. Raises `LaunchError` if one lives on."""
        try:
            await asyncio.to_thread(_end, _Handle.read(handle))
        except TimeoutError as error:
            raise LaunchError(str(error)) from error


def _end(handle: _Handle) -> None:
    """End the agent first, so that it starts nothing more; the kernel then tells the keeper of its program.

    The rest is for what the kernel's word did not reach: the program's own keeper, and whoever carries the marker.
    """
    processes.end(handle.agent)
    with contextlib.suppress(OSError, msgspec.DecodeError):
        recorded = (Path(handle.directory) / processes.PROGRAM_FILE).read_bytes()
        program = msgspec.json.decode(recorded, type=Identity)
        if not processes.gone(program, _KEEPER_PATIENCE):
            processes.end(program)
    processes.end_marked(handle.marker)
    cgroups.remove_recorded(Path(handle.directory) / cgroups.RECORD)
    containers.remove_recorded(Path(handle.directory))


async def _reaped(popen: subprocess.Popen[bytes]) -> None:
    try:
        watched = os.pidfd_open(popen.pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(watched, ended.set)
    try:
        await ended.wait()
        popen.wait()
    finally:
        loop.remove_reader(watched)
        os.close(watched)
        if popen.stdin is not None:
            popen.stdin.close()
        # Who leaves a running agent behind means to: without this, Popen warns of it.
        popen.returncode = popen.returncode if popen.returncode is not None else 0


def _write_private(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(data)


# ---------------------------------------------------------------------------------------------------------------------
# Capacity
# ---------------------------------------------------------------------------------------------------------------------


def _cpus() -> float:
    """Count the CPUs, within the quota of cgroup v2 (`cpu.max`) or v1 (`cpu.cfs_quota_us`)."""
    cpus = float(len(os.sched_getaffinity(0)))
    for directory in _cgroups("cpu"):
        quota, period = _quota(directory)
        if quota > 0 and period > 0:
            cpus = min(cpus, quota / period)
    return cpus


def _quota(directory: Path) -> tuple[float, float]:
    if text := _read(directory / "cpu.max"):
        quota, _, period = text.partition(" ")
        return (float(quota), float(period)) if quota != "max" else (0.0, 0.0)
    return float(_read(directory / "cpu.cfs_quota_us") or 0), float(_read(directory / "cpu.cfs_period_us") or 0)


def _memory() -> int:
    """Give the memory in bytes, within the limit of cgroup v2 (`memory.max`) or v1 (`memory.limit_in_bytes`)."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for directory in _cgroups("memory"):
        text = _read(directory / "memory.max") or _read(directory / "memory.limit_in_bytes")
        if text.isdigit():
            memory = min(memory, int(text))
    return memory


def _cgroups(controller: str) -> Iterator[Path]:
    """Give the directories that limit this process, its own and all above, in v2's tree and in the controller's."""
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        names = controllers.split(",")
        if controllers == "" or controller in names:
            root = _CGROUP if controllers == "" else _CGROUP / controller
            own = root / path.lstrip("/")
            yield from (each for each in (own, *own.parents) if each == root or root in each.parents)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
