"""A training program in its container, as the agent holds it: what it writes, signals to it, and its end.

A thread reads what the container writes until that ends, waits for the container, and removes it. Its keeper (`keeper`)
does so when the agent is killed meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from treadle.agent.sandbox import keeper
from treadle.errors import LaunchError
from treadle.launchers import cgroups, containers, processes
from treadle.launchers.engine import Engine
from treadle.seams import Json

__all__ = ["Contained", "ContainerProcess", "Keeper", "NotStarted", "Stream"]

_HEADER: Final = 8
_PIECE: Final = 64 * 1024
# How often is looked whether a program that does not hear SIGTERM is alone by now.
_LOOK: Final = 0.1
# An engine that is restarted is back within this time, or the container is lost.
_AWAY: Final = 60.0
_LOST: Final = 128 + signal.SIGKILL

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Keeper:
    """The process of `keeper`, and our end of its pipe."""

    popen: subprocess.Popen[bytes]

    @classmethod
    def of(cls, directory: Path, claims: Sequence[int] = ()) -> Keeper:
        """Start a keeper of what the record in a directory names, and of these descriptors. Raises `LaunchError`."""
        argv = [sys.executable, "-P", keeper.__file__, os.fspath(directory)]
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
        try:
            popen = subprocess.Popen(
                argv, stdin=subprocess.PIPE, cwd="/", env=environment, start_new_session=True, pass_fds=claims
            )
        except OSError as error:
            raise LaunchError(f"{sys.executable} cannot be started: {error.strerror}.") from error
        return cls(popen)

    def dismiss(self) -> None:
        """Tell it that there is nothing to remove any more, and wait until it has gone."""
        with contextlib.suppress(BrokenPipeError):  # somebody killed it
            self.popen.communicate(b"!")


class NotStarted:
    """`seams.SandboxProcess` of a program that the engine could not execute; the output says why."""

    pid = 0

    def __init__(self, code: int, said: str) -> None:
        self._code = code
        self.output, end = os.pipe()
        os.write(end, f"treadle: {said}\n".encode()[: 4 * 1024])
        os.close(end)

    def terminate(self) -> None:
        """Do nothing."""

    def kill(self) -> None:
        """Do nothing."""

    async def wait(self) -> int:
        """Give the code of a shell for the same."""
        return self._code


@dataclass(frozen=True, slots=True)
class Contained:
    """A container that has been started: `shared` are the directories of ours that it may write to, and where it does.

    `directory` is the host's, where it is written down. `killed_by_memory` is told when a process in it was killed
    because of its memory limit.
    """

    engine: Engine
    identity: str
    directory: Path
    image: str
    labels: Mapping[str, str]
    shared: Sequence[tuple[Path, str]]
    killed_by_memory: Callable[[], None]


class ContainerProcess:
    """`seams.SandboxProcess`. Build it in any thread, right after the start; `loop` is where it is waited for."""

    def __init__(self, its: Contained, stream: Stream, kept: Keeper, loop: asyncio.AbstractEventLoop) -> None:
        self._its = its
        self._keeper = kept
        self._init = _process_one(its)
        self._groups = cgroups.of(self._init)
        self._out_of_memory = False
        self._loop = loop
        self._code: asyncio.Future[int] = loop.create_future()
        self._lost: LaunchError | None = None
        self._ended = threading.Event()
        self.output, end = os.pipe()
        name = f"container {its.identity[:12]}"
        threading.Thread(target=self._follow, args=(stream, end), name=name, daemon=True).start()

    @property
    def pid(self) -> int:
        """The keeper: it goes when the container has been removed."""
        return self._keeper.popen.pid

    async def wait(self) -> int:
        """Wait until the container is gone; the exit code of its process 1. Raises `LaunchError`, once, when lost."""
        code = await asyncio.shield(self._code)
        if self._lost is not None:
            lost, self._lost = self._lost, None
            raise lost
        return code

    # -- what follows its end -----------------------------------------------------------------------------------------

    def _follow(self, stream: Stream, end: int) -> None:
        try:
            code, state = self._heard(stream, end)
            if self._out_of_memory or state.get("OOMKilled"):
                self._its.killed_by_memory()
            self._give_back()
            self._removed()
        except Exception as error:  # noqa: BLE001  (whatever it is, whoever waits must hear of it)
            _log.exception("the container is lost")
            self._lost = error if isinstance(error, LaunchError) else LaunchError(f"The container is lost: {error}.")
            code = _LOST
        self._ended.set()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._code.set_result, code)

    def _heard(self, stream: Stream | None, end: int) -> tuple[int, Mapping[str, Json]]:
        """Pass on what the container writes; at its end, give its exit code and its state. Raises `LaunchError`."""
        with os.fdopen(end, "wb", buffering=0) as pipe:
            while True:
                if stream is not None:
                    with contextlib.closing(stream):
                        _write(_lines(stream.payloads()), pipe)
                # Its groups go with it, so they are asked at once: not every engine says why a program was killed.
                self._out_of_memory = bool(self._groups.out_of_memory)
                try:
                    return self._state()
                except LaunchError as error:
                    _log.warning("%s", error.message)
                    stream = self._again()

    def _state(self) -> tuple[int, Mapping[str, Json]]:
        """Wait for the end. Raises `LaunchError` when the engine goes away meanwhile."""
        with self._its.engine.speaking("The container engine has gone away") as client:
            client.wait(self._its.identity, timeout=None)
            # What Podman 4 answers to `wait` is now and then -1; its state tells the truth, a moment later.
            while (state := client.inspect_container(self._its.identity)["State"])["Running"]:
                time.sleep(_LOOK)
            return state["ExitCode"], state

    def _again(self) -> Stream | None:
        """Wait for an engine that is started again, and hear the container anew if it still runs. Raises `LaunchError`.

        Only then: to listen to one that has just ended makes Podman begin to start it again.
        """
        deadline = time.monotonic() + _AWAY
        while True:
            try:
                with self._its.engine.speaking("The container engine has lost the container") as client:
                    running = client.inspect_container(self._its.identity)["State"]["Running"]
                    return Stream(client, self._its.identity) if running else None
            except LaunchError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1.0)

    def _removed(self) -> None:
        """Remove the container; if that fails, it is for the keeper, who tries when the agent has gone."""
        try:
            containers.remove_recorded(self._its.directory, self._its.engine, network=False)
        except LaunchError as error:
            _log.warning("%s", error.message)
            return
        self._keeper.dismiss()

    def _give_back(self) -> None:
        """Make ours what another user has written: only in a container have we the right to."""
        if os.geteuid() == 0:
            return
        its = self._its
        owner = "0:0" if its.engine.rootless else f"{os.geteuid()}:{os.getegid()}"
        mounts = [{"Type": "bind", "Source": os.fspath(source), "Target": target} for source, target in its.shared]
        members = {
            "Image": its.image,
            "Entrypoint": ["chown", "-R", owner, *(target for _, target in its.shared)],
            "Cmd": [],
            "User": "0",
            "Labels": dict(its.labels),
            "HostConfig": {"NetworkMode": "none", "Mounts": mounts, "SecurityOpt": ["no-new-privileges"]},
        }
        try:
            with its.engine.speaking("What the program has written may not be ours to read") as client:
                made = client.create_container_from_config(members)["Id"]
                try:
                    client.start(made)
                    client.wait(made)
                finally:
                    client.remove_container(made, force=True, v=True)
        except LaunchError as error:
            _log.warning("%s", error.message)

    # -- signals ------------------------------------------------------------------------------------------------------

    def terminate(self) -> None:
        """Send SIGTERM to everybody in the container."""
        threading.Thread(target=self._terminate, name="terminate", daemon=True).start()

    def kill(self) -> None:
        """End the container."""
        threading.Thread(target=self._signal, args=("SIGKILL",), name="kill", daemon=True).start()

    def _terminate(self) -> None:
        if not _signalled(self._init, signal.SIGTERM):
            self._signal("SIGTERM")
            self._signal_others()
        # Process 1 of a container is only sent what it has asked for.
        while self._init and not self._ended.wait(_LOOK):
            if not _hears(self._init, signal.SIGTERM) and not processes.descendants(self._init):
                self._signal("SIGKILL")
                return

    def _signal(self, name: str) -> None:
        import docker.errors  # whoever has a container has it imported already

        try:
            with self._its.engine.speaking(f"{name} cannot be sent") as client:
                try:
                    client.kill(self._its.identity, name)
                except docker.errors.APIError as error:
                    if error.status_code not in {404, 409, 500}:  # it has ended, as each engine says it
                        raise
        except LaunchError as error:
            _log.warning("%s", error.message)

    def _signal_others(self) -> None:
        """Send SIGTERM to all but process 1 by a program of the image, where their numbers are no use to us."""
        try:
            with self._its.engine.speaking("SIGTERM reaches process 1 of the container only") as client:
                made = client.exec_create(self._its.identity, ["sh", "-c", "kill -TERM -1"])  # as its own user
                client.exec_start(made["Id"])
        except LaunchError as error:
            _log.info("%s", error.message)


def _process_one(its: Contained) -> int:
    """Give the number that process 1 of the container has on this machine; 0 when it ended, or is another machine's."""
    with its.engine.speaking("The container cannot be looked at") as client:
        pid: int = client.inspect_container(its.identity)["State"]["Pid"]
    try:
        return pid if its.identity in Path(f"/proc/{pid}/cgroup").read_text() else 0
    except OSError:
        return 0


def _signalled(init: int, number: int) -> bool:
    """Send a signal to process 1 and all that descend from it; False when they are not known or not ours to signal."""
    if not init:
        return False
    try:
        for pid in (*processes.descendants(init), init):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
    except PermissionError:
        return False
    return True


def _hears(pid: int, number: int) -> bool:
    """Tell whether a process has said what it wants of a signal: it handles, ignores or waits for it."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return True  # it has ended
    masks = (line.split()[1] for line in lines if line.startswith(("SigBlk:", "SigIgn:", "SigCgt:")))
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


# ---------------------------------------------------------------------------------------------------------------------
# Output
# ---------------------------------------------------------------------------------------------------------------------


class Stream:
    """The connection on which an engine sends what a container writes; made before its start, nothing is missed."""

    def __init__(self, client: Any, identity: str) -> None:
        wanted = {"stdout": 1, "stderr": 1, "stream": 1, "logs": 0}
        self._attached = client.attach_socket(identity, params=wanted)
        self._socket: socket.socket = getattr(self._attached, "_sock", self._attached)
        self._socket.settimeout(None)

    def payloads(self) -> Iterator[tuple[int, bytes]]:
        """Give what the container writes as (stream, bytes), as it comes, until it has ended or the engine has gone."""
        return _payloads(self._pieces())

    def _pieces(self) -> Iterator[bytes]:
        with contextlib.suppress(OSError):
            while piece := self._socket.recv(_PIECE):
                yield piece

    def close(self) -> None:
        """Let go of the connection."""
        self._attached._response.close()  # noqa: SLF001  (the package has no other way to what it holds open)
        self._attached.close()


def _payloads(pieces: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    r"""Take the engine's frames apart: the stream, three zeros, the length in four bytes, the payload.

    >>> list(_payloads([b"\x01\0\0\0\0\0", b"\0\x03ab", b"c\x02\0\0\0\0\0\0\x01d"]))
    [(1, b'ab'), (1, b'c'), (2, b'd')]
    """
    stream = left = 0
    data = b""
    for piece in pieces:
        data += piece
        while data:
            if left:
                payload, data = data[:left], data[left:]
                left -= len(payload)
                yield stream, payload
            elif len(data) >= _HEADER:
                stream, left, data = data[0], int.from_bytes(data[4:_HEADER], "big"), data[_HEADER:]
            else:
                break


def _lines(payloads: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    r"""Make one stream of standard output and standard error, without mixing their lines; an endless one is cut.

    >>> list(_lines([(1, b"epoch"), (2, b"careful\n"), (1, b" 1\nepo")]))
    [b'careful\n', b'epoch 1\n', b'epo']
    """
    begun: dict[int, bytes] = {}
    for stream, payload in payloads:
        whole, newline, rest = payload.rpartition(b"\n")
        if newline or len(begun.get(stream, b"")) > _PIECE:
            yield begun.pop(stream, b"") + whole + newline
        begun[stream] = begun.get(stream, b"") + rest
    yield from (each for each in begun.values() if each)


def _write(pieces: Iterable[bytes], pipe: io.FileIO) -> None:
    """Write all of it to a pipe; when nobody reads that any more, to nowhere."""
    read = True
    for piece in pieces:
        left = memoryview(piece)
        while read and left:
            try:
                left = left[pipe.write(left) or 0 :]
            except BrokenPipeError:
                read = False
