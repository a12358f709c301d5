"""The process that ends a container when the agent that started it is killed: `python -P keeper.py DIRECTORY`.

The processes of a container are the engine's, so no death of ours is told to them by the kernel. This process is told:
it holds the reading end of a pipe that only the agent writes to. A byte says that the container is gone already; the
end of the pipe without one says that the agent is gone, and the container that `containers.RECORD` in the host's
directory names is removed. Until then it does nothing, and imports nothing that it would need for it.

It is the process that stands for the program (`SandboxProcess.pid`): the launcher waits for it as for other keepers.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def main() -> int:
    """Wait for the agent; 1 when there was a container that could not be removed."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # whoever sends these means the agent, or the program
    if os.read(0, 1):
        return 0
    from treadle.errors import LaunchError
    from treadle.launchers import containers

    try:
        containers.remove_recorded(Path(sys.argv[1]), network=False)
    except LaunchError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
