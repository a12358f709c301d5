"""Whole jobs: a real agent, a real control plane, real programs."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import sys
import tarfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import treadle
from tests.agent.conftest import MakePlane, RunAgent
from tests.agent.plane import BUCKET, JOB, Plane, gone
from treadle.agent.host import Host
from treadle.agent.sandbox.choice import choose
from treadle.agent.work import Tools
from treadle.launchers.processes import descendants
from treadle.objects.filesystem import FilesystemObjects
from treadle.seams import HostEvent, ObjectInfo

ML = 'ml="${SAGEMAKER_BASE_DIR:-/opt/ml}"\n'


def members(plane: Plane, key: str) -> dict[str, bytes]:
    """Give the regular files of an uploaded archive."""
    data = b"".join(plane.objects.read(BUCKET, key))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {each.name: _content(archive, each) for each in archive if each.isfile()}


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


def names(event: HostEvent) -> list[str]:
    return [each.target.rpartition("/")[2] for each in event.outputs]


async def test_happy_path(make_plane: MakePlane, run_agent: RunAgent, sandbox: str, tmp_path: Path) -> None:
    """Data comes in, the program runs, its model goes out, its log and metrics are told."""
    plane = await make_plane(
        ML
        + """
        cat "$ml"/input/data/train/part/0.csv "$ml"/input/data/train/1.csv > "$ml"/model/sum
        cat "$ml"/input/config/hyperparameters.json; echo
        echo "loss=0.5"; echo "loss=0.1" >&2
        echo "$TRAINING_JOB_NAME $FROM_IMAGE $FROM_JOB $FROM_REQUEST $NVIDIA_VISIBLE_DEVICES"
        mkdir "$ml"/output/data/plots; echo p > "$ml"/output/data/plots/1
        """,
        sandbox=sandbox,
        request={
            "AlgorithmSpecification": {
                "TrainingImage": "image",
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
            }
        },
    )
    await run_agent(plane)
    assert plane.kinds == ["downloading", "training", "uploading", "ended"]
    ended = plane.events[-1]
    assert (ended.outcome, ended.exit_code, ended.failure_reason) == ("completed", 0, "")
    assert ended.trained_for > 0
    assert ended.metrics["loss"][0] == 0.10000000149011612
    assert [each.target for each in ended.outputs] == [
        f"out/{JOB}/output/model.tar.gz",
        f"out/{JOB}/output/output.tar.gz",
    ]
    assert members(plane, ended.outputs[0].staged) == {"sum": b"1,2\n3,4\n"}
    assert members(plane, ended.outputs[1].staged) == {"plots/1": b"p\n"}
    assert plane.program == ['{"epochs":"2"}', "loss=0.5", "loss=0.1", f"{JOB} yes yes yes void"]
    assert plane.log_when_ended == len(plane.log)
    assert plane.log[0].startswith(f"[treadle] sandbox: {sandbox}")
    assert not (tmp_path / "host/ml").exists()


@pytest.mark.parametrize(
    ("script", "code", "reason"),
    [
        pytest.param("echo one; echo two >&2; exit 3", 3, "AlgorithmError: , exit code: 3\none\ntwo", id="exit-code"),
        pytest.param(
            ML + 'echo ignored; printf "no label" > "$ml"/output/failure; exit 1',
            1,
            "AlgorithmError: no label, exit code: 1",
            id="failure-file",
        ),
        pytest.param(
            ML + 'mkfifo "$ml"/output/failure; exit 1', 1, "AlgorithmError: , exit code: 1", id="failure-file-is-a-pipe"
        ),
        pytest.param(
            "echo before; kill -9 $$",
            137,
            "AlgorithmError: , exit code: 137\nkilled by signal 9 (SIGKILL)\nbefore",
            id="killed",
        ),
    ],
)
async def test_failing_program(make_plane: MakePlane, run_agent: RunAgent, script: str, code: int, reason: str) -> None:
    """A program that fails leaves a reason, its output data and no model."""
    plane = await make_plane(ML + 'echo m > "$ml"/model/m; echo d > "$ml"/output/data/d\n' + script)
    await run_agent(plane)
    ended = plane.events[-1]
    assert (ended.outcome, ended.exit_code, ended.failure_reason) == ("failed", code, reason)
    assert names(ended) == ["output.tar.gz"]


async def test_a_program_that_prints_and_fails(make_plane: MakePlane, run_agent: RunAgent) -> None:
    """Python flushes what was printed after it has told why it ends; the reason is why it ends."""
    program = "for step in range(1500): print('step', step)\nraise ValueError('no label')"
    plane = await make_plane("", command=["python", "-c", program])
    await run_agent(plane)
    assert plane.program[-1] == "step 1499"
    lines = plane.events[-1].failure_reason.splitlines()
    assert (lines[0], lines[-1]) == ("AlgorithmError: , exit code: 1", "ValueError: no label")


@pytest.mark.parametrize("program", ["no-such-program", ""])
async def test_program_that_is_not_there(
    make_plane: MakePlane, run_agent: RunAgent, sandbox: str, program: str
) -> None:
    """The reason names the program and where it was looked for; a request may have an empty name, too."""
    plane = await make_plane("", command=[program], sandbox=sandbox)
    await run_agent(plane)
    reason = plane.events[-1].failure_reason
    assert reason.startswith(f"AlgorithmError: , exit code: 127\ntreadle: cannot start {program!r}")
    assert "No such file or directory (PATH is " in reason


async def test_python_is_the_one_that_runs_treadle(make_plane: MakePlane, run_agent: RunAgent) -> None:
    """An image's `python` finds Treadle's own interpreter and packages."""
    plane = await make_plane("", command=["python", "-c", "import treadle, sys; print(treadle.__file__, sys.version)"])
    await run_agent(plane)
    assert plane.program == [f"{treadle.__file__} {sys.version}"]


# Stops


async def test_stop_while_training(make_plane: MakePlane, run_agent: RunAgent, sandbox: str) -> None:
    """SIGTERM reaches a child of the shell, what it saves then is uploaded, the outcome is stopped."""
    plane = await make_plane(
        ML
        + """
        sh -c 'trap "echo saved > $0/model/m; exit 0" TERM; echo ready; while :; do sleep 0.02; done' "$ml" &
        wait
        """,
        sandbox=sandbox,
    )
    agent = run_agent(plane)
    await plane.line("ready")
    await plane.command("stop")
    await agent
    ended = plane.events[-1]
    assert ended.outcome == "stopped"
    assert members(plane, ended.outputs[0].staged) == {"m": b"saved\n"}


async def test_stop_of_a_program_that_will_not(make_plane: MakePlane, run_agent: RunAgent, sandbox: str) -> None:
    """After the grace comes SIGKILL, and the artifacts are uploaded all the same."""
    plane = await make_plane(
        ML + 'trap "" TERM; echo m > "$ml"/model/m; echo ready; while :; do sleep 0.02; done',
        sandbox=sandbox,
        stop_grace=0.1,
    )
    agent = run_agent(plane)
    await plane.line("ready")
    await plane.command("stop")
    await agent
    ended = plane.events[-1]
    assert (ended.outcome, ended.exit_code, names(ended)) == ("stopped", 137, ["model.tar.gz"])


class HeldObjects(FilesystemObjects):
    """Objects that can be held up: a download or a write waits until `go` is set."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.go = threading.Event()
        self.held = threading.Event()

    def download(self, bucket: str, key: str, to: Path) -> None:
        self._wait()
        super().download(bucket, key, to)

    def write(self, bucket: str, key: str, pieces: Iterable[bytes]) -> ObjectInfo:
        self._wait()
        return super().write(bucket, key, pieces)

    def _wait(self) -> None:
        self.held.set()
        self.go.wait(20)


async def test_stop_while_downloading(make_plane: MakePlane) -> None:
    """A stop during Downloading ends the host without starting the program, though an object is still on its way."""
    plane = await make_plane("echo started")
    objects = HeldObjects(plane.directory / "s3")
    host = Host(plane.launch(), Tools(lambda _: objects, choose))
    agent = asyncio.create_task(host.run())
    await asyncio.to_thread(objects.held.wait, 20)
    await plane.command("stop")
    ended = await plane.event("ended")
    objects.go.set()
    await agent
    assert (plane.kinds, ended.outcome, ended.outputs) == (["downloading", "ended"], "stopped", [])
    assert plane.program == []


async def test_stop_while_uploading(make_plane: MakePlane) -> None:
    """A program that has ended by itself stays completed: its upload goes on."""
    plane = await make_plane(ML + 'echo m > "$ml"/model/m', request={"InputDataConfig": []})
    objects = HeldObjects(plane.directory / "s3")
    host = Host(plane.launch(), Tools(lambda _: objects, choose))
    agent = asyncio.create_task(host.run())
    await asyncio.to_thread(objects.held.wait, 20)
    await plane.command("stop")
    objects.go.set()
    await agent
    assert (plane.events[-1].outcome, names(plane.events[-1])) == ("completed", ["model.tar.gz"])


async def test_max_runtime(make_plane: MakePlane, run_agent: RunAgent) -> None:
    """The agent's own clock ends a program that takes too long; what it has written is kept."""
    plane = await make_plane(ML + 'echo m > "$ml"/model/m; exec sleep 600', max_runtime=1)
    await run_agent(plane)
    ended = plane.events[-1]
    assert (ended.outcome, names(ended)) == ("max-runtime", ["model.tar.gz"])
    assert 1 <= ended.trained_for < 10


# The attempt is over


async def test_over(make_plane: MakePlane, run_agent: RunAgent, sandbox: str) -> None:
    """A 409 kills the program; nothing is uploaded and nothing more is told."""
    plane = await make_plane(ML + 'echo m > "$ml"/model/m; echo ready; exec sleep 600', sandbox=sandbox)
    agent = run_agent(plane)
    await plane.line("ready")
    await plane.change(lambda: setattr(plane, "over", True))
    await agent
    assert plane.kinds == ["downloading", "training"]
    assert [each.key for each in plane.objects.list(BUCKET, ".staging")] == []


async def test_second_agent(make_plane: MakePlane, run_agent: RunAgent, tmp_path: Path) -> None:
    """An agent whose host another has claimed ends without touching anything."""
    plane = await make_plane("echo no")
    plane.agent = "the first one"
    await run_agent(plane)
    assert plane.kinds == []
    assert [each.name for each in (tmp_path / "host").iterdir()] == ["agent.json"]


# The control plane is away


async def test_control_plane_comes_back_elsewhere(make_plane: MakePlane, run_agent: RunAgent, tmp_path: Path) -> None:
    """A program goes on without the control plane; all is told when it is back on another port, each line once."""
    plane = await make_plane(
        f"""
        echo first; while [ ! -e {tmp_path}/away ]; do sleep 0.02; done
        for i in 1 2 3; do echo "away $i"; done; touch {tmp_path}/said
        while [ ! -e {tmp_path}/back ]; do sleep 0.02; done; echo last
        """
    )
    agent = run_agent(plane)
    await plane.line("first")
    await plane.stop()
    (tmp_path / "away").touch()
    while not (tmp_path / "said").exists():  # noqa: ASYNC110  (a file is what there is to look at)
        await asyncio.sleep(0.01)
    await plane.start()
    (tmp_path / "back").touch()
    await agent
    assert plane.program == ["first", "away 1", "away 2", "away 3", "last"]
    assert plane.kinds == ["downloading", "training", "uploading", "ended"]


# What programs write


async def test_long_and_broken_lines(make_plane: MakePlane, run_agent: RunAgent) -> None:
    """A line of 10 MB comes in pieces; bytes that are no text, and NUL, are replaced."""
    script = (
        "import os; [os.write(1, b'x' * 1048576) for _ in range(10)]; os.write(1, b'\\nbad \\xff\\x00 end\\r\\nlast')"
    )
    plane = await make_plane("", command=["python", "-c", script])
    await run_agent(plane)
    assert plane.events[-1].outcome == "completed"
    *pieces, broken, last = plane.program
    assert sum(map(len, pieces)) == 10 * 1024 * 1024
    assert set(map(len, pieces)) == {64 * 1024}
    assert (broken, last) == ("bad \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER} end", "last")


async def test_followers_end_with_the_program(
    make_plane: MakePlane, run_agent: RunAgent, sandbox: str, tmp_path: Path
) -> None:
    """A daemon that left session, parents and environment, and holds the output open, ends with the program."""
    plane = await make_plane(
        ML
        + f"""
        (env -i /usr/bin/setsid /bin/sh -c "trap '' TERM HUP; exec /bin/tail -F {tmp_path}/image/up" &)
        while [ ! -e "$ml/up" ]; do sleep 0.02; done
        cat "$ml/up"
        """,
        sandbox=sandbox,
    )
    agent = run_agent(plane)
    while not (followers := _running(f"/bin/tail -F {tmp_path}/image/up")):  # noqa: ASYNC110  (another program's start is no event here)
        await asyncio.sleep(0.01)
    (plane.ml / "up").touch()
    await agent
    assert plane.events[-1].outcome == "completed"
    for pid in followers:
        assert await gone(pid)


def _running(words: str) -> list[int]:
    """Give the processes with that command line; dead ones have none."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip() == words:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


async def test_volume(make_plane: MakePlane, run_agent: RunAgent) -> None:
    """A program that outgrows its volume is killed, and the reason names the limit."""
    plane = await make_plane(
        ML + 'head -c 3000000 /dev/zero > "$ml"/model/m; exec sleep 600', volume_bytes=2 * 1024 * 1024
    )
    await run_agent(plane)
    ended = plane.events[-1]
    assert (ended.outcome, ended.exit_code, ended.outputs) == ("failed", 137, [])
    # How much it is by then depends on when it was measured.
    assert re.match(r"AlgorithmError: the job's files take [23]\.\d MB, more than", ended.failure_reason)
    assert "VolumeSizeInGB (2.0 MB); the program was ended, exit code: 137" in ended.failure_reason


# Data


@pytest.mark.parametrize(
    ("keys", "uri", "reason"),
    [
        pytest.param(["data/../../evil"], "data", 'it has the segment ".."', id="dots"),
        pytest.param(["data//etc/passwd"], "data", 'it has the segment ""', id="absolute"),
        pytest.param(["data/a", "data/a/b"], "data", "would be both a file and a directory", id="file-and-directory"),
        pytest.param(["data/" + "x" * 300], "data", "more than 255 bytes", id="long-name"),
        pytest.param([], "none", 'No S3 objects found under S3 URL "s3://bucket/none"', id="nothing"),
    ],
)
async def test_data_that_cannot_come(
    make_plane: MakePlane, run_agent: RunAgent, tmp_path: Path, keys: list[str], uri: str, reason: str
) -> None:
    """Keys that would leave the channel, or cannot be files, fail the job in AWS's form before anything is written."""
    source: dict[str, Any] = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{uri}"}}
    plane = await make_plane(
        "echo started", request={"InputDataConfig": [{"ChannelName": "train", "DataSource": source}]}
    )
    for key in keys:
        plane.objects.write(BUCKET, key, iter([b"x"]))
    await run_agent(plane)
    ended = plane.events[-1]
    assert (plane.kinds, ended.outcome) == (["downloading", "ended"], "failed")
    assert ended.failure_reason.startswith("ClientError: Data download failed:")
    assert reason in ended.failure_reason
    assert not list((tmp_path / "host").glob("**/evil"))
    assert not (tmp_path / "evil").exists()


async def test_data_larger_than_the_volume(make_plane: MakePlane, run_agent: RunAgent) -> None:
    """It is refused before it is copied."""
    plane = await make_plane("echo started", volume_bytes=8)
    await run_agent(plane)
    assert "VolumeSizeInGB" in plane.events[-1].failure_reason


async def test_sandbox_that_is_not_there(make_plane: MakePlane, run_agent: RunAgent) -> None:
    """A sandbox asked for and absent is a fault of the platform, with the reason."""
    plane = await make_plane("echo started", sandbox="container")
    await run_agent(plane)
    reason = plane.events[-1].failure_reason
    assert reason.startswith("InternalServerError: We encountered an internal error.")
    assert 'no sandbox "container"' in reason


async def test_objects_that_cannot_be_opened(make_plane: MakePlane, run_agent: RunAgent) -> None:
    """What the agent cannot do is told as a fault of the platform, not kept to itself."""
    plane = await make_plane("echo started", objects={"kind": "tape"})
    await run_agent(plane)
    assert plane.kinds == ["ended"]
    assert 'objects of kind "tape"' in plane.events[-1].failure_reason


async def test_an_output_path_is_taken_as_it_is_written(make_plane: MakePlane, run_agent: RunAgent) -> None:
    """But for slashes at its end: keys may begin with one, and have two in a row."""
    plane = await make_plane("true", request={"OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}//a//b//"}})
    await run_agent(plane)
    assert [each.target for each in plane.events[-1].outputs] == [f"/a//b/{JOB}/output/model.tar.gz"]


async def test_plain_files_as_output(make_plane: MakePlane, run_agent: RunAgent) -> None:
    """CompressionType NONE gives every file of the model an object of its own."""
    plane = await make_plane(
        ML + 'mkdir "$ml"/model/a; echo 1 > "$ml"/model/a/b; echo 2 > "$ml"/model/c; ln -s c "$ml"/model/d',
        request={"OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}", "CompressionType": "NONE"}},
    )
    await run_agent(plane)
    ended = plane.events[-1]
    assert [each.target for each in ended.outputs] == [f"{JOB}/output/model/a/b", f"{JOB}/output/model/c"]
    assert b"".join(plane.objects.read(BUCKET, ended.outputs[0].staged)) == b"1\n"
    assert any("d: a link cannot be an object" in each for each in plane.log)


async def test_a_plain_file_with_too_long_a_name(make_plane: MakePlane, run_agent: RunAgent) -> None:
    """The directory holds it, and S3 could not: it is the program's fault, and said with the file's name."""
    deep = "/".join([letter * 250 for letter in "abcd"])
    plane = await make_plane(
        ML + f'mkdir -p "$ml/model/{deep}"; echo 1 > "$ml/model/{deep}/file"',
        request={"OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out", "CompressionType": "NONE"}},
    )
    await run_agent(plane)
    ended = plane.events[-1]
    assert ended.outcome == "failed"
    assert re.fullmatch(
        r"ClientError: Artifact upload failed:model/a{94}…: its key would have 1031 bytes, and S3 takes 1024\.",
        ended.failure_reason,
    )


# The agent as a process


async def test_process(make_plane: MakePlane, start_agent: Any, sandbox: str) -> None:
    """`python -m treadle.agent FILE` does it all, and ends with exit code 0."""
    plane = await make_plane(ML + 'echo m > "$ml"/model/m', sandbox=sandbox)
    agent = start_agent(plane)
    ended = await plane.event("ended")
    assert ended.outcome == "completed"
    assert await asyncio.to_thread(agent.wait, 20) == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_death_of_the_agent(
    make_plane: MakePlane, start_agent: Any, sandbox: str, tmp_path: Path, number: signal.Signals
) -> None:
    """However the agent ends, its program does not go on unseen, nor does a daemon of it; `ended` is not told."""
    plane = await make_plane(
        f"""
        setsid sh -c 'trap "" TERM; echo $$ > {tmp_path}/daemon; while :; do echo x >> {tmp_path}/writes; sleep 0.02; done' &
        while [ ! -s {tmp_path}/writes ]; do sleep 0.02; done
        echo ready; trap "" TERM; while :; do sleep 0.02; done
        """,
        sandbox=sandbox,
    )
    agent = start_agent(plane)
    await plane.line("ready")
    inside = descendants(agent.pid)
    assert len(inside) >= 3
    agent.send_signal(number)
    assert await asyncio.to_thread(agent.wait, 20) == (-9 if number == signal.SIGKILL else 0)
    for pid in inside:
        assert await gone(pid), Path(f"/proc/{pid}/cmdline").read_bytes()
    assert "ended" not in plane.kinds


async def test_program_killed_from_outside(make_plane: MakePlane, start_agent: Any, sandbox: str) -> None:
    """Killing the process that stands for the program, keeper and all, fails the job and leaves nobody."""
    plane = await make_plane("env -i /usr/bin/setsid /bin/sleep 600 & echo ready; wait", sandbox=sandbox)
    agent = start_agent(plane)
    await plane.line("ready")
    inside = descendants(agent.pid)
    os.kill(inside[0], signal.SIGKILL)
    ended = await plane.event("ended")
    assert (ended.outcome, ended.exit_code) == ("failed", 137)
    assert "killed by signal 9 (SIGKILL)" in ended.failure_reason
    for pid in inside:
        assert await gone(pid)


@pytest.mark.parametrize("content", [None, b"{", b'{"job": 1}'])
def test_launch_file_that_cannot_be_used(tmp_path: Path, content: bytes | None) -> None:
    """The agent says what is wrong with its file and ends with 2."""
    from treadle.agent.main import main

    if content is not None:
        (tmp_path / "file").write_bytes(content)
    assert main([str(tmp_path / "file")]) == 2
    assert main([]) == 2
