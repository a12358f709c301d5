"""From the input of CreateTrainingJob to what a job is: refusals, the service's defaults, the hosts' specifications.

The input has passed the service model already (required members, types, lengths, patterns, enums). What is checked
here the model cannot say: members that contradict each other, data that is not there, and what Treadle does not do yet.
The last kind is refused, with the member's name, whenever leaving it out would give the user something else than asked
for; what changes nothing but how the platform works inside (VPC, encryption, warm pools) is taken, and the log says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from treadle.errors import ObjectError, ServiceError
from treadle.home import DEFAULT_REGION, Home
from treadle.seams import Capacity, HostSpec, Json, Objects
from treadle.training import instances
from treadle.training.access import OWN
from treadle.training.file_systems import FileSystems
from treadle.training.hosts import instance_types
from treadle.training.job import Host, Job
from treadle.training.places import Found, Places

__all__ = ["Place", "check", "check_data", "host_spec", "members", "notices", "staging", "with_defaults"]

_DAY: Final = 86_400
_GIB: Final = 1 << 30
# What AWS gives an instance whose volume nobody sized differs by type; this is enough to be useful and small enough
# to notice a job that fills the disk. [guess]
_VOLUME: Final = 30
_LONGEST_KEY: Final = 1024


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)


# ---------------------------------------------------------------------------------------------------------------------
# Refusals
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Unbuilt:
    """A member that Treadle cannot honour: where it stands, which values are meant, what to do instead."""

    path: str
    advice: str
    meant: Callable[[Any], bool] = bool


def _is(*values: Json) -> Callable[[Any], bool]:
    return lambda value: value in values


_UNBUILT: Final = (
    _Unbuilt("AlgorithmSpecification.AlgorithmName", "Name the image in TrainingImage."),
    _Unbuilt("ResourceConfig.TrainingPlanArn", "Leave it out."),
    _Unbuilt("ResourceConfig.InstancePreferences.*.TrainingPlanArns", "Leave it out."),
    _Unbuilt("ServerlessJobConfig", "Use AlgorithmSpecification and ResourceConfig."),
    _Unbuilt("MlflowConfig", "Leave it out."),
    _Unbuilt("ModelPackageConfig", "Leave it out."),
    _Unbuilt("InputDataConfig.*.DataSource.DatasetSource", "Use S3DataSource."),
    _Unbuilt(
        "InputDataConfig.*.DataSource.S3DataSource.S3DataType",
        "Use S3Prefix, ManifestFile or AugmentedManifestFile.",
        _is("Converse"),
    ),
    _Unbuilt("InputDataConfig.*.DataSource.S3DataSource.ModelAccessConfig", "Leave it out."),
    _Unbuilt("InputDataConfig.*.DataSource.S3DataSource.HubAccessConfig", "Leave it out."),
)

# Members that are taken and have no effect here, with what the log says of them.
_IDLE: Final = (
    _Unbuilt(
        "AlgorithmSpecification.TrainingImageConfig.TrainingRepositoryAuthConfig",
        "registries get the credentials that `docker login` or `podman login` has left",
    ),
    _Unbuilt("VpcConfig", "the network of this machine is used"),
    _Unbuilt("EnableInterContainerTrafficEncryption", "what hosts send each other does not leave this machine"),
    _Unbuilt("OutputDataConfig.KmsKeyId", "outputs are stored as they are"),
    _Unbuilt("ResourceConfig.VolumeKmsKeyId", "the volume is not encrypted"),
    _Unbuilt("ResourceConfig.KeepAlivePeriodInSeconds", "there are no warm pools"),
    _Unbuilt("DebugRuleConfigurations", "no rules are evaluated"),
    _Unbuilt("ProfilerRuleConfigurations", "no rules are evaluated"),
    _Unbuilt("ExperimentConfig", "no experiment is recorded"),
    _Unbuilt(
        "ProfilerConfig", "system metrics are not recorded", lambda profiler: not profiler.get("DisableProfiler", False)
    ),
    _Unbuilt("RemoteDebugConfig.EnableRemoteDebug", "there is no Systems Manager that could open a session"),
    _Unbuilt("InfraCheckConfig.EnableInfraCheck", "the machine is not checked"),
    _Unbuilt("SessionChainingConfig.EnableSessionTagChaining", "the credentials of a job have no session tags"),
    _Unbuilt("ResourceConfig.InstancePlacementConfig", "all instances are on this machine"),
)

_ENCRYPTED: Final = "EnableInterContainerTrafficEncryption"
# What is otherwise on a cluster: its hosts are on several machines, which Ray chooses.
_IDLE_ON_CLUSTER: Final[Mapping[str, str]] = {
    _ENCRYPTED: "the job has one host",
    "VpcConfig": "the network of the machines is used",
    "ResourceConfig.InstancePlacementConfig": "the cluster chooses where instances are",
}


def members(request: Mapping[str, Json]) -> Found:
    """Give the members of a request that are looked at here: all of them are found in one walk."""
    return _MEMBERS.found(request)


def check(request: Mapping[str, Json], found: Found) -> None:
    """Refuse what contradicts itself or is not built. Raises `ServiceError`."""
    for unbuilt in _UNBUILT:
        for member, value in found.get(unbuilt.path, ()):
            if unbuilt.meant(value):
                shown = f" '{value}'" if isinstance(value, str | int) and not isinstance(value, bool) else ""
                raise _invalid(f"{member}{shown} is not supported by Treadle. {unbuilt.advice}")
    if not request.get("AlgorithmSpecification", {}).get("TrainingImage"):
        raise _invalid("Either AlgorithmName or TrainingImage must be specified in AlgorithmSpecification.")
    _check_resources(request.get("ResourceConfig", {}), spot=bool(request.get("EnableManagedSpotTraining")))
    for number, channel in enumerate(request.get("InputDataConfig") or (), 1):
        sources = [each for each in ("S3DataSource", "FileSystemDataSource") if channel["DataSource"].get(each)]
        if len(sources) != 1:
            member = f"inputDataConfig.{number}.member.dataSource"
            raise _invalid(f"{member} must have either an s3DataSource or a fileSystemDataSource.")
        _check_channel(f"inputDataConfig.{number}.member", channel, request)
    for member, count in _all(found, _COUNTS):
        if count < 1:
            # The model takes 0, which would be a job that nobody ever begins.
            raise _invalid(
                f"1 validation error detected: Value '{count}' at '{member}' failed to satisfy constraint: "
                "Member must have value greater than or equal to 1"
            )
    channels = [each["ChannelName"] for each in request.get("InputDataConfig") or ()]
    for name in channels:
        if channels.count(name) > 1:
            raise _invalid(f"Channel names must be unique, and '{name}' is given more than once.")
        if not name.strip("."):
            raise _invalid(f"'{name}' cannot be the name of a channel: it becomes a directory.")
    for member, uri in found.get(_INPUT, ()):
        _bucket_and_key(member, uri)
    for member, uri in _all(found, _WRITTEN):
        if _bucket_and_key(member, uri)[1].startswith(OWN):
            raise _invalid(f"Value '{uri}' at '{member}' cannot be used. What begins with {OWN} is the service's own.")
    _check_room_for_outputs(request)
    for member, text in _given_to_the_program(request):
        if "\0" in text:
            raise _invalid(f"The value at '{member}' has a NUL character, which no program can be given.")
    for member, path in _all(found, _KEPT):
        _check_local_path(member, path)


def _check_room_for_outputs(request: Mapping[str, Json]) -> None:
    """Refuse a path below which no output could be written: it would be known when all the training is done."""
    uri = request["OutputDataConfig"]["S3OutputPath"]
    member = "outputDataConfig.s3OutputPath"
    key = f"{_bucket_and_key(member, uri)[1].rstrip('/')}/{request['TrainingJobName']}/output/output.tar.gz"
    if (size := len(key.encode())) > _LONGEST_KEY:
        raise _invalid(
            f"The value at '{member}' is too long: with the job's name and output/output.tar.gz a key of {size} bytes "
            f"comes of it, and S3 takes {_LONGEST_KEY}."
        )


def _check_preferences(resources: Mapping[str, Json], *, spot: bool) -> None:
    """Refuse what InstancePreferences exclude, as their documentation says; AWS's texts have not been found."""
    preferences = resources.get("InstancePreferences") or ()
    for member in ("SelectedInstanceType", "SelectedInstanceCount"):
        if resources.get(member) is not None:
            raise _invalid(f"ResourceConfig.{member} is read-only: it cannot be given in a request.")
    if not preferences:
        return
    for member in ("InstanceType", "InstanceGroups", "InstancePlacementConfig"):
        if resources.get(member):
            raise _invalid(f"ResourceConfig must have either InstancePreferences or {member}.")
    if spot:
        raise _invalid("InstancePreferences cannot be used with EnableManagedSpotTraining.")
    types = [each["InstanceType"] for each in preferences]
    for name in types:
        if types.count(name) > 1:
            raise _invalid(f"An instance type can appear only once in InstancePreferences: {name}.")
    counted = ["InstanceCount" in each for each in preferences]
    if any(counted) != all(counted) or all(counted) == ("InstanceCount" in resources):
        raise _invalid("InstanceCount must be in every one of the InstancePreferences, or in ResourceConfig only.")


def _check_resources(resources: Mapping[str, Json], *, spot: bool) -> None:
    _check_preferences(resources, spot=spot)
    if resources.get("InstancePreferences"):
        return
    groups = resources.get("InstanceGroups") or ()
    if not groups:
        if not resources.get("InstanceType"):
            raise _invalid("ResourceConfig must name an InstanceType.")
        return
    if resources.get("InstanceType") or resources.get("InstanceCount") is not None:
        raise _invalid("ResourceConfig must have either InstanceGroups, or InstanceType and InstanceCount.")
    names = [each["InstanceGroupName"] for each in groups]
    for name in names:
        if names.count(name) > 1:
            raise _invalid(f"Instance group names must be unique, and '{name}' is given more than once.")


def _check_channel(member: str, channel: Mapping[str, Json], request: Mapping[str, Json]) -> None:
    """Refuse what a mode cannot do; AWS's own words for these have not been found."""
    mode = channel.get("InputMode", request["AlgorithmSpecification"].get("TrainingInputMode", "File"))
    if channel["DataSource"].get("FileSystemDataSource") and mode != "File":
        raise _invalid(f"{member}: a FileSystemDataSource can only be used in File mode, and the mode is {mode}.")
    source = channel["DataSource"].get("S3DataSource", {})
    kind = source.get("S3DataType", "S3Prefix")
    for name, value in (("CompressionType", "Gzip"), ("RecordWrapperType", "RecordIO")):
        if mode != "Pipe" and channel.get(name) == value:
            raise _invalid(f"{member}: {name} {value} can only be used in Pipe mode, and the mode is {mode}.")
    if kind == "AugmentedManifestFile" and mode != "Pipe":
        raise _invalid(f"{member}: an AugmentedManifestFile can only be used in Pipe mode, and the mode is {mode}.")
    if kind == "AugmentedManifestFile" and not source.get("AttributeNames"):
        raise _invalid(f"{member}: an AugmentedManifestFile needs AttributeNames.")
    if kind != "S3Prefix" and mode == "FastFile":
        raise _invalid(f"{member}: in FastFile mode S3DataType must be S3Prefix, and it is {kind}.")
    groups = {each["InstanceGroupName"] for each in request["ResourceConfig"].get("InstanceGroups") or ()}
    for name in source.get("InstanceGroupNames") or ():
        if name not in groups:
            raise _invalid(f"{member}: there is no instance group '{name}'.")


def _given_to_the_program(request: Mapping[str, Json]) -> Iterable[tuple[str, str]]:
    algorithm = request["AlgorithmSpecification"]
    for name in ("ContainerEntrypoint", "ContainerArguments"):
        for number, text in enumerate(algorithm.get(name) or (), 1):
            yield f"algorithmSpecification.{name[0].lower()}{name[1:]}.{number}.member", text
    for name, text in (request.get("Environment") or {}).items():
        yield f"environment.{name}", text


def _check_local_path(member: str, path: str) -> None:
    """Refuse a directory that nobody could mean, or that the platform itself fills; AWS's text has not been found."""
    parts = [each for each in path.split("/") if each not in {"", "."}]
    platforms = parts in ([], ["opt"], ["opt", "ml"]) or parts[:3] == ["opt", "ml", "input"]
    if not path.startswith("/") or ".." in parts or platforms:
        raise _invalid(
            f"Value '{path}' at '{member}' cannot be used. It must be the absolute path of a directory that is the "
            "training program's own, such as /opt/ml/checkpoints."
        )


_COUNTS: Final = (
    "ResourceConfig.InstanceCount",
    "ResourceConfig.InstanceGroups.*.InstanceCount",
    "ResourceConfig.InstancePreferences.*.InstanceCount",
)
_WRITTEN: Final = (
    "OutputDataConfig.S3OutputPath",
    "CheckpointConfig.S3Uri",
    "DebugHookConfig.S3OutputPath",
    "TensorBoardOutputConfig.S3OutputPath",
)
_KEPT: Final = ("CheckpointConfig.LocalPath", "DebugHookConfig.LocalPath", "TensorBoardOutputConfig.LocalPath")
_INPUT: Final = "InputDataConfig.*.DataSource.S3DataSource.S3Uri"


def check_on_cluster(request: Mapping[str, Json], hosts: int) -> None:
    """Refuse what only one machine can promise. Raises `ServiceError`."""
    if hosts > 1 and request.get(_ENCRYPTED):
        raise _invalid(
            f"{_ENCRYPTED[0].lower()}{_ENCRYPTED[1:]} is not supported by Treadle on a cluster: what hosts send each "
            "other crosses its network as the program sends it. Leave it out, or encrypt the network itself."
        )


def notices(found: Found, *, cluster: bool = False) -> list[str]:
    """Say which members of a request have no effect here; for the log of the job."""
    otherwise = _IDLE_ON_CLUSTER if cluster else {}
    return [
        f"{member} has no effect here: {otherwise.get(idle.path, idle.advice)}."
        for idle in _IDLE
        for member, value in found.get(idle.path, ())
        if idle.meant(value)
    ]


_MEMBERS: Final = Places(*(each.path for each in (*_UNBUILT, *_IDLE)), *_COUNTS, _INPUT, *_WRITTEN, *_KEPT)


def _all(found: Found, paths: Iterable[str]) -> list[tuple[str, Json]]:
    return [each for path in paths for each in found.get(path, ())]


def _bucket_and_key(member: str, uri: str) -> tuple[str, str]:
    # The model allows https:// too; which host that would be is nobody's guess here.
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise _invalid(f"Value '{uri}' at '{member}' cannot be used. Write it as s3://bucket/key.")
    return bucket, key


def check_data(request: Mapping[str, Json], found: Found, objects: Objects, region: str) -> None:
    """Refuse a job whose data is not there, as CreateTrainingJob does (§1.6). Raises `ServiceError`."""
    seen = set()
    for member, uri in found.get(_INPUT, ()):
        bucket, prefix = _bucket_and_key(member, uri)
        seen.add(bucket)
        problem = ""
        try:
            is_there = objects.holds(bucket, prefix)
        except ObjectError as error:
            is_there, problem = False, f" Error message from S3: {error.message}"
        if not is_there:
            raise _invalid(
                f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket '
                f"exists in the selected region ({region}), that objects exist under that S3 prefix, and that the role "
                f'"{request["RoleArn"]}" has "s3:ListBucket" permissions on bucket "{bucket}".{problem}'
            )
    for member, uri in _all(found, _WRITTEN):
        bucket, _ = _bucket_and_key(member, uri)
        if bucket not in seen and not objects.has_bucket(bucket):
            # [guess]: AWS's text for a bucket to write to that is not there has not been found.
            raise _invalid(f"The bucket '{bucket}' of '{member}' does not exist. Make it before the job is created.")


# ---------------------------------------------------------------------------------------------------------------------
# Defaults
# ---------------------------------------------------------------------------------------------------------------------


def with_defaults(request: Mapping[str, Json]) -> dict[str, Json]:
    """Give the request with what the service adds, as DescribeTrainingJob shows it (§2.2)."""
    job: dict[str, Json] = dict(request)
    job["OutputDataConfig"] = {"KmsKeyId": "", "CompressionType": "GZIP", **job["OutputDataConfig"]}
    job["AlgorithmSpecification"] = {"EnableSageMakerMetricsTimeSeries": False, **job["AlgorithmSpecification"]}
    resources = job["ResourceConfig"]
    counted = resources.get("InstanceGroups") or resources.get("InstancePreferences")
    job["ResourceConfig"] = {
        **({} if counted else {"InstanceCount": 1}),
        **resources,
        # The model takes 0, which no program could do anything with.
        "VolumeSizeInGB": resources.get("VolumeSizeInGB") or _VOLUME,
    }
    job["StoppingCondition"] = {"MaxRuntimeInSeconds": _DAY, **job.get("StoppingCondition", {})}
    for each in ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining"):
        job.setdefault(each, False)
    if "ProfilerConfig" in job:
        added = {"ProfilingIntervalInMilliseconds": 500, "DisableProfiler": False}
        job["ProfilerConfig"] = {**added, **job["ProfilerConfig"]}
    if "InputDataConfig" in job:
        job["InputDataConfig"] = [_channel_with_defaults(each) for each in job["InputDataConfig"]]
    return job


def _channel_with_defaults(channel: Mapping[str, Json]) -> dict[str, Json]:
    source = channel["DataSource"]
    if its := source.get("S3DataSource"):
        source = {**source, "S3DataSource": {"S3DataDistributionType": "FullyReplicated", **its}}
    return {"CompressionType": "None", "RecordWrapperType": "None", **channel, "DataSource": source}


# ---------------------------------------------------------------------------------------------------------------------
# Hosts
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """What a host's specification needs to know of the service: where it keeps things, and how it was set up."""

    home: Home
    region: str = DEFAULT_REGION
    sandbox: str = "auto"
    stop_grace: float = 120.0
    max_volume: int | None = None
    """The most bytes that a job's volume may have, None for what it asks for."""
    max_log: int = 1 << 30
    """The most bytes of a program's output that its log takes."""
    environment: Callable[[Job], Mapping[str, str]] = lambda _job: {}
    """What the training program gets to reach the service by: credentials of its job, endpoints."""
    objects: Callable[[Job], dict[str, str]] | None = None
    """How agents on other machines reach objects (`HostSpec.objects`); None where they share the service's disk."""


def staging(job: Job, attempt: int | None = None) -> tuple[str, str]:
    """Give bucket and prefix where outputs wait until they are committed: of one attempt, or of all."""
    bucket, _ = _bucket_and_key("outputDataConfig.s3OutputPath", job.request["OutputDataConfig"]["S3OutputPath"])
    # In the bucket of the outputs, so that to commit is to rename; at its top, so that no listing of a user meets it
    # by chance. Attempts do not share a prefix: what an old agent still uploads is in nobody's way.
    below = f"{attempt}/" if attempt is not None else ""
    return bucket, f"{OWN}staging/{job.name}/{below}"


def image_archive(job: Job) -> tuple[str, str]:
    """Give bucket and key of the local image of an attempt, as it is carried to other machines."""
    bucket, prefix = staging(job, job.attempt)
    return bucket, f"{prefix}image.tar"


def host_spec(job: Job, host: Host, place: Place, machine: Capacity) -> HostSpec:
    """Give what the agent of a host of the current attempt must know."""
    bucket, prefix = staging(job, job.attempt)
    has = _share(job, host, machine)
    volume = job.request["ResourceConfig"]["VolumeSizeInGB"] * _GIB
    return HostSpec(
        job=job.name,
        arn=job.arn,
        attempt=job.attempt,
        host=host.name,
        hosts=[each.name for each in job.hosts],
        region=place.region,
        request=job.request,
        command=job.command,
        image=_carried(job) if place.objects is not None else job.image,
        environment=dict(place.environment(job)),
        objects=place.objects(job) if place.objects else {"kind": "filesystem", "root": str(place.home.s3)},
        staging=f"s3://{bucket}/{prefix}",
        sandbox=place.sandbox,
        max_runtime=job.runtime_left,
        volume_bytes=volume if place.max_volume is None else min(volume, place.max_volume),
        stop_grace=place.stop_grace,
        log_bytes=place.max_log,
        # All of it, not the files that hold keys today: databases grow side files, and files are replaced by new ones.
        hidden=[str(place.home.root)],
        # What is all of the machine's needs no limit.
        cpus=has.cpus if has.cpus < machine.cpus else 0.0,
        memory=has.memory if has.memory < machine.memory else 0,
        gpus=list(host.gpus),
        file_systems=FileSystems(place.home.file_systems).all(),
        addresses={each.name: each.address for each in job.hosts if each.address},
    )


def _share(job: Job, host: Host, machine: Capacity) -> Capacity:
    """Give what a host may take of its machine; all of it when the cluster has lost what it was placed by."""
    try:
        return instances.need(instance_types(job.request)[host.name], machine).capacity
    except ServiceError:
        return machine


def _carried(job: Job) -> dict[str, Json]:
    """Give the image as another machine gets it."""
    if not job.image.get("directory"):
        return job.image
    bucket, key = image_archive(job)
    return {**job.image, "directory": "", "archive": f"s3://{bucket}/{key}"}
