"""The last resort: an ordinary process, told by `SAGEMAKER_BASE_DIR` where its `/opt/ml` is. It hides nothing."""

from __future__ import annotations

import sys
from pathlib import Path

from treadle.agent.sandbox.entrance import Entrance
from treadle.agent.sandbox.process import EnteredProcess, start, unlayered
from treadle.errors import LaunchError
from treadle.seams import SandboxCommand

__all__ = ["PlainSandbox"]


class PlainSandbox:
    """`seams.Sandbox` with nothing but a session of its own.

    `hidden`, `readable`, `mounts`, `network` and `hosts` have no effect. Arguments and variables that are paths below
    `/opt/ml` are turned into paths below the job's directory.
    """

    name = "plain"

    def __init__(self, entrance: Entrance | None = None) -> None:
        """Take an entrance that is up, for the first program."""
        self._entrance = entrance

    def probe(self) -> str:
        """Give "" on Linux, whose kernel ends the program's followers with it."""
        return "" if sys.platform == "linux" else f"the agent needs Linux; this is {sys.platform}"

    async def start(self, command: SandboxCommand) -> EnteredProcess:
        """Start the command. Raises `LaunchError`."""
        if problem := self.probe():
            raise LaunchError(problem)
        entrance, self._entrance = self._entrance, None
        its = command.unlayered or command  # there are no layers
        return start(
            {
                "kind": "plain",
                "rest": str(command.rest or ""),
                "argv": [_relocated(each, command.ml) for each in its.argv],
                "environment": {
                    **{name: _relocated(value, command.ml) for name, value in its.environment.items()},
                    "SAGEMAKER_BASE_DIR": str(command.ml),
                },
                "unlayered": unlayered(command, instead=False),
                "directory": _relocated(command.directory, command.ml),
            },
            cgroups=command.cgroups,
            entrance=entrance,
        )


def _relocated(text: str, ml: Path) -> str:
    return str(ml) + text.removeprefix("/opt/ml") if text == "/opt/ml" or text.startswith("/opt/ml/") else text
