"""A process that sees its own `/opt/ml`, host name, `/etc/hosts` and processes: no container engine, no root.

What it is not: a container. The program runs on the machine's file system with the rights of whoever runs Treadle;
only what is listed as hidden is hidden.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path

from treadle.agent.sandbox.entrance import TRIAL, Entrance
from treadle.agent.sandbox.process import EnteredProcess, start, unlayered
from treadle.seams import SandboxCommand

__all__ = ["NamespaceSandbox"]

_MACHINE_HOSTS = Path("/etc/hosts")


class NamespaceSandbox:
    """`seams.Sandbox` on Linux namespaces, entered by `treadle.agent.sandbox.enter`."""

    name = "namespace"

    def __init__(self, entrance: Entrance | None = None) -> None:
        """Take an entrance that is up, with the trial, for the first program."""
        self._entrance = entrance

    def probe(self) -> str:
        """Give "" when a program really starts and sees its own `/opt/ml`, else why not."""
        if sys.platform != "linux":
            return f"namespaces are Linux's; this is {sys.platform}"
        if not Path("/opt").is_dir():
            return "there is no directory /opt on this machine, where /opt/ml could be put"
        if self._entrance is not None:
            return self._entrance.problem()
        with closing(Entrance({}, TRIAL)) as tried:
            return tried.problem()

    async def start(self, command: SandboxCommand) -> EnteredProcess:
        """Start the command. Raises `LaunchError`. The file that becomes `/etc/hosts` is written beside `ml`."""
        etc_hosts = command.ml.with_name("etc-hosts")
        etc_hosts.write_text(_hosts_file(command))
        entrance, self._entrance = self._entrance, None
        held = command.network_namespace
        return start(
            {
                "kind": "namespace",
                "rest": str(command.rest or ""),
                "argv": command.argv,
                "environment": command.environment,
                "directory": command.directory,
                "ml": str(command.ml),
                "host": command.host,
                "etc_hosts": str(etc_hosts),
                "hidden": [str(path) for path in command.hidden],
                "readable": [str(path) for path in command.readable],
                "mounts": [(str(each.source), each.target, each.writable) for each in command.mounts],
                "layers": [(str(directory), str(changes)) for directory, changes in command.layers],
                "unlayered": unlayered(command),
                "network": command.network,
                # It was up before there was a descriptor to inherit.
                "network_namespace": None if held is None else f"/proc/{os.getpid()}/fd/{held}",
            },
            cgroups=command.cgroups,
            entrance=entrance,
        )


def _hosts_file(command: SandboxCommand) -> str:
    """Write the job's hosts first: the first address of a name is the one that counts."""
    lines = [f"{address}\t{host}" for host, address in command.hosts.items()]
    machine = _MACHINE_HOSTS.read_text(errors="replace") if _MACHINE_HOSTS.exists() else "127.0.0.1\tlocalhost\n"
    return "".join(f"{line}\n" for line in lines) + machine
