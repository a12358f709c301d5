"""An agent is killed, and another one comes after it: what was said is told, what can be finished is finished."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.agent.conftest import MakePlane, RunAgent
from tests.agent.plane import BUCKET, Plane, gone
from tests.agent.test_host import ML, HeldObjects, members, names
from treadle.agent.heir import how_it_ends, known, live
from treadle.agent.host import Host
from treadle.agent.sandbox.choice import choose
from treadle.agent.work import Tools
from treadle.launchers.processes import descendants
from treadle.seams import HostEvent

LOST = "InternalServerError: We encountered an internal error. Please try again. The host algo-1 is lost: its agent is gone."
SAVES = (
    ML + 'trap "echo saved > $ml/model/m; echo saved; touch $ml/saved" TERM; echo ready; while :; do sleep 0.02; done'
)


async def there(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, path
        await asyncio.sleep(0.01)


async def kill(agent: subprocess.Popen[bytes]) -> None:
    agent.kill()
    await asyncio.to_thread(agent.wait, 20)


# The log


@pytest.mark.parametrize("ends", [False, True], ids=["goes-on", "crashes"])
async def test_the_last_words_of_a_program(make_plane: MakePlane, start_agent: Any, sandbox: str, ends: bool) -> None:
    """Its agent hangs and is killed: what it said meanwhile is told once, in order, its last half line and its metrics.

    Whether it goes on until it dies with its agent, or had crashed before.
    """
    plane = await make_plane(
        ML
        + f"""
        echo first; echo loss=0.5; while [ ! -e "$ml/go" ]; do sleep 0.02; done
        echo loss=0.25; printf "no end"; touch "$ml/said"; {"exit 3" if ends else "exec sleep 600"}
        """,
        sandbox=sandbox,
        request={
            "AlgorithmSpecification": {
                "TrainingImage": "image",
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}, {"Name": "f", "Regex": "(1)st"}],
            }
        },
    )
    agent = start_agent(plane)
    await plane.line("loss")
    agent.send_signal(signal.SIGSTOP)
    (plane.ml / "go").touch()
    await there(plane.ml / "said")
    await kill(agent)
    start_agent(plane)
    ended = await plane.event("ended")
    assert plane.program == ["first", "loss=0.5", "loss=0.25", "no end"]
    assert (ended.outcome, ended.failure_reason, ended.outputs) == ("failed", LOST, [])
    assert list(ended.metrics) == ["loss"]
    assert ended.metrics["loss"][0] == 0.25
    assert [each for each in plane.log if "another one tells what it has left" in each]
    assert plane.log_when_ended == len(plane.log)


async def test_killed_while_a_program_talks(make_plane: MakePlane, start_agent: Any, sandbox: str) -> None:
    """At any moment, several times over: no line is missing of those that it had written, none is there twice."""
    program = (
        "import os; ml = os.environ.get('SAGEMAKER_BASE_DIR', '/opt/ml')\n"
        "counter = os.open(ml + '/count', os.O_WRONLY | os.O_CREAT)\n"
        "for number in range(10**9):\n"
        "    os.write(1, b'line %d\\n' % number)\n"
        "    os.pwrite(counter, b'%d' % (number + 1), 0)\n"
    )
    plane = await make_plane("", command=["python", "-c", program], sandbox=sandbox)
    agent = start_agent(plane)
    await plane.line("line 1")
    await asyncio.sleep(random.uniform(0.0, 0.5))
    with (plane.ml / "count").open() as counter:
        inside = descendants(agent.pid)
        await kill(agent)
        for pid in inside:
            assert await gone(pid)
        wrote = int(counter.read())
    start_agent(plane)
    await plane.event("ended")
    assert plane.program == [f"line {number}" for number in range(len(plane.program))]
    assert wrote <= len(plane.program) <= wrote + 1


async def test_the_agents_after_it_are_killed_too(make_plane: MakePlane, start_agent: Any) -> None:
    """While nobody takes what they have to tell: it is told once all the same."""
    plane = await make_plane('for n in $(seq 500); do echo "line $n"; done; exec sleep 600')
    agent = start_agent(plane)
    await plane.line("line 500")
    await plane.stop()
    for _ in range(3):
        await kill(agent)
        agent = start_agent(plane)
        await there(plane.directory / "host/spool/log-000000000000.jsonl")
    await plane.start()
    await plane.event("ended")
    assert plane.program == [f"line {number}" for number in range(1, 501)]


async def test_a_log_that_had_its_limit(make_plane: MakePlane, start_agent: Any) -> None:
    """The last lines of what did not fit are kept, of the lost program as well."""
    plane = await make_plane('for n in $(seq 5000); do echo "line $n"; done; exec sleep 600', log_bytes=2000)
    agent = start_agent(plane)
    await plane.line("the log has its limit")
    await there(plane.directory / "host/spool/output-000000000000000")
    tape = plane.directory / "host/spool/output-000000000000000"
    while b"line 5000\n" not in tape.read_bytes():  # noqa: ASYNC110  (as above)
        await asyncio.sleep(0.01)
    await kill(agent)
    start_agent(plane)
    await plane.event("ended")
    assert [each for each in plane.log if "more lines did not fit in the log; the last 1000 of them are:" in each]
    assert plane.program[-1000:] == [f"line {number}" for number in range(4001, 5001)]


# How the host ends


async def test_killed_while_it_stops(make_plane: MakePlane, start_agent: Any, sandbox: str) -> None:
    """The program had been told; what it had saved by then is kept."""
    plane = await make_plane(SAVES, sandbox=sandbox)
    agent = start_agent(plane)
    await plane.line("ready")
    await plane.command("stop")
    await there(plane.ml / "saved")
    await kill(agent)
    start_agent(plane)
    ended = await plane.event("ended")
    assert (ended.outcome, ended.exit_code, ended.failure_reason) == ("stopped", 137, "")
    assert members(plane, ended.outputs[0].staged) == {"m": b"saved\n"}
    assert plane.kinds == ["downloading", "training", "stopping", "uploading", "ended"]
    assert (plane.program[0], plane.program[-1]) == ("ready", "saved")


async def test_killed_when_the_last_lines_had_been_said(make_plane: MakePlane, start_agent: Any) -> None:
    """They are not said again: the log was complete, only the end was missing."""
    plane = await make_plane('for n in $(seq 5000); do echo "line $n"; done', log_bytes=2000)
    agent = start_agent(plane)
    await plane.event("ended")
    await asyncio.to_thread(agent.wait, 20)
    whole = list(plane.log)
    events = plane.directory / "host/spool/events.jsonl"
    events.write_bytes(b"".join(events.read_bytes().splitlines(keepends=True)[:-1]))
    plane.events.pop()
    start_agent(plane)
    await plane.event("ended")
    assert plane.log[: len(whole)] == whole
    assert [each for each in plane.log[len(whole) :] if not each.startswith("[treadle] ")] == []


@pytest.mark.parametrize(
    ("command", "outcome", "outputs"), [("stop", "stopped", ["model.tar.gz"]), ("interrupt", "interrupted", [])]
)
async def test_killed_before_it_heard_of_the_order(
    make_plane: MakePlane, start_agent: Any, command: Any, outcome: str, outputs: list[str]
) -> None:
    """What was ordered is done as well as it can be done now: the program is gone, its checkpoints are not."""
    plane = await make_plane(
        ML + 'echo m > "$ml"/model/m; echo 7 > "$ml"/checkpoints/c; echo ready; exec sleep 600',
        request={"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/kept"}},
    )
    agent = start_agent(plane)
    await plane.line("ready")
    agent.send_signal(signal.SIGSTOP)
    (plane.ml / "checkpoints/c").write_text("8\n")
    await plane.command(command)
    await kill(agent)
    start_agent(plane)
    ended = await plane.event("ended")
    assert (ended.outcome, names(ended)) == (outcome, outputs)
    assert b"".join(plane.objects.read(BUCKET, "kept/c")) == b"8\n"


async def test_an_order_that_comes_before_it_is_told_that_the_host_is_lost(
    make_plane: MakePlane, start_agent: Any
) -> None:
    """The control plane is away when the agent comes to that, and back with the order: so it is carried out."""
    plane = await make_plane(ML + 'echo m > "$ml"/model/m; echo ready; exec sleep 600')
    agent = start_agent(plane)
    await plane.line("ready")
    await kill(agent)
    plane.refused = lambda event: event.note == "lost"
    start_agent(plane)
    await plane.until(lambda: plane.refusals)
    await plane.stop()
    await plane.command("stop")
    await plane.start()
    ended = await plane.event("ended")
    assert (ended.outcome, ended.note, names(ended)) == ("stopped", "", ["model.tar.gz"])
    assert plane.kinds == ["downloading", "training", "uploading", "ended"]


async def test_killed_when_its_runtime_is_over(make_plane: MakePlane, start_agent: Any) -> None:
    """It is that which ended the job."""
    plane = await make_plane(SAVES, max_runtime=1)
    agent = start_agent(plane)
    await there(plane.directory / "host/ml")
    await there(plane.ml / "saved")
    await kill(agent)
    start_agent(plane)
    ended = await plane.event("ended")
    assert (ended.outcome, names(ended)) == ("max-runtime", ["model.tar.gz"])
    assert 1 <= ended.trained_for < 10


async def cut(plane: Plane, objects: HeldObjects, arrived: Callable[[], bool] = lambda: True) -> None:
    """Run an agent until it waits for an object, then let it leave."""
    host = Host(plane.launch(), Tools(lambda _: objects, choose))
    agent = asyncio.create_task(host.run())
    await asyncio.to_thread(objects.held.wait, 20)
    await plane.until(arrived)
    host.leave()
    await agent
    objects.go.set()


@pytest.mark.parametrize(
    ("code", "outcome", "reason"), [(0, "completed", ""), (3, "failed", "AlgorithmError: , exit code: 3\nwords")]
)
async def test_cut_off_while_uploading(
    make_plane: MakePlane, run_agent: RunAgent, code: int, outcome: str, reason: str
) -> None:
    """The program had come to its end: nothing of that is lost, and it is not run again."""
    plane = await make_plane(
        ML + f'echo m | tee "$ml"/model/m > "$ml"/output/data/d; echo words; exit {code}',
        request={"InputDataConfig": []},
    )
    await cut(plane, HeldObjects(plane.directory / "s3"), lambda: "uploading" in plane.kinds)
    await run_agent(plane)
    ended = plane.events[-1]
    assert (ended.outcome, ended.exit_code, ended.failure_reason) == (outcome, code, reason)
    assert names(ended) == (["model.tar.gz"] if code == 0 else []) + ["output.tar.gz"]
    assert plane.program == ["words"]
    assert not plane.ml.exists()


async def test_cut_off_while_downloading(make_plane: MakePlane, run_agent: RunAgent) -> None:
    """No program has run, so nothing is lost: the next agent begins anew."""
    plane = await make_plane(ML + 'cat "$ml"/input/data/train/1.csv')
    await cut(plane, HeldObjects(plane.directory / "s3"))
    await run_agent(plane)
    assert plane.kinds == ["downloading", "downloading", "training", "uploading", "ended"]
    assert (plane.events[-1].outcome, plane.program) == ("completed", ["3,4"])


async def test_cut_off_when_all_was_done(make_plane: MakePlane, run_agent: RunAgent) -> None:
    """Only the telling was left."""
    plane = await make_plane("echo words")
    objects = HeldObjects(plane.directory / "s3")
    objects.go.set()
    host = Host(plane.launch(), Tools(lambda _: objects, choose))
    agent = asyncio.create_task(host.run())
    await plane.event("downloading")
    await plane.stop()
    spool = plane.directory / "host/spool/events.jsonl"
    while b'"ended"' not in spool.read_bytes():  # noqa: ASYNC110  (as above)
        await asyncio.sleep(0.01)
    host.leave()
    await agent
    await plane.start()
    await run_agent(plane)
    assert plane.kinds == ["downloading", "training", "uploading", "ended"]
    assert (plane.events[-1].outcome, plane.program) == ("completed", ["words"])


def test_a_sign_of_life_that_cannot_be_left(tmp_path: Path) -> None:
    """Who comes after an agent knows when it lived last; one that cannot say so lives on."""
    assert known(tmp_path)[1] is None
    os.utime(tmp_path / "agent.json", (1.0, 1.0))
    live(tmp_path)
    seen = known(tmp_path)[1]
    assert seen is not None
    assert time.time() - seen < 60
    (tmp_path / "file").touch()
    live(tmp_path / "file")


def event(kind: Any, **members: Any) -> HostEvent:
    return HostEvent(seq=1, kind=kind, at=1.0, **members)


@pytest.mark.parametrize(
    ("left", "ordered", "outcome"),
    [
        pytest.param([], "", None, id="nobody-knows"),
        pytest.param([], "stop", "stopped", id="stop"),
        pytest.param([], "interrupt", "interrupted", id="interrupt"),
        pytest.param([event("stopping", outcome="interrupted")], "interrupt", "interrupted", id="interrupted"),
        pytest.param([event("stopping", outcome="interrupted")], "stop", "stopped", id="a-stop-outranks-it"),
        pytest.param([event("stopping", outcome="max-runtime")], "stop", "max-runtime", id="runtime-was-over"),
        pytest.param(
            [event("stopping", outcome="max-runtime"), event("uploading", outcome="stopped")], "", "stopped", id="last"
        ),
        pytest.param([event("uploading", outcome="completed")], "stop", "completed", id="it-was-done"),
    ],
)
def test_how_a_host_ends(left: list[HostEvent], ordered: Any, outcome: str | None) -> None:
    """As was decided, else as was ordered; a stop keeps more than an interruption does."""
    found = how_it_ends([event("training"), *left], ordered, 5.0)
    assert (found and found["outcome"]) == outcome
