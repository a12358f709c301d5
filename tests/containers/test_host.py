"""One host whose program runs in a container: the contract of §1, in a container as on AWS."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.agent.plane import BUCKET, JOB, Plane
from tests.containers.conftest import Contain
from tests.containers.service import Service

pytestmark = pytest.mark.container


def model(plane: Plane, name: str = "model.tar.gz") -> dict[str, bytes]:
    """Give the files of an artifact that was uploaded."""
    key = next(each.staged for each in plane.events[-1].outputs if each.target.endswith(name))
    with tarfile.open(fileobj=io.BytesIO(b"".join(plane.objects.read(BUCKET, key)))) as archive:
        return {each.name: (archive.extractfile(each) or io.BytesIO()).read() for each in archive if each.isfile()}


async def test_happy_path(contain: Contain) -> None:
    """Data is bound in, the log comes out as that of any other sandbox, what the program makes is kept."""
    plane = await contain(
        r"""
        cat /opt/ml/input/data/train/part/0.csv /opt/ml/input/data/train/1.csv > /opt/ml/model/sum
        cat /opt/ml/input/config/hyperparameters.json; echo
        printf 'a\tb\rc\n'; printf 'loss=0.1\nlast'
        echo "$TRAINING_JOB_NAME ${FROM_IMAGE-none} $FROM_JOB $FROM_REQUEST $NVIDIA_VISIBLE_DEVICES" > /opt/ml/model/env
        mkdir /opt/ml/output/data/plots; echo p > /opt/ml/output/data/plots/1
        hostname > /opt/ml/model/host; chmod 600 /opt/ml/model/*
        """,
        request={
            "AlgorithmSpecification": {
                "TrainingImage": "image",
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
            }
        },
    )
    assert plane.kinds == ["downloading", "training", "uploading", "ended"]
    ended = plane.events[-1]
    assert (ended.outcome, ended.exit_code, ended.failure_reason) == ("completed", 0, "")
    assert ended.metrics["loss"][0] == 0.10000000149011612
    environment = f"{JOB} none yes yes void\n".encode()
    assert model(plane) == {"sum": b"1,2\n3,4\n", "env": environment, "host": b"algo-1\n"}
    assert model(plane, "output.tar.gz") == {"plots/1": b"p\n"}
    assert plane.program == ['{"epochs":"2"}', "a#011b\rc", "loss=0.1", "last"]
    assert plane.log[0].startswith("[treadle] sandbox: container (")


@pytest.mark.parametrize(
    ("entrypoint", "command", "expected"),
    [
        pytest.param(None, ["train"], "image train", id="train-replaces-cmd"),
        pytest.param(["/bin/sh", "-c", "echo own $0 $#"], [], "own /bin/sh 0", id="entrypoint-alone"),
        pytest.param(None, ["--epochs", "3"], "image --epochs 3", id="arguments-alone"),
        pytest.param(["/bin/echo", "both"], ["x y"], "both x y", id="both"),
    ],
)
async def test_how_an_image_is_started(
    contain: Contain, container_engine: Service, entrypoint: Any, command: list[str], expected: str
) -> None:
    """`docker run IMAGE train`, `--entrypoint E IMAGE`, `IMAGE ARGS`, `--entrypoint E IMAGE ARGS` (§1.2)."""
    container_engine.image(
        "localhost/treadle-entry:1", CMD='["never"]', ENTRYPOINT='["/bin/echo", "image"]', ENV="WORD=w", WORKDIR="/tmp"
    )
    plane = await contain("", reference="localhost/treadle-entry:1", image={"entrypoint": entrypoint}, command=command)
    assert plane.program == [expected]
    assert plane.events[-1].outcome == "completed"


async def test_image_environment_and_directory(contain: Contain, container_engine: Service) -> None:
    """ENV, WORKDIR and USER are the image's; a user who is not root reads and writes where the contract says."""
    name = container_engine.image("localhost/treadle-user:1", ENV="WORD=w", WORKDIR="/tmp", USER="1234")
    plane = await contain(
        """
        echo $WORD; pwd; id -u; cat /opt/ml/input/data/*/1.csv
        echo m > /opt/ml/model/m; echo d > /opt/ml/output/data/d
        """,
        reference=name,
        request={"InputDataConfig": [channel("fast", "FastFile"), channel("file", "File")]},
    )
    assert plane.program == ["w", "/tmp", "1234", "3,4", "3,4"]
    assert model(plane) == {"m": b"m\n"}


@pytest.mark.parametrize(
    ("script", "code", "reason"),
    [
        pytest.param("echo one; exit 3", 3, "AlgorithmError: , exit code: 3\none", id="exit-code"),
        pytest.param(
            "printf 'no label' > /opt/ml/output/failure; exit 1",
            1,
            "AlgorithmError: no label, exit code: 1",
            id="failure-file",
        ),
    ],
)
async def test_failing_program(contain: Contain, script: str, code: int, reason: str) -> None:
    """A program that fails leaves a reason and no model."""
    ended = (await contain(f"echo m > /opt/ml/model/m; {script}")).events[-1]
    assert (ended.outcome, ended.exit_code, ended.failure_reason) == ("failed", code, reason)
    assert ended.outputs == []


async def test_program_that_is_not_there(contain: Contain) -> None:
    """The reason names the program."""
    ended = (await contain("", command=["no-such-program"])).events[-1]
    assert ended.failure_reason.startswith("AlgorithmError: , exit code: 127\ntreadle: cannot start 'no-such-program'")


async def test_memory(contain: Contain) -> None:
    """A program that takes more memory than its instance has is told so, also by an engine that does not say it."""
    ended = (await contain("tail /dev/zero", memory=64 << 20)).events[-1]
    assert (ended.outcome, ended.exit_code) == ("failed", 137)
    assert "took more than the 0.1 GB of memory that its instance has" in ended.failure_reason


async def test_limits(contain: Contain) -> None:
    """CPU, memory, /dev/shm and number of processes are those of the host; what gives privileges is gone."""
    plane = await contain(
        """
        cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null
        df -k /dev/shm | tail -n 1 | awk '{print $2}'
        cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null
        grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status | cut -f 2
        ls /var/run /run 2>/dev/null | grep -c sock
        """,
        memory=256 << 20,
        cpus=0.5,
    )
    memory, shared, pids, capabilities, privileges, filtered, sockets = plane.program
    assert (int(memory), int(shared), int(pids)) == (256 << 20, 128 << 10, 32_768)
    dropped = {13: "NET_RAW", 27: "MKNOD", 31: "SETFCAP", 21: "SYS_ADMIN", 12: "NET_ADMIN"}
    assert [name for bit, name in dropped.items() if int(capabilities, 16) >> bit & 1] == []
    assert (privileges, filtered, sockets) == ("1", "2", "0")


async def test_stop_with_a_handler(contain: Contain) -> None:
    """SIGTERM reaches process 1 and a child in a session of its own; both may save, and what they saved is kept."""
    plane = await contain(
        """
        trap 'echo main > /opt/ml/model/main; wait; exit 0' TERM
        setsid sh -c 'trap "sleep 0.2; echo child > /opt/ml/model/child; exit 0" TERM; echo begun; while :; do sleep 0.05; done' &
        wait
        """,
        wait=False,
    )
    await plane.line("begun")
    await plane.command("stop")
    await plane.until(lambda: "ended" in plane.kinds)
    assert plane.events[-1].outcome == "stopped"
    assert model(plane) == {"main": b"main\n", "child": b"child\n"}


async def test_stop_without_a_handler(contain: Contain) -> None:
    """Process 1 hears no SIGTERM that it does not handle: it is ended when it is alone, not after the whole grace."""
    plane = await contain("echo begun; sleep 1000 & while :; do wait; done", wait=False, stop_grace=60.0)
    await plane.line("begun")
    await plane.command("stop")
    await plane.until(lambda: "ended" in plane.kinds, within=20)
    assert (plane.events[-1].outcome, plane.events[-1].exit_code) == ("stopped", 137)


async def test_stop_that_is_not_heard(contain: Contain) -> None:
    """After the grace there is SIGKILL."""
    plane = await contain("trap '' TERM; echo begun; while :; do sleep 0.05; done", wait=False, stop_grace=0.5)
    await plane.line("begun")
    await plane.command("stop")
    await plane.until(lambda: "ended" in plane.kinds)
    assert (plane.events[-1].outcome, plane.events[-1].exit_code) == ("stopped", 137)


async def test_max_runtime(contain: Contain) -> None:
    """MaxRuntimeInSeconds ends it the same way."""
    ended = (await contain("trap 'exit 5' TERM; while :; do sleep 0.05; done", max_runtime=1)).events[-1]
    assert (ended.outcome, ended.exit_code) == ("max-runtime", 5)


async def test_volume(contain: Contain) -> None:
    """A program that outgrows its volume is ended."""
    ended = (
        await contain("dd if=/dev/zero of=/opt/ml/model/m bs=1M count=64; sleep 60", volume_bytes=16 << 20)
    ).events[-1]
    assert ended.outcome == "failed"
    assert "more than ResourceConfig.VolumeSizeInGB" in ended.failure_reason


def channel(name: str, mode: str, uri: str = f"s3://{BUCKET}/data") -> dict[str, Any]:
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}
    return {"ChannelName": name, "InputMode": mode, "DataSource": source}


async def test_modes_of_data(contain: Contain) -> None:
    """FastFile is bound where it lies, and read-only; Pipe's FIFOs work through the bind; File may be written to."""
    plane = await contain(
        """
        cat /opt/ml/input/data/fast/1.csv; touch /opt/ml/input/data/fast/new 2>&1 | grep -o 'Read-only'
        cat /opt/ml/input/data/pipe_0
        echo x >> /opt/ml/input/data/file/1.csv && echo written
        grep -c ' /opt/ml/input/data/fast ' /proc/self/mounts
        """,
        request={"InputDataConfig": [channel("fast", "FastFile"), channel("pipe", "Pipe"), channel("file", "File")]},
    )
    assert plane.program[:2] == ["3,4", "Read-only"]
    assert sorted(plane.program[2:4]) == ["1,2", "3,4"]
    assert plane.program[4:] == ["written", "1"]


async def test_checkpoints_anywhere(contain: Contain) -> None:
    """CheckpointConfig.LocalPath may be any directory, since the container's file system is its own."""
    plane = await contain(
        "cat /ckpt/state; echo 2 > /ckpt/state",
        request={"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/ckpt", "LocalPath": "/ckpt"}},
        wait=False,
    )
    await plane.until(lambda: "ended" in plane.kinds)
    assert b"".join(plane.objects.read(BUCKET, "ckpt/state")) == b"2\n"


async def test_agent_is_told_to_go(contain: Contain, container_engine: Service) -> None:
    """An attempt that is over leaves no container."""
    plane = await contain("echo begun; trap '' TERM; while :; do sleep 0.05; done", wait=False)
    await plane.line("begun")
    assert len(container_engine.left()) == 2
    await plane.command("abandon")
    async with asyncio.timeout(20):
        while container_engine.left():  # noqa: ASYNC110  (the engine tells nobody here)
            await asyncio.sleep(0.05)


@pytest.mark.skipif(os.environ.get("TREADLE_TEST_ENGINE") == "docker", reason="a dockerd ends its containers with it")
async def test_engine_that_is_restarted(contain: Contain, container_engine: Service, tmp_path: Path) -> None:
    """The container goes on, and so does its log; its end is learnt from the new one."""
    plane = await contain(
        "until [ -e /opt/ml/go ]; do echo tick; sleep 0.1; done; echo m > /opt/ml/model/m", wait=False
    )
    await plane.line("tick")
    await asyncio.to_thread(container_engine.restart)
    before = len(plane.log)
    await plane.until(lambda: len(plane.log) > before + 2)
    (tmp_path / "host/ml/go").touch()
    await plane.until(lambda: "ended" in plane.kinds)
    assert (plane.events[-1].outcome, model(plane)) == ("completed", {"m": b"m\n"})


async def test_image_that_cannot_be_had(contain: Contain) -> None:
    """AWS's words, then the registry's, then what to do."""
    ended = (await contain("true", reference="127.0.0.1:9/no/such:image")).events[-1]
    assert ended.failure_reason.startswith(
        "ClientError: Cannot pull algorithm container. Either the image does not exist or its permissions are incorrect."
    )
    assert "127.0.0.1:9" in ended.failure_reason
    assert "docker login" in ended.failure_reason


@pytest.mark.skipif(os.geteuid() != 0, reason="the engine's cgroups are root's")
async def test_network_isolation(contain: Contain) -> None:
    """A single host has nothing but itself."""
    plane = await contain(
        "tail -n +3 /proc/net/dev | cut -d: -f1; grep -w algo-1 /etc/hosts | head -n 1 | cut -f 1",
        request={"EnableNetworkIsolation": True},
    )
    assert [each.strip() for each in plane.program] == ["lo", "127.0.0.1"]
