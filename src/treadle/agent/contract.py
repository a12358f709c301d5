"""The training container's contract: the tree below `/opt/ml`, its configuration files, the environment, the command.

Byte for byte as in the reference §1.1–1.4. `msgspec` writes what the files need: compact, in the keys' order, UTF-8.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from treadle.agent.interfaces import interface_of
from treadle.launchers import gpus
from treadle.seams import HostSpec, Json
from treadle.training import hosts

__all__ = [
    "Channel",
    "Followed",
    "channels",
    "command",
    "environment",
    "followed",
    "in_container",
    "instance_groups",
    "lay_out",
    "on_several_machines",
]

_METRICS_DIRECTORY = "output/metrics/sagemaker"
_DIRECTORIES = ("input/config", "input/data", "model", "output/data", _METRICS_DIRECTORY)
_CHECKPOINTS = "/opt/ml/checkpoints"

# What the Debugger's members put below their S3OutputPath, and where it is by default; as seen in real jobs' files.
_DEBUGGER = {
    "DebugHookConfig": ("debug-output", "/opt/ml/output/tensors", "Debugger output"),
    "TensorBoardOutputConfig": ("tensorboard-output", "/opt/ml/output/tensorboard/", "TensorBoard output"),
}

# What a program gets from the machine: enough to run, nothing that tells whose machine it is.
_INHERITED = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "TMPDIR", "TZ")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Channel:
    """An input channel of the request, with the defaults of the job filled in.

    `s3` is its S3DataSource, `file_system` its FileSystemDataSource; one of them has nothing in it.
    """

    name: str
    mode: str
    s3: Mapping[str, Json]
    content_type: str | None
    record_wrapper: str
    compression: str = "None"
    seed: int | None = None
    file_system: Mapping[str, Json] = field(default_factory=dict)

    @property
    def data_type(self) -> str:
        """`S3Prefix`, `ManifestFile` or `AugmentedManifestFile`."""
        return str(self.s3.get("S3DataType", "S3Prefix"))

    @property
    def distribution(self) -> str:
        """`FullyReplicated` or `ShardedByS3Key`."""
        return str(self.s3.get("S3DataDistributionType", "FullyReplicated"))


@dataclass(frozen=True, slots=True)
class Followed:
    """A directory of the program whose files go to S3 while it runs: the member that asks for it, where, where to.

    `what` one of its files is; `restored` says whether what is in S3 already is brought first.
    """

    member: str
    local: str
    uri: str
    what: str
    restored: bool = False


def followed(request: Mapping[str, Json]) -> list[Followed]:
    """Give the directories of CheckpointConfig, DebugHookConfig and TensorBoardOutputConfig."""
    made = []
    if config := request.get("CheckpointConfig"):
        local = config.get("LocalPath", _CHECKPOINTS)
        made.append(Followed("CheckpointConfig", local, config["S3Uri"], "checkpoint", restored=True))
    for member, (name, local, what) in _DEBUGGER.items():
        if config := request.get(member):
            made.append(Followed(member, config.get("LocalPath", local), _below(request, member, name), what))
    return made


def _below(request: Mapping[str, Json], member: str, name: str) -> str:
    return f"{request[member]['S3OutputPath'].rstrip('/')}/{request['TrainingJobName']}/{name}"


def channels(request: Mapping[str, Json]) -> Iterator[Channel]:
    """Give the channels of a CreateTrainingJob input, in its order."""
    mode = request.get("AlgorithmSpecification", {}).get("TrainingInputMode", "File")
    for each in request.get("InputDataConfig") or ():
        yield Channel(
            name=each["ChannelName"],
            mode=each.get("InputMode", mode),
            s3=each["DataSource"].get("S3DataSource", {}),
            content_type=each.get("ContentType"),
            record_wrapper=each.get("RecordWrapperType", "None"),
            compression=each.get("CompressionType", "None"),
            seed=each["ShuffleConfig"]["Seed"] if each.get("ShuffleConfig") else None,
            file_system=each["DataSource"].get("FileSystemDataSource", {}),
        )


def lay_out(ml: Path, spec: HostSpec) -> None:
    """Make the tree that stands before any data is there."""
    for each in _DIRECTORIES:
        (ml / each).mkdir(parents=True, exist_ok=True)
    for name, content in config_files(spec).items():
        (ml / "input/config" / name).write_bytes(msgspec.json.encode(content))


def config_files(spec: HostSpec) -> dict[str, Json]:
    """Give the content of `/opt/ml/input/config` by file name."""
    request = spec.request
    files: dict[str, Json] = {
        "hyperparameters.json": request.get("HyperParameters") or {},
        "inputdataconfig.json": {each.name: _input_config(each) for each in channels(request)},
        "resourceconfig.json": _resource_config(spec),
    }
    # Its form with metrics is not known; without, it is an empty object (§1.1).
    if not request.get("AlgorithmSpecification", {}).get("MetricDefinitions"):
        files["metric-definition-regex.json"] = {}
    for each in followed(request):
        files[f"{each.member.lower()}.json"] = _followed_config(each, request[each.member])
    if profiler := request.get("ProfilerConfig"):
        files["profilerconfig.json"] = {
            "S3OutputPath": _below(request, "ProfilerConfig", "profiler-output")
            if "S3OutputPath" in profiler
            else None,
            "ProfilingIntervalInMilliseconds": profiler["ProfilingIntervalInMilliseconds"],
            "ProfilingParameters": profiler.get("ProfilingParameters"),
            "DisableProfiler": profiler["DisableProfiler"],
        }
    return files


def _followed_config(its: Followed, config: Mapping[str, Json]) -> dict[str, Json]:
    if its.member == "CheckpointConfig":
        return {"LocalPath": its.local}
    where: dict[str, Json] = {"S3OutputPath": its.uri, "LocalPath": its.local}
    if its.member == "TensorBoardOutputConfig":
        return where
    return where | {each: config.get(each) for each in ("HookParameters", "CollectionConfigurations")}


def _input_config(channel: Channel) -> dict[str, str]:
    first = {"ContentType": channel.content_type} if channel.content_type is not None else {}
    return {
        **first,
        "TrainingInputMode": channel.mode,
        "S3DistributionType": channel.distribution,
        "RecordWrapperType": channel.record_wrapper,
    }


def _resource_config(spec: HostSpec) -> dict[str, Json]:
    groups = instance_groups(spec)
    own = next(each for each in groups if spec.host in each["hosts"])
    return {
        "current_host": spec.host,
        "current_instance_type": own["instance_type"],
        "current_group_name": own["instance_group_name"],
        "hosts": sorted(spec.hosts),
        "instance_groups": groups,
        # The network of a job on one machine has an eth0, as AWS's has.
        "network_interface_name": (on_several_machines(spec) and interface_of(spec.addresses[spec.host])) or "eth0",
    }


def on_several_machines(spec: HostSpec) -> bool:
    """Tell whether the hosts of the job are not all on one machine."""
    return len(set(spec.addresses.values())) > 1


def instance_groups(spec: HostSpec) -> list[dict[str, Json]]:
    """Give the groups of instances with their hosts, as resourceconfig.json has them."""
    return [
        {"instance_group_name": each.name, "instance_type": each.instance_type, "hosts": list(each.hosts)}
        for each in hosts.instance_groups(spec.request, spec.hosts)
    ]


def environment(spec: HostSpec, machine: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Give the program's environment: the machine's least, the image's, the platform's, the request's.

    A container has the first two without us. What `CUDA_VISIBLE_DEVICES` numbers it has others of, too.
    """
    visible = gpus.environment(spec.gpus, gpus.devices())
    if in_container(spec):
        base, visible = {}, {"NVIDIA_VISIBLE_DEVICES": visible["NVIDIA_VISIBLE_DEVICES"]}
    else:
        base = _machines(spec, machine)
    return {
        **base,
        "AWS_REGION": spec.region,
        "SAGEMAKER_METRICS_DIRECTORY": f"/opt/ml/{_METRICS_DIRECTORY}",
        **visible,
        **spec.environment,
        **(spec.request.get("Environment") or {}),
        "TRAINING_JOB_NAME": spec.job,
        "TRAINING_JOB_ARN": spec.arn,
    }


def in_container(spec: HostSpec) -> bool:
    """Tell whether the program's image is a container's."""
    return spec.image.get("kind") == "container"


def _machines(spec: HostSpec, machine: Mapping[str, str]) -> dict[str, str]:
    """Give what a program on the machine itself has of it, and of its image."""
    image = {name: str(value) for name, value in (spec.image.get("environment") or {}).items()}
    return {
        **{name: machine[name] for name in _INHERITED if name in machine},
        **image,
        "PATH": _path(image.get("PATH"), machine.get("PATH", _SYSTEM_PATH)),
    }


def _path(image: str | None, machine: str) -> str:
    """Put the directory of the interpreter that runs Treadle where `python` is found: before the machine's.

    A PATH of the image's own counts more, as its `python3` is what an entry point of the request means (that of the
    SDK since 3, for example).
    """
    own = str(Path(sys.executable).parent)
    if image:
        return image if own in image.split(":") else f"{image}:{own}"
    return machine if machine.split(":", maxsplit=1)[0] == own else f"{own}:{machine}"


def command(spec: HostSpec) -> tuple[str, ...]:
    """Give the argv. `python` is the interpreter that runs Treadle, also where it has another name.

    Only a PATH of the image's own names another one, and never for programs that are Treadle's.
    """
    if in_container(spec):
        return tuple(spec.command)
    first, *rest = spec.command
    if first != "python":
        return tuple(spec.command)
    path = (spec.image.get("environment") or {}).get("PATH") or ""
    ours = " ".join(rest).startswith("-m treadle.")
    where = str(Path(sys.executable).parent)
    missing = shutil.which("python", path=f"{path}:{where}" if path else where) is None
    return (sys.executable if ours or missing else first, *rest)
