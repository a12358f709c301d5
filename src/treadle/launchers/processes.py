"""Processes that can be found again: by number and start time, and by a marker in their environment.

A process number alone says little: the kernel gives it to somebody else later, and a dead process that nobody has
reaped still answers to it. So an `Identity` also holds when the process started and in which boot of the machine, and
the state in `/proc/PID/stat` decides whether it lives. The marker finds those who have left their parents, their
session and their group: everything that a job starts inherits its environment.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import time
from collections.abc import Collection
from pathlib import Path

import msgspec

from treadle.launchers.marking import MARKER
from treadle.seams import HostLaunch

__all__ = [
    "PROGRAM_FILE",
    "Identity",
    "alive",
    "descendants",
    "end",
    "end_descendants",
    "end_marked",
    "gone",
    "identify",
    "marker",
]

PROGRAM_FILE = "program.json"
"""In a host's directory: the `Identity` of the process that stands for the program, for who must end it later."""

_PROC = Path("/proc")
_BOOT = _PROC / "sys/kernel/random/boot_id"
_DEAD = frozenset("ZXx")
# How long a process may take to die of SIGKILL (one that waits for a disk takes its time) before we say so.
_PATIENCE = 30.0


class Identity(msgspec.Struct, frozen=True):
    """A process: its number, its start in clock ticks since the boot, and the boot."""

    pid: int
    start: int
    boot: str


def marker(host: HostLaunch) -> str:
    """Give the value of `MARKER` for one host of one attempt; two homes with equal job names have different ones."""
    place = hashlib.sha256(host.directory.encode()).hexdigest()[:16]
    return f"{host.job}/{host.attempt}/{host.host}/{place}"


def identify(pid: int) -> Identity | None:
    """Give the identity of a living process, or None."""
    state = _state(pid)
    return Identity(pid, state[1], _boot()) if state and state[0] not in _DEAD else None


def alive(identity: Identity) -> bool:
    """Tell whether that very process lives: neither dead, nor dead and not yet reaped, nor another one."""
    return identify(identity.pid) == identity


def gone(identity: Identity, seconds: float) -> bool:
    """Wait until that very process is dead, so long at most; tell whether it is."""
    try:
        handle = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return True
    try:
        return not alive(identity) or bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


def end(identity: Identity) -> None:
    """Kill that very process and wait until it is dead; no error when it is gone. Raises `TimeoutError`."""
    try:
        handle = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return
    try:
        # Looked at after the handle is open: it cannot become another process any more.
        if alive(identity):
            _kill(handle)
            if not select.select([handle], [], [], _PATIENCE)[0]:
                raise TimeoutError(f"Process {identity.pid} has not ended {_PATIENCE:.0f} s after SIGKILL.")
    finally:
        os.close(handle)


def end_marked(value: str, *, spare: Collection[int] = ()) -> int:
    """Kill every process that carries the marker, until there is none; how many there were. Raises `TimeoutError`."""
    killed = 0
    deadline = time.monotonic() + _PATIENCE
    while found := [each for each in _marked(value) if each.pid not in spare]:
        for each in found:
            end(each)
        killed += len(found)
        if time.monotonic() > deadline:
            raise TimeoutError(f"Processes of {value} go on starting others: {[each.pid for each in found]}.")
    return killed


def end_descendants() -> None:
    """Kill all that descends from this process, until there is nobody. Raises `TimeoutError`."""
    deadline = time.monotonic() + _PATIENCE
    while found := [each for pid in descendants(os.getpid()) if (each := identify(pid))]:
        for each in found:
            end(each)
        if time.monotonic() > deadline:
            raise TimeoutError(f"Processes go on starting others: {[each.pid for each in found]}.")


def descendants(root: int) -> list[int]:
    """Give the process numbers of all that descend from `root` now, itself not included."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _fields(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    ahead = [root]
    while ahead:
        ahead += (born := children.pop(ahead.pop(), []))
        found += born
    return found


def _marked(value: str) -> list[Identity]:
    wanted = f"{MARKER}={value}".encode()
    found = []
    for pid in (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()):
        with contextlib.suppress(OSError):  # ended meanwhile, or somebody else's
            if wanted in (_PROC / str(pid) / "environ").read_bytes().split(b"\0") and (identity := identify(pid)):
                found.append(identity)
    return found


def _kill(handle: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, signal.SIGKILL)


def _state(pid: int) -> tuple[str, int] | None:
    """Give the state letter and the start time, fields 3 and 22 of proc_pid_stat(5)."""
    fields = _fields(pid)
    return (fields[0].decode(), int(fields[19])) if fields else None


def _fields(pid: int) -> list[bytes]:
    """Give the fields of /proc/PID/stat from the third on; none when there is no such process."""
    try:
        # The name in parentheses may hold anything, so what follows it is found from the right.
        return (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return []


def _boot() -> str:
    return _BOOT.read_text().strip()
