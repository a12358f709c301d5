"""The operations of the training service: answers, defaults, refusals, lists."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import botocore
import msgspec
import pytest
from tests.training.control import REQUEST, Control, new_job, obedient

from treadle.errors import ImageError, ServiceError
from treadle.launchers.scripted import ScriptedHost
from treadle.seams import HostEvent, Json
from treadle.training.api.operations import Caller
from treadle.training.describe import describe, model_artifacts, summary
from treadle.training.file_systems import FileSystems
from treadle.training.job import HostReported, Placed, Settled, StopRequested, advance, record
from treadle.training.service import TrainingService

CALLER = Caller("AKIA", "000000000000", "us-east-1", "arn:aws:iam::000000000000:root")
MODEL = json.loads(
    gzip.decompress((Path(botocore.__file__).parent / "data/sagemaker/2017-07-24/service-2.json.gz").read_bytes())
)


class Images:
    """Knows the image `demo`."""

    def at_hand(
        self,
        reference: str,
        entrypoint: Sequence[str] = (),
        arguments: Sequence[str] = (),
        hyperparameters: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> tuple[dict[str, Json], list[str]] | None:
        return ({"kind": "local"}, [*entrypoint, *arguments]) if reference == "demo" else None

    def resolve(self, reference: str, *_: object) -> tuple[dict[str, Json], list[str]]:
        raise ImageError(f"There is no image {reference!r}.", hint="Register it.")


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[Control]:
    made = Control(tmp_path, script=obedient)
    async with made.supervised():
        yield made
    await made.launcher.close()


@pytest.fixture
def service(control: Control) -> TrainingService:
    return TrainingService(
        jobs=control.jobs,
        objects=control.objects,
        images=Images(),
        file_systems=FileSystems(control.home.file_systems),
        supervisor=control.supervisor,
        clock=lambda: 5.0005,
    )


def request(**changes: Any) -> dict[str, Any]:
    return {**REQUEST, **changes}


def channel(**changes: Any) -> dict[str, Any]:
    return {**REQUEST["InputDataConfig"][0], **changes}


def file_system(**changes: Any) -> dict[str, Any]:
    given = {"FileSystemId": "fs-0123456789abcdef0", "FileSystemType": "EFS", "FileSystemAccessMode": "ro"}
    its = {name: changes.pop(name, value) for name, value in {**given, "DirectoryPath": "/data"}.items()}
    return channel(ChannelName="shared", DataSource={"FileSystemDataSource": its}, **changes)


PREFERENCES = [
    {"InstanceType": "ml.p3.2xlarge", "InstanceCount": 1},
    {"InstanceType": "ml.m5.2xlarge", "InstanceCount": 2},
]


def source(**changes: Any) -> dict[str, Any]:
    return channel(DataSource={"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/train", **changes}})


async def refused(service: TrainingService, values: dict[str, Any]) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await service.create_training_job(values, CALLER)
    return caught.value


async def test_a_job_is_created_and_described(service: TrainingService, control: Control) -> None:
    """The request comes back with the defaults that AWS adds, and what is required is there from the start."""
    answer = await service.create_training_job(request(Tags=[{"Key": "k", "Value": "v"}]), CALLER)
    assert answer == {"TrainingJobArn": "arn:aws:sagemaker:us-east-1:000000000000:training-job/j"}
    await control.reached("Training")
    found = await service.describe_training_job({"TrainingJobName": "j"}, CALLER)
    assert "Tags" not in found
    assert found["OutputDataConfig"] == {"KmsKeyId": "", "CompressionType": "GZIP", "S3OutputPath": "s3://data/out/"}
    assert found["InputDataConfig"][0]["CompressionType"] == "None"
    assert found["InputDataConfig"][0]["RecordWrapperType"] == "None"
    assert found["AlgorithmSpecification"]["EnableSageMakerMetricsTimeSeries"] is False
    assert found["EnableManagedSpotTraining"] is False
    assert found["ModelArtifacts"] == {"S3ModelArtifacts": "s3://data/out/j/output/model.tar.gz"}
    assert found["CreationTime"] == 5.0
    assert found["TrainingJobStatus"] == "InProgress"
    assert "TrainingEndTime" not in found
    assert "FailureReason" not in found
    known = MODEL["shapes"]["DescribeTrainingJobResponse"]
    assert set(found) <= set(known["members"])
    assert set(known["required"]) <= set(found)


async def test_a_name_is_taken_for_ever(service: TrainingService) -> None:
    """With AWS's words, which clients compare."""
    await service.create_training_job(request(), CALLER)
    error = await refused(service, request())
    assert error.code == "ResourceInUse"
    assert error.message == (
        "Training job names must be unique within an AWS account and region, and a training job with this name already "
        "exists (arn:aws:sagemaker:us-east-1:000000000000:training-job/j)"
    )


ALGORITHM = REQUEST["AlgorithmSpecification"]
GROUPS = [{"InstanceGroupName": "g", "InstanceType": "ml.m5.large", "InstanceCount": 1}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"AlgorithmSpecification": {**ALGORITHM, "TrainingImage": "nope"}},
            "Invalid training image. Please provide a valid Amazon Elastic Container Registry path of the Docker image to "
            "run. There is no image 'nope'. Register it.",
            id="image",
        ),
        pytest.param(
            {"AlgorithmSpecification": {"TrainingInputMode": "File"}},
            "Either AlgorithmName or TrainingImage must be specified in AlgorithmSpecification.",
            id="no image",
        ),
        pytest.param(
            {"AlgorithmSpecification": {**ALGORITHM, "AlgorithmName": "mine"}},
            "algorithmSpecification.algorithmName 'mine' is not supported by Treadle. Name the image in TrainingImage.",
            id="algorithm",
        ),
        pytest.param(
            {"InputDataConfig": [channel(), channel(ChannelName="b", CompressionType="Gzip")]},
            "inputDataConfig.2.member: CompressionType Gzip can only be used in Pipe mode, and the mode is File.",
            id="gzip",
        ),
        pytest.param(
            {"InputDataConfig": [channel(InputMode="FastFile", RecordWrapperType="RecordIO")]},
            "inputDataConfig.1.member: RecordWrapperType RecordIO can only be used in Pipe mode, and the mode is "
            "FastFile.",
            id="records",
        ),
        pytest.param(
            {"InputDataConfig": [source(S3DataType="AugmentedManifestFile")]},
            "inputDataConfig.1.member: an AugmentedManifestFile can only be used in Pipe mode, and the mode is File.",
            id="augmented manifest in files",
        ),
        pytest.param(
            {"InputDataConfig": [source(S3DataType="AugmentedManifestFile") | {"InputMode": "Pipe"}]},
            "inputDataConfig.1.member: an AugmentedManifestFile needs AttributeNames.",
            id="augmented manifest",
        ),
        pytest.param(
            {"InputDataConfig": [source(S3DataType="ManifestFile") | {"InputMode": "FastFile"}]},
            "inputDataConfig.1.member: in FastFile mode S3DataType must be S3Prefix, and it is ManifestFile.",
            id="manifest in fast files",
        ),
        pytest.param(
            {"InputDataConfig": [channel(), file_system(InputMode="FastFile")]},
            "inputDataConfig.2.member: a FileSystemDataSource can only be used in File mode, and the mode is FastFile.",
            id="file system in FastFile mode",
        ),
        pytest.param(
            {"InputDataConfig": [file_system(FileSystemId="fs-00000000")]},
            "inputDataConfig.1.member.dataSource.fileSystemDataSource: the file system 'fs-00000000' is not known "
            "here. Let a directory of this machine stand for it: treadle file-systems add fs-00000000 DIRECTORY",
            id="file system that is not there",
        ),
        pytest.param(
            {"ResourceConfig": {"InstancePreferences": PREFERENCES, "InstanceType": "ml.m5.large"}},
            "ResourceConfig must have either InstancePreferences or InstanceType.",
            id="preferences and a type",
        ),
        pytest.param(
            {"ResourceConfig": {"InstancePreferences": PREFERENCES * 2}},
            "An instance type can appear only once in InstancePreferences: ml.p3.2xlarge.",
            id="the same preference twice",
        ),
        pytest.param(
            {"ResourceConfig": {"InstancePreferences": [*PREFERENCES, {"InstanceType": "ml.c5.large"}]}},
            "InstanceCount must be in every one of the InstancePreferences, or in ResourceConfig only.",
            id="preferences of which some have counts",
        ),
        pytest.param(
            {"ResourceConfig": {"InstancePreferences": PREFERENCES, "InstanceCount": 1}},
            "InstanceCount must be in every one of the InstancePreferences, or in ResourceConfig only.",
            id="counts twice",
        ),
        pytest.param(
            {"ResourceConfig": {"InstancePreferences": [{"InstanceType": "ml.m5.large"}]}},
            "InstanceCount must be in every one of the InstancePreferences, or in ResourceConfig only.",
            id="preferences without a count",
        ),
        pytest.param(
            {"ResourceConfig": {"InstanceType": "ml.m5.large", "SelectedInstanceType": "ml.m5.large"}},
            "ResourceConfig.SelectedInstanceType is read-only: it cannot be given in a request.",
            id="a selection",
        ),
        pytest.param(
            {
                "ResourceConfig": {"InstancePreferences": PREFERENCES},
                "EnableManagedSpotTraining": True,
            },
            "InstancePreferences cannot be used with EnableManagedSpotTraining.",
            id="preferences and spot",
        ),
        pytest.param(
            {"TensorBoardOutputConfig": {"S3OutputPath": "s3://boards/x"}},
            "The bucket 'boards' of 'tensorBoardOutputConfig.s3OutputPath' does not exist. Make it before the job is "
            "created.",
            id="TensorBoard's bucket",
        ),
        pytest.param(
            {"ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceGroups": GROUPS}},
            "ResourceConfig must have either InstanceGroups, or InstanceType and InstanceCount.",
            id="groups and a type",
        ),
        pytest.param(
            {"ResourceConfig": {"InstanceGroups": GROUPS * 2}},
            "Instance group names must be unique, and 'g' is given more than once.",
            id="groups of one name",
        ),
        pytest.param(
            {"InputDataConfig": [source(InstanceGroupNames=["h"])], "ResourceConfig": {"InstanceGroups": GROUPS}},
            "inputDataConfig.1.member: there is no instance group 'h'.",
            id="no such group",
        ),
        pytest.param(
            {"ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 0}},
            "1 validation error detected: Value '0' at 'resourceConfig.instanceCount' failed to satisfy constraint: "
            "Member must have value greater than or equal to 1",
            id="no instances",
        ),
        pytest.param(
            {"InputDataConfig": [channel(), channel(ChannelName="b", DataSource={})]},
            "inputDataConfig.2.member.dataSource must have either an s3DataSource or a fileSystemDataSource.",
            id="no source",
        ),
        pytest.param({"ResourceConfig": {}}, "ResourceConfig must name an InstanceType.", id="no instance"),
        pytest.param(
            {"CheckpointConfig": {"S3Uri": "https://data/c"}},
            "Value 'https://data/c' at 'checkpointConfig.s3Uri' cannot be used. Write it as s3://bucket/key.",
            id="checkpoints",
        ),
        *(
            pytest.param(
                {f"{member[0].upper()}{member[1:]}": {uri: "s3://data/c", "LocalPath": path}},
                f"Value '{path}' at '{member}.localPath' cannot be used. It must be the absolute path of a directory "
                "that is the training program's own, such as /opt/ml/checkpoints.",
                id=f"{member} in {path}",
            )
            for member, uri, path in (
                ("checkpointConfig", "S3Uri", "checkpoints"),
                ("checkpointConfig", "S3Uri", "/"),
                ("checkpointConfig", "S3Uri", "/opt/ml/../../etc"),
                ("checkpointConfig", "S3Uri", "/opt//ml/"),
                ("debugHookConfig", "S3OutputPath", "/opt/ml/input/config"),
                ("tensorBoardOutputConfig", "S3OutputPath", "/opt/./ml"),
            )
        ),
        pytest.param(
            {"InputDataConfig": [channel(), channel()]},
            "Channel names must be unique, and 'train' is given more than once.",
            id="two channels of one name",
        ),
        pytest.param(
            {"InputDataConfig": [channel(ChannelName="..")]},
            "'..' cannot be the name of a channel: it becomes a directory.",
            id="channel that leads out",
        ),
        pytest.param(
            {"OutputDataConfig": {"S3OutputPath": "https://s3.amazonaws.com/data"}},
            "Value 'https://s3.amazonaws.com/data' at 'outputDataConfig.s3OutputPath' cannot be used. Write it as "
            "s3://bucket/key.",
            id="https",
        ),
        pytest.param(
            {"OutputDataConfig": {"S3OutputPath": f"s3://data/{'é' * 501}/"}},
            "The value at 'outputDataConfig.s3OutputPath' is too long: with the job's name and output/output.tar.gz a key "
            "of 1025 bytes comes of it, and S3 takes 1024.",
            id="no room for a key",
        ),
        pytest.param(
            {"CheckpointConfig": {"S3Uri": "s3://data/.treadle/staging"}},
            "Value 's3://data/.treadle/staging' at 'checkpointConfig.s3Uri' cannot be used. What begins with .treadle/ "
            "is the service's own.",
            id="the service's own keys",
        ),
        pytest.param(
            {"Environment": {"A": "a\0b"}},
            "The value at 'environment.A' has a NUL character, which no program can be given.",
            id="NUL in the environment",
        ),
        pytest.param(
            {"AlgorithmSpecification": ALGORITHM | {"ContainerArguments": ["a", "a\0b"]}},
            "The value at 'algorithmSpecification.containerArguments.2.member' has a NUL character, which no program can "
            "be given.",
            id="NUL in an argument",
        ),
        pytest.param(
            {"OutputDataConfig": {"S3OutputPath": "s3://other/out"}},
            "The bucket 'other' of 'outputDataConfig.s3OutputPath' does not exist. Make it before the job is created.",
            id="output bucket",
        ),
        pytest.param(
            {"InputDataConfig": [source(S3Uri="s3://data/nothing")]},
            'No S3 objects found under S3 URL "s3://data/nothing" given in input data source. Please ensure that the '
            "bucket exists in the selected region (us-east-1), that objects exist under that S3 prefix, and that the "
            'role "arn:aws:iam::000000000000:role/training" has "s3:ListBucket" permissions on bucket "data".',
            id="no data",
        ),
    ],
)
async def test_refusals(service: TrainingService, control: Control, changes: dict[str, Any], message: str) -> None:
    """What cannot be done is refused before a job exists, naming the member."""
    error = await refused(service, request(**changes))
    assert (error.code, error.message) == ("ValidationException", message)
    assert list(await control.jobs.all()) == []


async def test_preferences_that_all_need_what_is_absent(service: TrainingService) -> None:
    """Then the job is refused, in the words for the preferred one; a later one that can be had is enough."""
    types = [{"InstanceType": "ml.p3.2xlarge"}, {"InstanceType": "ml.p2.xlarge"}]
    only = {"InstancePreferences": types, "InstanceCount": 1}
    error = await refused(service, request(ResourceConfig=only))
    assert (error.code, "'ml.p3.2xlarge for" in error.message) == ("ResourceLimitExceeded", True)
    await service.create_training_job(request(ResourceConfig={"InstancePreferences": PREFERENCES}), CALLER)
    described = await service.describe_training_job({"TrainingJobName": "j"}, CALLER)
    assert described["ResourceConfig"]["InstancePreferences"] == PREFERENCES
    assert "InstanceCount" not in described["ResourceConfig"]


async def test_file_systems(service: TrainingService, control: Control, tmp_path: Path) -> None:
    """A directory that stands for one must have the channel's path in it."""
    (tmp_path / "files/data").mkdir(parents=True)
    (tmp_path / "files/out").symlink_to("/etc")
    FileSystems(control.home.file_systems).add("fs-0123456789abcdef0", tmp_path / "files")
    where = "inputDataConfig.1.member.dataSource.fileSystemDataSource: "
    for path, said in {
        "/elsewhere": f"there is no directory '/elsewhere' in the file system 'fs-0123456789abcdef0', which is {tmp_path}/files here.",
        "/data/../../files": "",
        "/../..": "the DirectoryPath '/../..' leads out of the file system 'fs-0123456789abcdef0'.",
        "out": "the DirectoryPath 'out' leads out of the file system 'fs-0123456789abcdef0'.",
    }.items():
        if said:
            error = await refused(service, request(InputDataConfig=[file_system(DirectoryPath=path)]))
            assert (error.code, error.message) == ("ValidationException", where + said)
    given = file_system()
    await service.create_training_job(request(InputDataConfig=[given]), CALLER)
    described = await service.describe_training_job({"TrainingJobName": "j"}, CALLER)
    assert described["InputDataConfig"] == [{**given, "CompressionType": "None", "RecordWrapperType": "None"}]


async def test_a_bucket_that_is_not_there(service: TrainingService) -> None:
    """AWS's sentence, and what the store said."""
    error = await refused(service, request(InputDataConfig=[source(S3Uri="s3://other/x")]))
    assert error.message.startswith('No S3 objects found under S3 URL "s3://other/x"')
    assert "Error message from S3: " in error.message


async def test_gpus_that_are_absent(service: TrainingService) -> None:
    """AWS's code for a quota."""
    error = await refused(service, request(ResourceConfig={"InstanceType": "ml.p3.2xlarge"}))
    assert error.code == "ResourceLimitExceeded"


async def test_members_without_effect_are_taken_and_the_log_says_so(service: TrainingService, control: Control) -> None:
    """A network or a key changes nothing here; an empty key is none."""
    values = request(
        VpcConfig={"Subnets": ["s"], "SecurityGroupIds": ["g"]},
        OutputDataConfig={"S3OutputPath": "s3://data/out", "KmsKeyId": ""},
        AlgorithmSpecification={**ALGORITHM, "TrainingInputMode": "FastFile"},
        ResourceConfig={"InstanceType": "ml.m5.24xlarge"},
    )
    await service.create_training_job(values, CALLER)
    job = await control.supervisor.find("j")
    assert job is not None
    assert job.notes == (
        "ml.m5.24xlarge has 96 vCPU and 384 GiB; this machine has 8 CPUs and 64.0 GiB: the job runs with what there is.",
        "vpcConfig has no effect here: the network of this machine is used.",
    )


async def test_the_host_gets_what_was_decided(service: TrainingService, control: Control) -> None:
    """Request, command, image, limits, where outputs wait, and what must be hidden."""
    specs = []

    async def claims(host: ScriptedHost) -> None:
        specs.append(await host.claim())
        await host.ended("completed")

    control.script = claims
    algorithm = {**ALGORITHM, "ContainerEntrypoint": ["python"], "ContainerArguments": ["x.py"]}
    await service.create_training_job(request(AlgorithmSpecification=algorithm), CALLER)
    await control.ended()
    (spec,) = specs
    assert (spec.command, spec.image, spec.hosts) == (["python", "x.py"], {"kind": "local"}, ["algo-1"])
    assert (spec.max_runtime, spec.volume_bytes, spec.region) == (60, 1 << 30, "us-east-1")
    assert spec.staging == "s3://data/.treadle/staging/j/1/"
    assert spec.request["OutputDataConfig"]["CompressionType"] == "GZIP"
    assert spec.hidden == [str(control.home.root)]


# ---------------------------------------------------------------------------------------------------------------------
# Describe and stop
# ---------------------------------------------------------------------------------------------------------------------


async def test_an_unknown_job(service: TrainingService) -> None:
    """Waiters, Airflow and Kubernetes operators compare this text."""
    for operation in (service.describe_training_job, service.stop_training_job):
        with pytest.raises(ServiceError) as caught:
            await operation({"TrainingJobName": "x"}, CALLER)
        assert (caught.value.code, caught.value.message) == ("ValidationException", "Requested resource not found.")


async def test_a_stop_and_a_second_one(service: TrainingService, control: Control) -> None:
    """Stopping again changes nothing; stopping what has stopped is refused with AWS's words."""
    await service.create_training_job(request(), CALLER)
    await control.reached("Training")
    await service.stop_training_job({"TrainingJobName": "j"}, CALLER)
    await control.ended()
    with pytest.raises(ServiceError) as caught:
        await service.stop_training_job({"TrainingJobName": "j"}, CALLER)
    assert caught.value.message == "The request was rejected because the training job is in status Stopped."
    assert caught.value.code == "ValidationException"


def test_the_end_of_a_job_as_described() -> None:
    """Failure reason, metrics as AWS's floats, whole seconds, and a list of transitions that ends in a point."""
    job = new_job(ProfilerConfig={"S3OutputPath": "s3://data/p"})
    job = advance(job, Placed(1_000_001.0, "h", ("algo-1",)))
    began = HostEvent(seq=1, kind="downloading", at=1_000_002.0)
    job = msgspec.structs.replace(
        advance(job, HostReported(1_000_002.0, 1, "algo-1", began)),
        outcome="failed",
        failure_reason="AlgorithmError: , exit code: 1",
        metrics={"loss": (1.19876, 1_000_003.7)},
    )
    found = describe(advance(job, Settled(1_000_127.026)))
    assert found["FailureReason"] == "AlgorithmError: , exit code: 1"
    assert found["FinalMetricDataList"] == [
        {"MetricName": "loss", "Value": 1.1987600326538086, "Timestamp": 1_000_003.0}
    ]
    assert (found["TrainingTimeInSeconds"], found["BillableTimeInSeconds"]) == (125, 125)
    assert found["SecondaryStatusTransitions"][-1] == {
        "Status": "Failed",
        "StartTime": 1_000_127.026,
        "EndTime": 1_000_127.026,
        "StatusMessage": "Training job failed",
    }
    assert "EndTime" not in describe(job)["SecondaryStatusTransitions"][-1]
    assert found["ProfilingStatus"] == "Enabled"
    assert found["ProfilerConfig"]["ProfilingIntervalInMilliseconds"] == 500


def test_a_metric_out_of_range_is_infinite() -> None:
    """A float32 does not hold everything that a program prints."""
    job = msgspec.structs.replace(new_job(), outcome="completed", metrics={"big": (1e300, 1.0), "small": (-1e300, 1.0)})
    found = describe(advance(job, Settled(2_000_000.0)))
    assert [each["Value"] for each in found["FinalMetricDataList"]] == [float("inf"), float("-inf")]


def test_where_the_model_is() -> None:
    """Slashes are not doubled; without compression it is a prefix."""
    assert model_artifacts(new_job()) == "s3://data/out/j/output/model.tar.gz"
    plain = new_job(OutputDataConfig={"S3OutputPath": "s3://data", "CompressionType": "NONE"})
    assert model_artifacts(plain) == "s3://data/j/output/model/"


# ---------------------------------------------------------------------------------------------------------------------
# Lists
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def many(control: Control) -> None:
    """Twelve jobs, a minute apart; `job-01` is oldest, the even ones are stopped."""
    for number in range(1, 13):
        job = new_job(f"job-{number:02d}")
        job = msgspec.structs.replace(job, created_at=1000.0 + 60 * number, modified_at=2000.0 + 60 * number)
        if number % 2 == 0:
            job = advance(advance(job, StopRequested(3000.0)), Settled(3001.0))
        assert await control.jobs.insert(msgspec.structs.replace(record(job), modified_at=2000.0 + 60 * number))


async def listed(service: TrainingService, **values: Any) -> list[str]:
    answer = await service.list_training_jobs(values, CALLER)
    return [each["TrainingJobName"].removeprefix("job-") for each in answer["TrainingJobSummaries"]]


ODD = ["01", "03", "05", "07", "09", "11"]


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    ("values", "names"),
    [
        pytest.param({}, ["12", "11", "10", "09", "08", "07", "06", "05", "04", "03"], id="ten, newest first"),
        pytest.param({"MaxResults": 2, "SortOrder": "Ascending"}, ["01", "02"], id="oldest first"),
        pytest.param({"MaxResults": 2, "SortBy": "Name", "SortOrder": "Ascending"}, ["01", "02"], id="by name"),
        pytest.param({"MaxResults": 3, "SortBy": "Status"}, ["12", "10", "08"], id="by status, then name"),
        pytest.param({"StatusEquals": "InProgress", "SortOrder": "Ascending"}, ODD, id="status"),
        pytest.param({"NameContains": "b-1"}, ["12", "11", "10"], id="name"),
        pytest.param({"CreationTimeAfter": 1600.0, "CreationTimeBefore": 1720.0}, ["11"], id="created between"),
        pytest.param({"LastModifiedTimeAfter": 2600.0, "LastModifiedTimeBefore": 2720.0}, ["11"], id="changed between"),
        pytest.param({"WarmPoolStatusEquals": "Available"}, [], id="warm pools"),
        pytest.param({"TrainingPlanArnEquals": "arn"}, [], id="plans"),
    ],
)
async def test_lists(service: TrainingService, values: dict[str, Any], names: list[str]) -> None:
    """Filters, order and size."""
    assert await listed(service, **values) == names


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("by", ["CreationTime", "Name", "Status"])
@pytest.mark.parametrize("order", ["Ascending", "Descending"])
async def test_pages(service: TrainingService, control: Control, by: str, order: str) -> None:
    """Following the tokens gives every job once, while jobs come and go; the last page has no token."""
    found: list[str] = []
    values: dict[str, Any] = {"SortBy": by, "SortOrder": order, "MaxResults": 5}
    sizes = []
    while True:
        answer = await service.list_training_jobs(values, CALLER)
        found += [each["TrainingJobName"] for each in answer["TrainingJobSummaries"]]
        sizes.append(len(answer["TrainingJobSummaries"]))
        if "NextToken" not in answer:
            break
        values["NextToken"] = answer["NextToken"]
        # What comes in front of the place that was reached does not shift it.
        before = new_job("job-00" if order == "Ascending" else "job-99")
        created_at = 0.0 if order == "Ascending" else 9e9
        await control.jobs.insert(record(msgspec.structs.replace(before, created_at=created_at)))
    assert [each for each in found if each in {f"job-{n:02d}" for n in range(1, 13)}] == found or by == "Status"
    assert len(set(found)) == len(found)
    assert set(found) >= {f"job-{n:02d}" for n in range(1, 13)}
    assert sizes[:2] == [5, 5]


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("token", ["x", "e30=", "W10=", "ü"])
async def test_a_token_of_nobody(service: TrainingService, token: str) -> None:
    """It is refused, and so is one of another order."""
    answer = await service.list_training_jobs({"MaxResults": 1, "SortBy": "Name"}, CALLER)
    for values in ({"NextToken": token}, {"NextToken": answer["NextToken"], "SortBy": "Status"}):
        with pytest.raises(ServiceError, match="NextToken is not one of this list"):
            await service.list_training_jobs(values, CALLER)


@pytest.mark.usefixtures("many")
async def test_a_summary(service: TrainingService) -> None:
    """It has the members of the model and no others."""
    answer = await service.list_training_jobs({"MaxResults": 1}, CALLER)
    (found,) = answer["TrainingJobSummaries"]
    assert set(found) <= set(MODEL["shapes"]["TrainingJobSummary"]["members"])
    assert found["TrainingJobStatus"] == "Stopped"
    ended = msgspec.structs.replace(new_job(), training_ended_at=7.0)
    assert summary(ended)["TrainingEndTime"] == 7.0
