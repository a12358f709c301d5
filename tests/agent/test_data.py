"""Whole jobs and their data: Pipe, FastFile, checkpoints both ways, interruptions, limits of memory and CPU."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import threading
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.agent.conftest import MakePlane, RunAgent
from tests.agent.plane import BUCKET, JOB, Plane, gone
from treadle.agent import staging
from treadle.agent.channels import Placement, plan
from treadle.agent.faults import CancelledStagingError, DataError
from treadle.agent.host import Host
from treadle.agent.main import open_objects
from treadle.agent.mirror import Mirror
from treadle.agent.sandbox.choice import choose
from treadle.agent.sandbox.entrance import TRIAL, Entrance
from treadle.agent.work import Tools
from treadle.errors import ObjectError
from treadle.launchers import cgroups
from treadle.objects.filesystem import FilesystemObjects
from treadle.seams import ObjectInfo

ML = 'ml="${SAGEMAKER_BASE_DIR:-/opt/ml}"\n'


def channel(mode: str, uri: str = f"s3://{BUCKET}/data", **members: Any) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri}
    return {
        "InputDataConfig": [
            {"ChannelName": "train", "InputMode": mode, "DataSource": {"S3DataSource": source}} | members
        ]
    }


# Pipe


async def test_pipe(make_plane: MakePlane, run_agent: RunAgent, sandbox: str) -> None:
    """A program reads epoch after epoch; its end is the end, though a feeder waits for the next reader."""
    plane = await make_plane(
        ML + 'cat "$ml/input/data/train_0"; head -c1 "$ml/input/data/train_1"; echo; ls "$ml/input/data"',
        sandbox=sandbox,
        request=channel("Pipe"),
    )
    await run_agent(plane)
    assert (plane.events[-1].outcome, plane.program[:3]) == ("completed", ["3,4", "1,2", "3"])
    assert set(plane.program[3:]) <= {"train_1", "train_2"}


async def test_stop_in_a_pipe(make_plane: MakePlane, run_agent: RunAgent, sandbox: str) -> None:
    """A program that is blocked on a FIFO is stopped like any other."""
    plane = await make_plane(
        ML
        + 'exec 3<"$ml/input/data/train_0"; echo ready; cat <&3 >/dev/null; cat "$ml/input/data/none" "$ml/input/data/train_9"; read x <"$ml/input/data/train_1"; while :; do sleep 0.02; done',
        sandbox=sandbox,
        request=channel("Pipe"),
    )
    agent = run_agent(plane)
    await plane.line("ready")
    await plane.command("stop")
    await agent
    assert plane.events[-1].outcome == "stopped"


async def test_pipe_whose_data_breaks(make_plane: MakePlane, run_agent: RunAgent) -> None:
    """The program is ended, and the reason is the data, not the program."""
    plane = await make_plane(
        ML + 'cat "$ml/input/data/train_0"; echo read', request=channel("Pipe", CompressionType="Gzip")
    )
    await run_agent(plane)
    ended = plane.events[-1]
    assert (ended.outcome, plane.program) == ("failed", [])
    assert ended.failure_reason.startswith("ClientError: Data download failed:s3://bucket/data/1.csv is not gzip")


# FastFile


async def test_fast_file(make_plane: MakePlane, run_agent: RunAgent, sandbox: str) -> None:
    """The data is seen, with its folders; where a sandbox can, it is shown where it lies and cannot be written to."""
    plane = await make_plane(
        ML
        + """
        cat "$ml"/input/data/train/part/0.csv
        touch "$ml"/input/data/train/x 2>/dev/null && echo written
        du -s --apparent-size "$ml"/input/data >/dev/null; echo done
        """,
        sandbox=sandbox,
        request=channel("FastFile"),
    )
    await run_agent(plane)
    written = ["written"] if sandbox == "plain" else []
    assert (plane.events[-1].outcome, plane.program) == ("completed", ["1,2", *written, "done"])
    assert any("the data is copied" in line for line in plane.log) == (sandbox == "plain")
    assert sorted(each.key for each in plane.objects.list(BUCKET, "data")) == ["data/1.csv", "data/part/0.csv"]


async def test_fast_file_that_cannot_be_shown(make_plane: MakePlane, run_agent: RunAgent, namespaces: str) -> None:
    """A key that no directory shows as it is: the channel is copied, and read-only all the same."""
    if namespaces:
        pytest.skip(namespaces)
    plane = await make_plane(
        "cat /opt/ml/input/data/train/a%b; touch /opt/ml/input/data/train/x || echo sealed",
        sandbox="namespace",
        request=channel("FastFile", f"s3://{BUCKET}/odd/"),
    )
    plane.objects.write(BUCKET, "odd/a%b", iter([b"odd\n"]))
    await run_agent(plane)
    assert plane.events[-1].outcome == "completed"
    assert (plane.program[0], plane.program[-1]) == ("odd", "sealed")
    assert any("channel train: the data is copied" in line for line in plane.log)


@pytest.mark.parametrize(
    ("uri", "outcome"),
    [
        pytest.param("data", ["train/1.csv", "train/part/0.csv"], id="folder"),
        pytest.param("data/", ["train/1.csv", "train/part/0.csv"], id="folder with its slash"),
        pytest.param("data/1.csv", ["train/1.csv"], id="file"),
        pytest.param("data/par", "For FastFile mode, partial S3 prefix is not supported.", id="part of a name"),
        pytest.param("dat", "S3 prefix has to end with a full file or folder.", id="part of a folder's name"),
        pytest.param("none", 'No S3 objects found under S3 URL "s3://bucket/none"', id="nothing"),
    ],
)
async def test_fast_file_prefixes(make_plane: MakePlane, uri: str, outcome: list[str] | str) -> None:
    """§1.6: a prefix names a whole file or folder."""
    plane = await make_plane("", request=channel("FastFile", f"s3://{BUCKET}/{uri}"))
    if isinstance(outcome, str):
        with pytest.raises(DataError, match=outcome.replace("(", r"\(")):
            plan(plane.spec, plane.objects)
        return
    assert [each.path for each in plan(plane.spec, plane.objects).files] == outcome
    shown = plan(plane.spec, plane.objects, mounts=True)
    if uri == "data/1.csv":
        assert shown.copied == ["train"]
    else:
        (mount,) = shown.mounts
        assert (mount.source, mount.target, mount.writable) == (
            plane.directory / "s3/bucket/data",
            "/opt/ml/input/data/train",
            False,
        )


async def test_sharded_fast_file_is_copied(make_plane: MakePlane) -> None:
    """A host's part of a directory is no directory."""
    request = channel("FastFile")
    request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    plane = await make_plane("", request=request, hosts=["algo-1", "algo-2"])
    made = plan(plane.spec, plane.objects, mounts=True)
    assert ([each.path for each in made.files], made.mounts) == (["train/1.csv"], [])


# File


async def test_a_program_cannot_write_through_its_copy(
    make_plane: MakePlane, run_agent: RunAgent, sandbox: str
) -> None:
    """What a program does to its data in File mode stays its own."""
    plane = await make_plane(
        ML
        + 'echo mine > "$ml"/input/data/train/1.csv; chmod 777 "$ml"/input/data/train/part/0.csv; cat "$ml"/input/data/train/1.csv',
        sandbox=sandbox,
        request=channel("File"),
    )
    await run_agent(plane)
    assert plane.program == ["mine"]
    assert b"".join(plane.objects.read(BUCKET, "data/1.csv")) == b"3,4\n"
    assert plane.objects.path(BUCKET, "data/part/0.csv").stat().st_mode & 0o111 == 0


def test_many_small_objects(tmp_path: Path) -> None:
    """Thousands of small objects arrive, each in its place."""
    objects = FilesystemObjects(tmp_path / "s3")
    objects.create_bucket(BUCKET)
    for number in range(3000):
        path = tmp_path / f"s3/{BUCKET}/data/{number % 30:02}/{number:04}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number))
    placements = [Placement(BUCKET, info, f"train/{info.key[5:]}") for info in objects.list(BUCKET, "data/")]
    staging.download(placements, objects, tmp_path / "ml", threading.Event())
    found = {int(each.stem): each.read_text() for each in (tmp_path / "ml/train").glob("*/*.txt")}
    assert found == {number: str(number) for number in range(3000)}


def test_cancelled(tmp_path: Path) -> None:
    """A stop is heard between two objects."""
    objects = FilesystemObjects(tmp_path / "s3")
    objects.create_bucket(BUCKET)
    info = objects.write(BUCKET, "a", iter([b"a"]))
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(CancelledStagingError):
        staging.download([Placement(BUCKET, info, "c/a")], objects, tmp_path / "ml", cancelled)
    assert not (tmp_path / "ml").exists()


def test_the_fault_of_one_ends_all(tmp_path: Path) -> None:
    """What is told is what was wrong, whatever else was under way; and nothing goes on for its sake."""
    objects = FilesystemObjects(tmp_path / "s3")
    objects.create_bucket(BUCKET)
    info = objects.write(BUCKET, "a", iter([b"a"]))
    absent = ObjectInfo("absent", 5 << 20, 0.0)
    many = [Placement(BUCKET, info, f"c/{number}") for number in range(2000)]
    with pytest.raises(DataError, match="absent"):
        staging.download([*many, Placement(BUCKET, absent, "c/absent")], objects, tmp_path / "ml", threading.Event())
    assert len(list((tmp_path / "ml/c").iterdir())) < 2000


def test_object_that_does_not_arrive_whole(tmp_path: Path) -> None:
    """What the store announced must be what is on the disk."""
    objects = FilesystemObjects(tmp_path / "s3")
    objects.create_bucket(BUCKET)
    objects.write(BUCKET, "a", iter([b"a"]))

    class Lying(FilesystemObjects):
        def head(self, bucket: str, key: str) -> ObjectInfo:  # noqa: ARG002  (the signature is the store's)
            return ObjectInfo(key, 5, 0.0)

    with pytest.raises(DataError, match='"s3://bucket/a" did not arrive whole: it has 1 bytes, 5 were announced'):
        staging.download(
            [Placement(BUCKET, ObjectInfo("a", 5, 0.0), "c/a")],
            Lying(tmp_path / "s3"),
            tmp_path / "ml",
            threading.Event(),
        )


# Checkpoints

CHECKPOINTS = {"InputDataConfig": [], "CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/ckpt/run"}}


async def kept(plane: Plane, wanted: dict[str, bytes]) -> None:
    """Wait until S3 has these checkpoints: nobody tells when it has."""
    async with asyncio.timeout(20):
        while checkpoints(plane) != wanted:  # noqa: ASYNC110  (a store of objects has no events)
            await asyncio.sleep(0.02)


def checkpoints(plane: Plane) -> dict[str, bytes]:
    found = {}
    for info in plane.objects.list(BUCKET, "ckpt/run/"):
        found[info.key.removeprefix("ckpt/run/")] = b"".join(plane.objects.read(BUCKET, info.key))
    return found


async def test_checkpoints_both_ways(make_plane: MakePlane, run_agent: RunAgent, sandbox: str) -> None:
    """Restored before the start; new and changed files go up while the program runs, deletions too, the rest at the end."""
    plane = await make_plane(
        ML
        + """
        cd "$ml/checkpoints"; find . -type f | sort; cat old/1
        echo 2 > old/2; rm old/1; mkdir new; echo n > new/n; ln -s /etc/passwd link; mkfifo pipe
        while [ ! -e "$ml/go" ]; do sleep 0.02; done
        echo last > last; rm new/n
        """,
        sandbox=sandbox,
        request=CHECKPOINTS,
    )
    plane.objects.write(BUCKET, "ckpt/run/old/1", iter([b"1\n"]))
    plane.objects.write(BUCKET, "ckpt/runner/other", iter([b"not ours"]))
    agent = run_agent(plane)
    await kept(plane, {"old/2": b"2\n", "new/n": b"n\n"})
    (plane.ml / "go").touch()
    await agent
    assert plane.program == ["./old/1", "1"]
    assert plane.events[-1].outcome == "completed"
    assert checkpoints(plane) == {"old/2": b"2\n", "last": b"last\n"}
    assert "ckpt/runner/other" in [each.key for each in plane.objects.list(BUCKET, "ckpt/")]


@pytest.mark.parametrize(
    ("script", "outcome"), [("exit 3", "failed"), ("kill -9 $$", "failed")], ids=["fails", "is killed"]
)
async def test_checkpoints_of_a_program_that_fails(
    make_plane: MakePlane, run_agent: RunAgent, script: str, outcome: str
) -> None:
    """However it ends, what it has written is kept."""
    plane = await make_plane(ML + 'echo c > "$ml/checkpoints/c"\n' + script, request=CHECKPOINTS)
    await run_agent(plane)
    assert (plane.events[-1].outcome, checkpoints(plane)) == (outcome, {"c": b"c\n"})


async def test_what_the_debugger_keeps(make_plane: MakePlane, run_agent: RunAgent, sandbox: str) -> None:
    """Tensors and TensorBoard's files go below the job's name as they are written; nothing is restored."""
    where = {"S3OutputPath": f"s3://{BUCKET}/kept/"}
    plane = await make_plane(
        ML
        + """
        ls "$ml/output/tensors" "$ml/output/tensorboard"
        echo t > "$ml/output/tensors/t"; mkdir "$ml/output/tensorboard/run"; echo e > "$ml/output/tensorboard/run/e"
        """,
        sandbox=sandbox,
        request={"DebugHookConfig": where, "TensorBoardOutputConfig": where},
    )
    plane.objects.write(BUCKET, f"kept/{JOB}/debug-output/old", iter([b"of an earlier attempt"]))
    await run_agent(plane)
    assert (plane.events[-1].outcome, plane.events[-1].failure_reason) == ("completed", "")
    assert "old" not in plane.program
    kept = {info.key: b"".join(plane.objects.read(BUCKET, info.key)) for info in plane.objects.list(BUCKET, "kept/")}
    assert kept == {
        f"kept/{JOB}/debug-output/old": b"of an earlier attempt",
        f"kept/{JOB}/debug-output/t": b"t\n",
        f"kept/{JOB}/tensorboard-output/run/e": b"e\n",
    }


async def test_manifests_beside_channels(make_plane: MakePlane, run_agent: RunAgent, sandbox: str) -> None:
    """What a channel is made of, other hosts' shares too; so for checkpoints. A channel of that name has its own files."""
    shard = {"S3Uri": f"s3://{BUCKET}/data", "S3DataType": "S3Prefix", "S3DataDistributionType": "ShardedByS3Key"}
    plane = await make_plane(
        ML + """cd "$ml/input/data"; ls; cat train-manifest checkpoints-manifest; ls train other-manifest""",
        sandbox=sandbox,
        request={
            **CHECKPOINTS,
            "InputDataConfig": [
                {"ChannelName": name, "DataSource": {"S3DataSource": shard}}
                for name in ("train", "other", "other-manifest")
            ],
        },
    )
    plane.objects.write(BUCKET, "ckpt/run/1", iter([b"1"]))
    await run_agent(plane)
    assert plane.program == [
        *("checkpoints-manifest", "other", "other-manifest", "other-manifest-manifest", "train", "train-manifest"),
        "data",
        f"s3://{BUCKET}/data/1.csv",
        f"s3://{BUCKET}/data/part/0.csv",
        "ckpt/run",
        f"s3://{BUCKET}/ckpt/run/1",
        *("other-manifest:", "1.csv", "part", "", "train:", "1.csv", "part"),
    ]


async def test_a_program_has_a_tmp_of_its_own(
    make_plane: MakePlane, run_agent: RunAgent, namespaces: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In /tmp and /dev/shm nothing of the machine is seen, and what is written there goes with the job."""
    if namespaces:
        pytest.skip(namespaces)
    monkeypatch.setenv("TMPDIR", "/somewhere/of/the/machine")
    name = f"treadle-{uuid.uuid4()}"  # nobody else's
    plane = await make_plane(
        f"cd /tmp; ls -A /tmp /dev/shm; stat -c %a /tmp /dev/shm; echo x > /tmp/{name}; echo y > /dev/shm/{name};"
        f'echo "<$TMPDIR>"; cat {name}',
        sandbox="namespace",
        image={"kind": "local", "environment": {}},
    )
    await run_agent(plane)
    # Of a checkout that lies there the program needs the interpreter.
    needed = Path(sys.prefix).parts[2:3] if Path(sys.prefix).is_relative_to("/tmp") else ()
    assert plane.program == ["/dev/shm:", "", "/tmp:", *needed, "1777", "1777", "<>", "x"]
    assert not Path("/dev/shm", name).exists()
    assert not Path("/tmp", name).exists()
    assert list((plane.directory / "host").glob(f"*/{name}")) == []


@pytest.mark.parametrize("environment", [True, False])
async def test_a_virtual_environment_in_tmp_can_be_used(
    make_plane: MakePlane, run_agent: RunAgent, namespaces: str, *, environment: bool
) -> None:
    """A program that lies in one is found, and all of the environment with it; of the rest of /tmp nothing is."""
    if namespaces:
        pytest.skip(namespaces)
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        root = Path(place)
        (root / "bin").mkdir()
        (root / "bin/program").write_text(f"#!/bin/sh\ncat {place}/lib\n")
        (root / "bin/program").chmod(0o755)
        (root / "lib").write_text("found\n")
        if environment:
            (root / "pyvenv.cfg").touch()
        image = {"kind": "local", "environment": {}}
        plane = await make_plane("", command=[f"{place}/bin/program"], sandbox="namespace", image=image)
        await run_agent(plane)
    assert (plane.program == ["found"]) is environment
    assert ("exit code: 127" in plane.events[-1].failure_reason) is not environment


def shared(mode: str, path: str = "/a") -> dict[str, Any]:
    """Give a channel of a file system."""
    its = {"FileSystemId": "fs-01234567", "FileSystemType": "EFS", "FileSystemAccessMode": mode, "DirectoryPath": path}
    return {"InputDataConfig": [{"ChannelName": "shared", "DataSource": {"FileSystemDataSource": its}}]}


@pytest.mark.parametrize("mode", ["ro", "rw"])
async def test_file_systems(
    make_plane: MakePlane, run_agent: RunAgent, namespaces: str, place: Path, mode: str
) -> None:
    """A directory of the machine is the channel, as it is; only with rw can it be written to."""
    if namespaces:
        pytest.skip(namespaces)
    (place / "a/b").mkdir(parents=True)
    (place / "a/b/file").write_text("content\n")
    (place / "secret").touch()
    plane = await make_plane(
        'cd /opt/ml/input/data; find . -type f; cat shared/b/file; (echo n > shared/new) 2>/dev/null || echo "read only"; '
        "cat ../config/inputdataconfig.json",
        sandbox="namespace",
        request=shared(mode),
        file_systems={"fs-01234567": str(place)},
    )
    await run_agent(plane)
    config = '{"shared":{"TrainingInputMode":"File","S3DistributionType":"FullyReplicated","RecordWrapperType":"None"}}'
    assert plane.program == ["./shared/b/file", "content", *(["read only"] if mode == "ro" else []), config]
    assert (place / "a/new").exists() == (mode == "rw")


async def test_file_systems_that_cannot_be_had(
    make_plane: MakePlane, run_agent: RunAgent, tmp_path: Path, sandbox: str
) -> None:
    """The sandbox that cannot show them says so; what has gone since the job was created is told."""
    plane = await make_plane("true", sandbox=sandbox, request=shared("ro"), file_systems={"fs-01234567": str(tmp_path)})
    await run_agent(plane)
    said = (
        "this sandbox cannot show a file system."
        if sandbox == "plain"
        else 'there is no directory "/a" in the file system fs-01234567.'
    )
    assert plane.events[-1].failure_reason == f'ClientError: Data download failed:Channel "shared": {said}'


@pytest.mark.parametrize("path", ["/srv", "/tmp/treadle-checkpoints/deep/"])
async def test_checkpoints_elsewhere(make_plane: MakePlane, run_agent: RunAgent, namespaces: str, path: str) -> None:
    """LocalPath may be another directory of the machine, which then is covered and untouched, or one in /tmp."""
    if namespaces:
        pytest.skip(namespaces)
    request = CHECKPOINTS | {"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/ckpt/run/", "LocalPath": path}}
    plane = await make_plane(f"cat {path}/old; echo c > {path}/c", request=request, sandbox="namespace")
    plane.objects.write(BUCKET, "ckpt/run/old", iter([b"old\n"]))
    before = sorted(Path("/srv").iterdir())
    await run_agent(plane)
    assert (plane.events[-1].outcome, plane.program) == ("completed", ["old"])
    assert checkpoints(plane) == {"old": b"old\n", "c": b"c\n"}
    assert sorted(Path("/srv").iterdir()) == before
    assert not Path("/tmp/treadle-checkpoints").exists()
    assert not (plane.directory / "host/checkpoints").exists()


@pytest.mark.parametrize("path", ["/opt/ml/../../evil", "/no/such/directory", "/opt/ml"])
async def test_checkpoints_that_have_no_place(make_plane: MakePlane, run_agent: RunAgent, path: str) -> None:
    """Nothing is made on the machine outside the job's directory."""
    request = CHECKPOINTS | {"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/ckpt", "LocalPath": path}}
    plane = await make_plane("echo started", request=request)
    await run_agent(plane)
    assert "CheckpointConfig.LocalPath" in plane.events[-1].failure_reason
    assert not Path("/no").exists()


def test_checkpoints_that_cannot_be_kept(tmp_path: Path) -> None:
    """It is said once, tried again, and an error only at the last look."""

    class Full(FilesystemObjects):
        full = True

        def upload(self, path: Path, bucket: str, key: str) -> ObjectInfo:
            if self.full:
                raise ObjectError("no room")
            return super().upload(path, bucket, key)

    objects = Full(tmp_path / "s3")
    objects.create_bucket(BUCKET)
    said: list[str] = []
    made = Mirror(objects, f"s3://{BUCKET}/c", tmp_path / "here", said.append, "checkpoint")
    made.begin()
    made.restore(made.find(), threading.Event())
    (tmp_path / "here/a").write_text("a")
    (tmp_path / "here" / os.fsdecode(b"\xff")).write_text("no name")
    for _ in range(4):
        made.sync()
    assert said == [
        "checkpoint b'\\xff' is not kept: its name is not UTF-8",
        "checkpoint a cannot be kept now: no room",
    ]
    with pytest.raises(ObjectError, match="no room"):
        made.sync(last=True)
    objects.full = False
    made.sync(last=True)
    assert [each.key for each in objects.list(BUCKET)] == ["c/a"]


def test_a_file_that_is_being_written_waits(tmp_path: Path) -> None:
    """It goes up when two looks have seen it the same, at the last look in any case."""
    objects = FilesystemObjects(tmp_path / "s3")
    objects.create_bucket(BUCKET)
    made = Mirror(objects, f"s3://{BUCKET}", tmp_path / "here", lambda _: None, "checkpoint")
    made.begin()
    made.restore(made.find(), threading.Event())
    for size in (1, 2, 3):
        (tmp_path / "here/a").write_bytes(b"x" * size)
        made.sync()
        assert list(objects.list(BUCKET)) == []
    made.sync()
    assert [each.size for each in objects.list(BUCKET)] == [3]


# Interruption


async def test_interruption(make_plane: MakePlane, run_agent: RunAgent, sandbox: str) -> None:
    """SIGTERM, then only the checkpoints are kept, also what the program saves in the last moment."""
    plane = await make_plane(
        ML
        + """
        trap 'echo saved > "$ml/checkpoints/c"; exit 0' TERM
        echo m > "$ml/model/m"; echo ready; while :; do sleep 0.02; done
        """,
        sandbox=sandbox,
        request=CHECKPOINTS,
    )
    agent = run_agent(plane)
    await plane.line("ready")
    await plane.command("interrupt")
    await agent
    ended = plane.events[-1]
    assert (plane.kinds, ended.outcome, ended.outputs) == (
        ["downloading", "training", "stopping", "ended"],
        "interrupted",
        [],
    )
    assert checkpoints(plane) == {"c": b"saved\n"}


async def test_a_stop_overtakes_an_interruption(make_plane: MakePlane, run_agent: RunAgent) -> None:
    """Then the model is kept."""
    plane = await make_plane(
        ML + 'trap "echo going" TERM; echo m > "$ml/model/m"; echo ready; while [ ! -e "$ml/go" ]; do sleep 0.02; done',
        stop_grace=10.0,
    )
    agent = run_agent(plane)
    await plane.line("ready")
    await plane.command("interrupt")
    await plane.line("going")
    await plane.command("stop")
    await plane.change(lambda: None)
    reports = plane.reports
    await plane.until(lambda: plane.reports > reports + 1)
    (plane.directory / "host/ml/go").touch()
    await agent
    assert (plane.events[-1].outcome, len(plane.events[-1].outputs)) == ("stopped", 1)


# Limits


@pytest.fixture
def limits(tmp_path: Path) -> str:
    """Say why there are no control groups here, "" when there are."""
    group = cgroups.create(f"treadle-{uuid.uuid4()}", tmp_path / "trial.json", cpus=1, memory=1 << 30)
    group.remove()
    return group.problem


Make = Callable[..., Awaitable[Plane]]


async def test_memory(make_plane: Make, run_agent: RunAgent, sandbox: str, limits: str) -> None:
    """A program that takes more memory than its instance has is killed, and the reason says so; the group is gone."""
    if limits:
        pytest.skip(limits)
    plane = await make_plane(
        "", command=["python", "-c", "x = bytearray(300 << 20)"], sandbox=sandbox, memory=128 << 20, cpus=0.5
    )
    agent = run_agent(plane)
    await agent
    ended = plane.events[-1]
    assert ended.failure_reason == (
        "AlgorithmError: a process was killed because the program took more than the 0.1 GB of memory that its instance "
        "has, exit code: 137"
    )
    for each in (plane.directory / "host" / cgroups.RECORD).read_text().strip("[]").split(","):
        assert not Path(each.strip('"')).exists()


async def test_cpus(make_plane: Make, run_agent: RunAgent, limits: str) -> None:
    """The program is in a group with its instance's CPUs, in v2 and v1."""
    if limits:
        pytest.skip(limits)
    script = 'grep -h treadle- /proc/self/cgroup | sed "s/^[0-9]*://" | sort'
    plane = await make_plane(script, cpus=1.5, memory=256 << 20)
    await run_agent(plane)
    assert [line.partition(":")[0] for line in plane.program] in (["cpu", "memory"], [""])


async def test_without_limits(make_plane: Make, run_agent: RunAgent) -> None:
    """The whole machine needs no group."""
    plane = await make_plane("true")
    await run_agent(plane)
    assert not (plane.directory / "host" / cgroups.RECORD).exists()


async def test_killed_agent_leaves_a_record(make_plane: Make, start_agent: Any, limits: str) -> None:
    """Whoever cleans up after a killed agent finds its control groups."""
    if limits:
        pytest.skip(limits)
    plane = await make_plane("echo $$; exec sleep 600", cpus=0.5)
    agent = start_agent(plane)
    pid = int(await _first(plane))
    agent.kill()
    await asyncio.to_thread(agent.wait)
    assert await gone(pid)
    record = plane.directory / "host" / cgroups.RECORD
    (group,) = [Path(each) for each in json.loads(record.read_text())]
    assert group.is_dir()
    await asyncio.to_thread(cgroups.remove_recorded, record)
    assert not group.exists()


async def test_a_group_whose_program_never_came(make_plane: Make, limits: str) -> None:
    """Who was up to start the program goes, and the group after it."""
    if limits:
        pytest.skip(limits)
    entrance = Entrance({}, TRIAL)
    nothing = channel("File", f"s3://{BUCKET}/none")
    plane = await make_plane("echo started", cpus=0.5, sandbox="auto", request=nothing)
    (plane.directory / "host").mkdir()
    await Host(plane.launch(), Tools(open_objects, partial(choose, entrance=entrance), entrance=entrance)).run()
    assert (plane.events[-1].outcome, plane.program, entrance.popen.returncode) == ("failed", [], -signal.SIGKILL)
    (group,) = [Path(each) for each in json.loads((plane.directory / "host" / cgroups.RECORD).read_text())]
    assert not group.exists()


async def _first(plane: Plane) -> str:
    await plane.until(lambda: plane.program)
    return plane.program[0]
