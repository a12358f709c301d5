"""The launcher for Ray as far as it goes without Ray: its decisions, what runs on a node, its clerk's wire."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from tests.agent.plane import Plane, gone, make_spec
from treadle._version import __version__
from treadle.launchers.local import LAUNCH_FILE
from treadle.launchers.ray import host
from treadle.launchers.ray.host import HostActor
from treadle.launchers.ray.placement import bundle, strategy
from treadle.seams import Capacity, HostLaunch

GIB = 1 << 30
SMALL, LARGE = Capacity(2, 8 * GIB), Capacity(8, 32 * GIB, 2)


def test_a_bundle_has_what_is_needed_and_no_zeros() -> None:
    """Ray refuses a bundle that asks for none of something."""
    assert bundle(Capacity(4, 16 * GIB, 1)) == {"CPU": 4, "memory": 16 * GIB, "GPU": 1}
    assert bundle(SMALL) == {"CPU": 2, "memory": 8 * GIB}


@pytest.mark.parametrize(
    ("description", "needs", "nodes", "want"),
    [
        ("one host goes anywhere", [SMALL], [SMALL], "PACK"),
        ("a node for each", [SMALL, SMALL], [SMALL, LARGE], "STRICT_SPREAD"),
        ("too few nodes: all on one", [SMALL, SMALL], [LARGE], "STRICT_PACK"),
        ("neither: some share a node", [SMALL] * 5, [LARGE, SMALL], "SPREAD"),
        ("the large one gets the large node", [SMALL, Capacity(8, GIB)], [LARGE, SMALL], "STRICT_SPREAD"),
        ("GPUs decide, too", [Capacity(1, GIB, 2)] * 2, [LARGE, SMALL], "SPREAD"),
    ],
)
def test_how_hosts_are_spread(description: str, needs: list[Capacity], nodes: list[Capacity], want: str) -> None:
    """Like instances, each on a machine of its own, where there are so many."""
    assert strategy(needs, nodes) == want, description


# ---------------------------------------------------------------------------------------------------------------------
# On a node
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The node's directory, by the variable that an administrator sets."""
    monkeypatch.setenv(host.SCRATCH, str(tmp_path / "scratch"))
    return tmp_path / "scratch"


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    made = Plane(tmp_path, make_spec(tmp_path, "echo ready; sleep 600"))
    await made.start()
    yield made
    await made.stop()


def as_given(plane: Plane) -> str:
    return msgspec.json.encode(plane.launch()).decode()


def launch_of(directory: Path) -> HostLaunch:
    return msgspec.json.decode((directory / LAUNCH_FILE).read_bytes(), type=HostLaunch)


async def test_an_actor_runs_an_agent_in_a_directory_of_the_node(plane: Plane, scratch: Path) -> None:
    """Below the scratch directory, leased, told of Ray's GPUs; at its end nothing of it is left."""
    actor = HostActor()
    assert await actor.start(as_given(plane), __version__, "ns", ["3"]) == ""
    directory = scratch / "ns" / "job-1" / "1" / "algo-1"
    launch = launch_of(directory)
    assert (launch.directory, launch.endpoint_file, launch.leased) == (str(directory), "", True)
    assert (launch.hidden, launch.gpus) == ([str(scratch)], ["3"])
    assert (scratch.stat().st_mode & 0o777, await actor.alive()) == (0o700, True)
    await plane.until(lambda: "ready" in plane.log)
    assert "whoever launched" not in await actor.end()
    assert not await actor.alive()
    assert not list(scratch.glob("ns/job-1*"))


async def test_an_actor_of_another_version_starts_nothing(scratch: Path) -> None:
    """Agent and service speak one version's wire."""
    problem = await HostActor().start("{}", "0.0.0", "ns", [])
    assert f"it has Treadle {__version__}, the service has 0.0.0: install the same version on all nodes" in problem
    assert not scratch.exists()


async def test_a_scratch_directory_of_others_is_not_used(plane: Plane, scratch: Path) -> None:
    """In a directory for temporary files anybody may have been there first."""
    scratch.mkdir()
    scratch.chmod(0o777)
    problem = await HostActor().start(as_given(plane), __version__, "ns", [])
    assert "others can write to it" in problem


async def test_what_a_lost_host_left_is_removed_by_the_next(plane: Plane, scratch: Path) -> None:
    """By the lock that nobody holds any more; who is at work keeps what is his."""
    left = scratch / "another-service" / "old" / "1" / "algo-1"
    (left / "ml").mkdir(parents=True)
    (left / "lock").touch()
    one, two = HostActor(), HostActor()
    assert await one.start(as_given(plane), __version__, "ns", []) == ""
    assert not left.exists()
    other = msgspec.json.encode(plane.launch(host="algo-2")).decode()
    assert await two.start(other, __version__, "ns", []) == ""
    assert (scratch / "ns" / "job-1" / "1" / "algo-1").exists()
    await one.end()
    await two.end()


LEASED = """
import asyncio, os, sys
from treadle.launchers.local import LocalLauncher
from treadle.seams import HostLaunch
import msgspec

async def main():
    launch = msgspec.json.decode(sys.argv[1], type=HostLaunch)
    print(msgspec.json.decode(await LocalLauncher().launch(launch))["agent"]["pid"], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_an_agent_whose_lease_is_over_ends(plane: Plane) -> None:
    """Its launcher is killed: the program ends, nothing is told, the agent goes, and nothing is left of it."""
    given = msgspec.json.encode(plane.launch(leased=True)).decode()
    launcher = subprocess.Popen([sys.executable, "-c", LEASED, given], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    try:
        agent = int(await asyncio.to_thread(launcher.stdout.readline))
        await plane.until(lambda: "ready" in plane.log)
    finally:
        launcher.kill()
        launcher.wait()
        launcher.stdout.close()
    assert await gone(agent)
    assert "ended" not in plane.kinds
    assert not (plane.directory / "host").exists()


# ---------------------------------------------------------------------------------------------------------------------
# Without it
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    subprocess.run([sys.executable, "-c", "import ray"], capture_output=True, check=False).returncode == 0,
    reason="Ray is installed here",
)
def test_a_launcher_that_is_not_installed(treadle: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """It is said, with the command that installs it, and the home is left alone."""
    done = treadle("serve", "--launcher", "ray")
    assert done.returncode == 2
    assert "The launcher for Ray is not installed: it needs the Python package ray." in done.stderr
    assert "-m pip install 'treadle[training,ray]'" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ray-address", "10.0.0.1:6379"], "--ray-address belongs to --launcher ray"),
        (["--advertise", "train.example.org"], "Without TLS there are no other machines"),
    ],
)
def test_options_that_do_not_go_together(
    treadle: Callable[..., subprocess.CompletedProcess[str]], options: list[str], said: str
) -> None:
    """Before anything is begun."""
    done = treadle("serve", *options)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
