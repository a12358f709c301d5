"""The agent's small deciding parts: configuration files, environment, placement, metrics, failure texts, the volume."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.agent.plane import make_spec
from treadle.agent import contract, failure, volume
from treadle.agent.channels import DataError, Placement, manifest, place, plan, split_uri
from treadle.launchers import gpus
from treadle.objects.filesystem import FilesystemObjects
from treadle.seams import HostSpec, ObjectInfo
from treadle.training.metrics import Metrics


def config(spec: HostSpec, directory: Path, name: str) -> bytes:
    contract.lay_out(directory / "ml", spec)
    return (directory / "ml/input/config" / name).read_bytes()


# Configuration files


def test_files_byte_for_byte(tmp_path: Path) -> None:
    """The two files whose size is known from a real job come out with exactly these bytes (§1.3)."""
    channel: dict[str, Any] = {"ChannelName": "training", "DataSource": {"S3DataSource": {"S3Uri": "s3://b/k"}}}
    spec = make_spec(
        tmp_path,
        "",
        request={
            "HyperParameters": {},
            "InputDataConfig": [channel],
            "ResourceConfig": {"InstanceType": "ml.g4dn.12xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1},
        },
    )
    inputs = config(spec, tmp_path, "inputdataconfig.json")
    resources = config(spec, tmp_path, "resourceconfig.json")
    assert inputs == (
        b'{"training":{"TrainingInputMode":"File","S3DistributionType":"FullyReplicated","RecordWrapperType":"None"}}'
    )
    assert resources == (
        b'{"current_host":"algo-1","current_instance_type":"ml.g4dn.12xlarge",'
        b'"current_group_name":"homogeneousCluster","hosts":["algo-1"],"instance_groups":'
        b'[{"instance_group_name":"homogeneousCluster","instance_type":"ml.g4dn.12xlarge","hosts":["algo-1"]}],'
        b'"network_interface_name":"eth0"}'
    )
    assert (len(inputs), len(resources)) == (107, 280)
    assert config(spec, tmp_path, "hyperparameters.json") == b"{}"
    assert config(spec, tmp_path, "metric-definition-regex.json") == b"{}"
    assert sorted(each.name for each in (tmp_path / "ml").iterdir()) == ["input", "model", "output"]


def test_files_of_a_fuller_job(tmp_path: Path) -> None:
    """A content type comes first; a channel's own mode counts; hosts are sorted as strings; checkpoints have a name."""
    channel: dict[str, Any] = {
        "ChannelName": "train",
        "ContentType": "text/csv",
        "InputMode": "FastFile",
        "DataSource": {"S3DataSource": {"S3Uri": "s3://b/k", "S3DataDistributionType": "ShardedByS3Key"}},
    }
    spec = make_spec(
        tmp_path,
        "",
        hosts=["algo-1", "algo-10", "algo-2"],
        host="algo-10",
        request={
            "InputDataConfig": [channel],
            "CheckpointConfig": {"S3Uri": "s3://b/c"},
            "HyperParameters": {"é": "ü"},
        },
    )
    assert config(spec, tmp_path, "inputdataconfig.json") == (
        b'{"train":{"ContentType":"text/csv","TrainingInputMode":"FastFile","S3DistributionType":"ShardedByS3Key",'
        b'"RecordWrapperType":"None"}}'
    )
    assert b'"hosts":["algo-1","algo-10","algo-2"]' in config(spec, tmp_path, "resourceconfig.json")
    assert config(spec, tmp_path, "checkpointconfig.json") == b'{"LocalPath":"/opt/ml/checkpoints"}'
    assert config(spec, tmp_path, "hyperparameters.json").decode() == '{"é":"ü"}'


def test_files_of_the_debugger(tmp_path: Path) -> None:
    """As in jobs of 2020 and 2022, whose names had 40 characters and whose files 217 and 220 bytes."""
    job = "jparacrawl-train-2022-09-27-12-26-47-123"
    where = "s3://sagemaker-us-east-1-123456789012/jparacrawl/output"
    spec = make_spec(
        tmp_path,
        "",
        request={
            "TrainingJobName": job,
            "DebugHookConfig": {"S3OutputPath": where, "CollectionConfigurations": []},
            "ProfilerConfig": {
                "S3OutputPath": where,
                "ProfilingIntervalInMilliseconds": 500,
                "DisableProfiler": False,
            },
            "TensorBoardOutputConfig": {"S3OutputPath": f"{where}/"},
        },
    )
    hook = config(spec, tmp_path, "debughookconfig.json")
    profiler = config(spec, tmp_path, "profilerconfig.json")
    assert hook.decode() == (
        f'{{"S3OutputPath":"{where}/{job}/debug-output","LocalPath":"/opt/ml/output/tensors","HookParameters":null,'
        '"CollectionConfigurations":[]}'
    )
    assert profiler.decode() == (
        f'{{"S3OutputPath":"{where}/{job}/profiler-output","ProfilingIntervalInMilliseconds":500,'
        '"ProfilingParameters":null,"DisableProfiler":false}'
    )
    assert (len(hook), len(profiler)) == (217, 220)
    assert config(spec, tmp_path, "tensorboardoutputconfig.json").decode() == (
        f'{{"S3OutputPath":"{where}/{job}/tensorboard-output","LocalPath":"/opt/ml/output/tensorboard/"}}'
    )


def test_a_manifest_beside_a_channel() -> None:
    """As in a job of 2022, whose manifest of six objects had 478 bytes."""
    prefix = "jparacrawl/training"
    names = ("jparacrawl.vocab.src", "jparacrawl.vocab.tgt", "train.en", "train.ja", "val.en", "val.ja")
    found = [
        Placement("sagemaker-us-east-1-123456789012", ObjectInfo(f"{prefix}/en-ja/{name}", 1, 0.0), f"training/{name}")
        for name in names
    ]
    text = manifest(prefix, found)
    assert len(text) == 478
    assert text.splitlines()[:2] == [
        prefix,
        "s3://sagemaker-us-east-1-123456789012/jparacrawl/training/en-ja/jparacrawl.vocab.src",
    ]


def test_instance_groups(tmp_path: Path) -> None:
    """Hosts are dealt to groups in order, by number; a host knows its own group."""
    groups = [
        {"InstanceGroupName": "a", "InstanceType": "ml.m5.large", "InstanceCount": 2},
        {"InstanceGroupName": "b", "InstanceType": "ml.p3.2xlarge", "InstanceCount": 1},
    ]
    spec = make_spec(
        tmp_path,
        "",
        hosts=["algo-1", "algo-2", "algo-3"],
        host="algo-3",
        request={"ResourceConfig": {"InstanceGroups": groups}},
    )
    assert [each["hosts"] for each in contract.instance_groups(spec)] == [["algo-1", "algo-2"], ["algo-3"]]
    assert b'"current_group_name":"b"' in config(spec, tmp_path, "resourceconfig.json")


# The environment


def test_environment(tmp_path: Path) -> None:
    """The request's variables count most, save for the job's name; of the machine's only the harmless are passed on."""
    spec = make_spec(
        tmp_path,
        "",
        request={"Environment": {"FROM_IMAGE": "no", "TRAINING_JOB_NAME": "no", "AWS_REGION": "eu-west-1"}},
    )
    made = contract.environment(spec, {"HOME": "/h", "PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "s"})
    assert made == {
        "HOME": "/h",
        "PATH": f"{Path(sys.executable).parent}:/bin",
        "FROM_IMAGE": "no",
        "FROM_JOB": "yes",
        "AWS_REGION": "eu-west-1",
        "SAGEMAKER_METRICS_DIRECTORY": "/opt/ml/output/metrics/sagemaker",
        **gpus.environment([], gpus.devices()),  # where there are any, CUDA is told to see none
        "NVIDIA_VISIBLE_DEVICES": "void",
        "TRAINING_JOB_NAME": "job-1",
        "TRAINING_JOB_ARN": spec.arn,
    }


OWN = str(Path(sys.executable).parent)


@pytest.mark.parametrize(
    ("image", "machine", "path"),
    [
        pytest.param(None, "/bin", f"{OWN}:/bin", id="machine"),
        pytest.param(None, f"{OWN}:/bin", f"{OWN}:/bin", id="machine-has-it"),
        pytest.param("/opt/venv/bin:/bin", "/usr/bin", f"/opt/venv/bin:/bin:{OWN}", id="image"),
        pytest.param(f"/opt/venv/bin:{OWN}", "/usr/bin", f"/opt/venv/bin:{OWN}", id="image-has-it"),
    ],
)
def test_path(tmp_path: Path, image: str | None, machine: str, path: str) -> None:
    """The interpreter that runs Treadle comes before the machine's, and after what the image says."""
    spec = make_spec(tmp_path, "")
    own = msgspec.structs.replace(spec, image={**spec.image, "environment": {"PATH": image} if image else {}})
    assert contract.environment(own, {"PATH": machine})["PATH"] == path


@pytest.mark.parametrize(
    ("argv", "first"),
    [
        pytest.param(("python", "train.py"), "python", id="the-image's"),
        pytest.param(("python", "-m", "treadle.training.algorithms.script"), sys.executable, id="treadle's"),
        pytest.param(("/bin/sh", "-c", "true"), "/bin/sh", id="another"),
    ],
)
def test_interpreter(tmp_path: Path, argv: tuple[str, ...], first: str) -> None:
    """An image with a PATH has its own `python`; programs of Treadle run with the one that has Treadle."""
    (tmp_path / "python").touch(mode=0o755)
    spec = make_spec(tmp_path, "")
    own = msgspec.structs.replace(spec, command=argv, image={**spec.image, "environment": {"PATH": str(tmp_path)}})
    assert contract.command(own) == (first, *argv[1:])


# Data


@pytest.mark.parametrize(
    ("prefix", "key", "path"),
    [
        pytest.param("d/train", "d/train/a.csv", "c/a.csv", id="folder"),
        pytest.param("d/train/", "d/train/x/a.csv", "c/x/a.csv", id="folder-with-slash"),
        pytest.param("d/a.csv", "d/a.csv", "c/a.csv", id="object"),
        pytest.param("d/tr", "d/train/a.csv", "c/train/a.csv", id="part-of-a-name"),
        pytest.param("", "a/b", "c/a/b", id="bucket"),
        pytest.param("d/train/", "d/train/", None, id="marker-of-the-folder"),
        pytest.param("d", "d/sub/", "c/sub/", id="marker-of-a-sub-folder"),
        pytest.param("d", "d/...", "c/...", id="dots-that-are-a-name"),
    ],
)
def test_place(prefix: str, key: str, path: str | None) -> None:
    """Files lie where AWS puts them (§1.6)."""
    assert place("c", prefix, key) == path


@pytest.mark.parametrize(
    ("channel", "prefix", "key"),
    [
        ("c", "d", "d/../x"),
        ("c", "d/", "d/.."),
        ("c", "d/", "d//etc/x"),
        ("c", "", "/etc/x"),
        ("c", "d", "d/./x"),
        ("c", "d", "d/a\0b"),
        ("c", "d/..", "d/.."),
        ("..", "d", "d/x"),
        (".", "d", "d/x"),
    ],
)
def test_place_refuses(channel: str, prefix: str, key: str) -> None:
    """No key, prefix or channel name leads out of the channel."""
    with pytest.raises(DataError):
        place(channel, prefix, key)


@pytest.mark.parametrize("uri", ["", "s3://", "s3:///key", "https://b/k", "/b/k"])
def test_no_s3_uri(uri: str) -> None:
    with pytest.raises(DataError, match="is not an s3:// URI"):
        split_uri(uri)


def source(**members: str) -> dict[str, Any]:
    return {"InputDataConfig": [{"ChannelName": "c", "DataSource": {"S3DataSource": members}}]}


def test_sharded(tmp_path: Path) -> None:
    """Each object goes to exactly one host."""
    paths = []
    for host in ("algo-1", "algo-2"):
        request = source(S3Uri="s3://bucket/data/", S3DataDistributionType="ShardedByS3Key")
        spec = make_spec(tmp_path, "", hosts=["algo-1", "algo-2"], host=host, request=request)
        (tmp_path / "image").rmdir()
        paths.append([each.path for each in plan(spec, FilesystemObjects(tmp_path / "s3")).files])
    assert paths == [["c/1.csv"], ["c/part/0.csv"]]


@pytest.mark.parametrize(
    ("manifest", "outcome"),
    [
        (b'[{"prefix": "s3://bucket/data/"}, "1.csv", "part/0.csv"]', ["c/1.csv", "c/part/0.csv"]),
        (b'[{"prefix": "s3://bucket/data/"}, "absent"]', "absent"),
        (b'[{"prefix": "s3://bucket/data/"}, 1]', "not strings"),
        (b'{"prefix": 1}', "not a JSON array"),
        (b"\xff", "not a JSON array"),
    ],
)
def test_manifest(tmp_path: Path, manifest: bytes, outcome: list[str] | str) -> None:
    """A manifest's objects are placed relative to its prefix; one that is wrong says how."""
    spec = make_spec(tmp_path, "", request=source(S3Uri="s3://bucket/m.json", S3DataType="ManifestFile"))
    objects = FilesystemObjects(tmp_path / "s3")
    objects.write("bucket", "m.json", iter([manifest]))
    if isinstance(outcome, str):
        with pytest.raises(DataError, match=outcome):
            plan(spec, objects)
    else:
        assert [each.path for each in plan(spec, objects).files] == outcome


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (source(S3Uri="s3://none/x"), "none"),
        (source(S3Uri="s3://bucket/data", S3DataType="AugmentedManifestFile"), "AugmentedManifestFile"),
        ({"InputDataConfig": [{"ChannelName": "c", "DataSource": {}}]}, "neither an S3DataSource"),
    ],
)
def test_channels_that_are_refused(tmp_path: Path, request_: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        plan(make_spec(tmp_path, "", request=request_), FilesystemObjects(tmp_path / "s3"))


# Metrics


def test_metrics() -> None:
    """Group 1, the last match, as a 32-bit float, at whole seconds; what is no number is no value."""
    metrics = Metrics([{"Name": "loss", "Regex": r"loss=(\S+)"}, {"Name": "acc", "Regex": "acc: ([0-9.]+)"}])
    for at, line in enumerate(["loss=3", "loss=1.198760", "nothing", "loss=nan", "loss=x", "loss=1e99"]):
        metrics.observe(line, 10.5 + at)
    assert metrics.last() == {"loss": [1.1987600326538086, 11.0]}


def test_metrics_that_look_around() -> None:
    """What the linear-time engine cannot take is taken all the same, while it does not need too long for a line."""
    metrics = Metrics(
        [
            {"Name": "loss", "Regex": "(?<!val_)loss: ([0-9.]+)"},
            {"Name": "slow", "Regex": "^(?=a)((?:a|aa)+)$"},
            {"Name": "val", "Regex": "val_loss: ([0-9.]+)"},
        ]
    )
    metrics.observe("val_loss: 0.75 loss: 0.5", 1.0)
    metrics.observe("a" * 60 + "!", 2.0)
    metrics.observe("val_loss: 0.25", 3.0)
    assert metrics.last() == {"loss": [0.5, 1.0], "val": [0.25, 3.0]}
    assert (metrics.refused, metrics.given_up) == ([], ["slow"])


@pytest.mark.parametrize("regex", ["(?<=a+", "(", "no group", "(?=x)((a{1000}){1000})"])
def test_metrics_that_are_refused(regex: str) -> None:
    """What is no expression with a group is left out by name."""
    metrics = Metrics([{"Name": "m", "Regex": regex}])
    metrics.observe("ab", 1.0)
    assert metrics.last() == {}
    assert metrics.refused[0].startswith("m: ")


# Failure texts


@pytest.mark.parametrize(
    ("said", "code", "tail", "reason"),
    [
        ("why", 1, ["x"], "AlgorithmError: why, exit code: 1"),
        ("", 1, [], "AlgorithmError: , exit code: 1"),
        ("", 1, ["a", "", "b"], "AlgorithmError: , exit code: 1\na\nb"),
        ("", 139, [], "AlgorithmError: , exit code: 139\nkilled by signal 11 (SIGSEGV)"),
        ("", 255, [], "AlgorithmError: , exit code: 255"),
        ("Customer Error: why", 2, [], "ClientError: why, exit code: 2"),
        ("Customer Error: why", 1, [], "AlgorithmError: Customer Error: why, exit code: 1"),
        ("why", 2, [], "AlgorithmError: why, exit code: 2"),
        ("Customer Error: " + "x" * 2000, 2, [], f"ClientError: {'x' * 997}, exit code: 2"),
    ],
)
def test_algorithm_error(said: str, code: int, tail: list[str], reason: str) -> None:
    assert failure.algorithm_error(said, code, tail) == reason


TRACEBACK = ["Traceback (most recent call last):", '  File "train.py", line 1, in <module>', "ValueError: no label"]


def test_a_traceback_is_not_lost() -> None:
    """What Python had buffered comes after it, and hides it only while both fit."""
    few, many = ["step 1", "step 2"], [f"step {number}" for number in range(500)]
    told = "\n".join(["AlgorithmError: , exit code: 1", *TRACEBACK])
    assert failure.algorithm_error("", 1, [*TRACEBACK, *few]) == "\n".join([told, *few])
    assert failure.algorithm_error("", 1, [*TRACEBACK, *many]) == told
    assert failure.algorithm_error("", 1, [*many, *TRACEBACK]).endswith("\n".join(["step 499", *TRACEBACK]))
    assert failure.algorithm_error("", 1, [*many, *TRACEBACK[:2]]).endswith(TRACEBACK[1])
    assert failure.algorithm_error("", 1, [*TRACEBACK[:2], "KeyError: " + "x" * 2000, *many])[-2000:].endswith("xxx")


def test_algorithm_error_fits() -> None:
    """1024 characters at most: whole last lines, the exit code always."""
    long = failure.algorithm_error("é" * 5000, 12)
    assert (len(long), long[-15:]) == (1024, ", exit code: 12")
    lines = failure.algorithm_error("", 1, [f"line {number:04}" for number in range(500)])
    assert len(lines) <= 1024
    assert lines.splitlines()[-1] == "line 0499"
    assert all(len(each) == 9 for each in lines.splitlines()[1:])
    assert len(failure.algorithm_error("", 1, ["x" * 5000])) == 1024


def test_failure_file(tmp_path: Path) -> None:
    """The first 1024 characters of a regular file; a link to somebody's secret is not followed."""
    (tmp_path / "output").mkdir()
    assert failure.failure_file(tmp_path) == ""
    (tmp_path / "output/failure").write_text("é" * 2000)
    assert failure.failure_file(tmp_path) == "é" * 1024
    (tmp_path / "secret").write_text("s")
    (tmp_path / "output/failure").unlink()
    (tmp_path / "output/failure").symlink_to(tmp_path / "secret")
    assert failure.failure_file(tmp_path) == ""


# The volume


def test_volume(tmp_path: Path) -> None:
    """Blocks on the disk are counted, holes and what links point to are not."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/data").write_bytes(b"x" * 100_000)
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "link").symlink_to("/")
    assert 100_000 <= volume.used(tmp_path) < 200_000
    assert volume.problem([tmp_path], 200_000) == ""
    assert "VolumeSizeInGB" in volume.problem([tmp_path], 200_000, coming=200_000)
    assert "must stay free" in volume.problem([tmp_path], 1 << 62, coming=1 << 61)
    assert volume.used(tmp_path / "absent") == 0
    assert volume.free_floor(100 << 30) == 1 << 30
    assert volume.free_floor(10 << 30) < 1 << 30
