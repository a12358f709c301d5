"""A training program in a container of Docker or Podman.

The program is process 1 of its container, as on AWS, with what follows from that: it has to take care of SIGTERM if it
wants to hear of it, and when it ends, everything that it started is ended. Unlike there, SIGTERM reaches everybody in
the container, because the frameworks' toolkits do not pass it on; and a program that does not handle it is ended when
it is alone, instead of being waited for until the grace is over.

Nothing of the machine is in the container but the job's own directories: no socket of the engine, no key, no home.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from treadle.agent.sandbox.container_process import Contained, ContainerProcess, Keeper, NotStarted, Stream
from treadle.agent.sandbox.job_network import JobNetwork, retold
from treadle.errors import LaunchError
from treadle.launchers import containers
from treadle.launchers.containers import Record
from treadle.launchers.engine import Engine
from treadle.seams import Json, SandboxCommand, SandboxProcess

__all__ = ["ContainerSandbox", "Limits", "configuration"]

# What Docker leaves a container, less what no training needs: to make devices, to forge packets, to mark programs as
# privileged (which no-new-privileges makes useless anyway). sshd, by which MPI starts its ranks, needs the others.
_DROPPED: Final = ("MKNOD", "NET_RAW", "SETFCAP")
_PROCESSES: Final = 32_768

_ROOT_USERS: Final = frozenset({"", "0", "root", "0:0", "root:root"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What the container may take: CPUs, bytes of memory (0 for no limit), bytes of /dev/shm.

    `devices` are the members of HostConfig that ask for its GPUs, see `devices.request`.
    """

    cpus: float = 0.0
    memory: int = 0
    shared_memory: int = 1 << 30
    devices: Mapping[str, Json] = field(default_factory=dict)


class ContainerSandbox:
    """`seams.Sandbox` for one program: the engine, its image, its network and its limits are chosen before.

    `directory` is the host's, where the record of the container is. `entrypoint` takes the place of the image's.
    `endpoints` are the services that the program reaches elsewhere than it was told, see `job_network`.
    """

    name = "container"

    def __init__(
        self,
        its: Engine,
        image: str,
        directory: Path,
        record: Record,
        *,
        entrypoint: Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
        joined: JobNetwork | None = None,
        endpoints: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        claims: Sequence[int] = (),
    ) -> None:
        self._engine = its
        self.image = image
        self._directory = directory
        self._record = record
        self._entrypoint = entrypoint
        self._labels = dict(labels or {})
        self._network = joined or JobNetwork("none", {})
        self._endpoints = endpoints or {}
        self._limits = limits or Limits()
        self._claims = claims
        self.out_of_memory = False

    def probe(self) -> str:
        """Give "" when the engine answers, else why not."""
        try:
            Engine.connect(self._engine.address)
        except LaunchError as error:
            return error.message
        return ""

    async def start(self, command: SandboxCommand) -> SandboxProcess:
        """Start the command in a new container. Raises `LaunchError`."""
        return await asyncio.to_thread(self._start, command, asyncio.get_running_loop())

    def _start(self, command: SandboxCommand, loop: asyncio.AbstractEventLoop) -> SandboxProcess:
        with self._engine.speaking("The container cannot be made") as client:
            user = client.inspect_image(self.image)["Config"].get("User") or ""
        if user not in _ROOT_USERS or self._engine.remaps:
            _open_up(command.ml)
        members = configuration(command, self.image, self._entrypoint, self._network, self._limits, self._engine)
        members["Labels"] = self._labels
        members["Env"] = [f"{name}={value}" for name, value in retold(command.environment, self._endpoints).items()]
        self._record.write(self._directory)
        with contextlib.ExitStack() as undone:
            kept = Keeper.of(self._directory, self._claims)
            undone.callback(kept.dismiss)
            undone.callback(containers.remove_recorded, self._directory, self._engine, network=False)
            with self._engine.speaking("The container cannot be made") as client:
                identity = client.create_container_from_config(members, self._record.container)["Id"]
            try:
                stream = _started(self._engine, identity)
            except LaunchError as error:
                refused = _cannot_execute(error.message)
                if refused is None:
                    raise
                return NotStarted(*refused)
            undone.callback(stream.close)
            shared = [(command.ml, "/opt/ml"), *((e.source, e.target) for e in command.mounts if e.writable)]
            its = Contained(
                self._engine, identity, self._directory, self.image, self._labels, shared, self._killed_by_memory
            )
            process = ContainerProcess(its, stream, kept, loop)
            undone.pop_all()
            return process

    def _killed_by_memory(self) -> None:
        self.out_of_memory = True


def _started(its: Engine, identity: str) -> Stream:
    """Start a container, and give what it writes from the first byte on. Raises `LaunchError`."""
    with its.speaking("The container cannot be started") as client, contextlib.ExitStack() as undone:
        stream = Stream(client, identity)
        undone.callback(stream.close)
        client.start(identity)
        undone.pop_all()
        return stream


def configuration(
    command: SandboxCommand,
    image: str,
    entrypoint: Sequence[str] | None,
    joined: JobNetwork,
    limits: Limits,
    its: Engine,
) -> dict[str, Any]:
    """Give the body of `POST /containers/create`, without labels and environment."""
    binds = [(command.ml, "/opt/ml", True), *((each.source, each.target, each.writable) for each in command.mounts)]
    security = ["no-new-privileges"] + (["label=disable"] if its.selinux else [])
    host: dict[str, Any] = {
        "NetworkMode": joined.mode,
        "Mounts": [
            {"Type": "bind", "Source": os.fspath(source), "Target": target, "ReadOnly": not writable}
            for source, target, writable in binds
        ],
        "ExtraHosts": [f"{name}:{address}" for name, address in command.hosts.items()],
        "CapDrop": list(_DROPPED),
        "SecurityOpt": security,
        "PidsLimit": _PROCESSES,
        "ShmSize": limits.shared_memory,
        # The log is the job's; the engine need not have it a second time on the disk.
        "LogConfig": {"Type": "none", "Config": {}},
        "RestartPolicy": {"Name": "no"},
        **limits.devices,
    }
    if limits.cpus:
        host["NanoCpus"] = int(limits.cpus * 1e9)
    if limits.memory:
        host |= {"Memory": limits.memory, "MemorySwap": limits.memory}
    members: dict[str, Any] = {
        "Image": image,
        "Cmd": list(command.argv),
        "Hostname": command.host,
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": host,
    }
    if entrypoint is not None:
        members["Entrypoint"] = list(entrypoint)
    if command.directory:
        members["WorkingDir"] = command.directory
    if joined.address:
        endpoint = {"IPAMConfig": {"IPv4Address": joined.address}, "Aliases": [command.host]}
        members["NetworkingConfig"] = {"EndpointsConfig": {joined.mode: endpoint}}
    return members


def _open_up(ml: Path) -> None:
    """Let a user that is neither root nor ours write where the contract says; nobody else reaches the directory."""
    for directory in (ml, *(each for each in ml.rglob("*") if each.is_dir() and not each.is_symlink())):
        directory.chmod(0o777)


# What engines say of a program that they cannot execute: runc, by way of Docker or Podman, then crun.
_NO_PROGRAM: Final = (
    re.compile(r'exec: "(?P<name>[^"]*)": (?P<why>[^:]*)'),
    re.compile(r"(?:executable file|exec container process) `(?P<name>[^`]*)`:? (?P<why>[^:]*)"),
)
_MISSING: Final = re.compile(r"not found|no such file", re.IGNORECASE)


def _cannot_execute(said: str) -> tuple[int, str] | None:
    """Give exit code and explanation when it is the program that cannot be started, as other sandboxes give them.

    >>> _cannot_execute('runc create failed: exec: "trian": executable file not found in $PATH: unknown')
    (127, "cannot start 'trian': executable file not found in $PATH")
    >>> _cannot_execute("crun: executable file `trian` not found in $PATH: No such file or directory")
    (127, "cannot start 'trian': not found in $PATH")
    """
    found = next((match for each in _NO_PROGRAM if (match := each.search(said))), None)
    if found is None:
        return None
    explanation = f"cannot start {found['name']!r}: {found['why'].strip()}"
    return 127 if _MISSING.search(found["why"]) else 126, explanation
