"""An agent of an earlier attempt that comes back late changes nothing: a real one, on a machine that was cut off."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import msgspec
import pytest

from tests.agent.cluster import Cluster
from tests.agent.plane import gone
from treadle.errors import LaunchError
from treadle.launchers import processes
from treadle.launchers.local import LocalLauncher

# Every attempt writes its number into model, output and log; the first one goes on when it is let.
PROGRAM = r"""
ml="${SAGEMAKER_BASE_DIR:-/opt/ml}"; n=$(echo "$TREADLE_ATTEMPT" | cut -d/ -f2)
echo "attempt $n" | tee "$ml/model/m" "$ml/output/data/o"
while [ $n = 1 ] && [ ! -e "$ml/go" ]; do sleep 0.02; done
echo "end of $n"
"""


class CutOff(LocalLauncher):
    """Launches on machines that can be cut off: their agents cannot be seen or killed any more, and live on."""

    def __init__(self) -> None:
        super().__init__()
        self.launched: list[str] = []
        self.lost: set[str] = set()

    async def launch(self, host: object) -> str:
        self.launched.append(await super().launch(host))  # type: ignore[arg-type]
        return self.launched[-1]

    async def alive(self, handle: str) -> bool:
        return handle not in self.lost and await super().alive(handle)

    async def kill(self, handle: str) -> None:
        if handle not in self.lost:
            await super().kill(handle)

    async def launch_again(self, handle: str) -> str:
        if handle in self.lost:
            raise LaunchError("The machine cannot be reached.")
        return await super().launch_again(handle)


def agent_of(handle: str) -> int:
    return int(msgspec.json.decode(handle)["agent"]["pid"])


@pytest.mark.parametrize("first_is_frozen", [True, False], ids=["frozen", "running"])
async def test_an_agent_that_was_cut_off_changes_nothing(place: Path, sandbox: str, first_is_frozen: bool) -> None:
    """Outputs, log, status and metrics are those of the attempt that counts, whatever the first one still does.

    Frozen, it comes back when the job has ended; running, it is told at its next word that its attempt is over.
    """
    launcher = CutOff()
    cluster = Cluster(place, sandbox=sandbox, launcher=launcher)
    async with cluster.running():
        alone = {"InstanceType": "ml.local.cpu", "InstanceCount": 1, "VolumeSizeInGB": 1}
        await cluster.submit(["sh", "-c", PROGRAM], ResourceConfig=alone, RetryStrategy={"MaximumRetryAttempts": 1})
        await cluster.line("attempt 1")
        first = launcher.launched[0]
        if first_is_frozen:
            os.kill(agent_of(first), signal.SIGSTOP)
        launcher.lost.add(first)
        job = await cluster.ended()
        assert (job.status, job.attempt) == ("Completed", 2)
        stored, log = await cluster.jobs.get("j"), cluster.log()
        with contextlib.suppress(FileNotFoundError):  # the running one may have heard that its attempt is over
            (cluster.directory / "home/jobs/j/1/algo-1/ml/go").touch()
        if first_is_frozen:
            os.kill(agent_of(first), signal.SIGCONT)
        assert await gone(agent_of(first)), "the first agent goes on"
        assert processes.end_marked(msgspec.json.decode(first)["marker"]) == 0, "its program goes on"
        assert await cluster.jobs.get("j") == stored
        assert cluster.log() == log
        assert "end of 1" not in log
        assert cluster.output() == {"m": b"attempt 2\n"}
        assert cluster.output("output.tar.gz") == {"o": b"attempt 2\n"}
        assert cluster.keys("out/") == ["out/j/output/model.tar.gz", "out/j/output/output.tar.gz"]
        async with asyncio.timeout(20):
            await cluster.supervisor.quiet()  # what the hosts left is gone, too
        assert not (cluster.home.jobs / "j").exists()
