"""Every operation that the service has, called by boto3 and by the AWS CLI, one after the other, against one service."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
from awscli.clidriver import create_clidriver
from botocore import xform_name
from tests.training.world import World, request, world

from treadle.training.api import cloudwatch, iam, logs, sagemaker, sts
from treadle.training.api.s3.app import OPERATIONS

GROUP = "/aws/sagemaker/TrainingJobs"
ROLE = "arn:aws:iam::000000000000:role/training"


class Client(Protocol):
    """What calls an operation by its name and gives the answer's members, a body as bytes."""

    def __call__(self, service: str, operation: str, /, **parameters: Any) -> Any: ...


class Boto3:
    def __init__(self, service: World) -> None:
        self.clients = {each: service.client(each) for each in ("sagemaker", "logs", "cloudwatch", "sts", "iam", "s3")}
        self.called: set[str] = set()

    def __call__(self, service: str, operation: str, /, **parameters: Any) -> Any:
        self.called.add(f"{service}:{operation}")
        answer = getattr(self.clients[service], xform_name(operation))(**parameters)
        return answer | ({"Body": answer["Body"].read()} if operation == "GetObject" else {})


class Cli:
    """The AWS CLI, in this process: it takes most of a second to start."""

    def __init__(self, service: World, directory: Path) -> None:
        self.directory = directory
        self.endpoint = service.service.endpoint.url
        self.driver = create_clidriver()
        self.called: set[str] = set()

    def __call__(self, service: str, operation: str, /, **parameters: Any) -> Any:
        self.called.add(f"{service}:{operation}")
        words: list[str] = []
        if "Body" in parameters:
            (self.directory / "body").write_bytes(parameters.pop("Body"))
            words = ["--body", str(self.directory / "body")]
        command = ["s3api" if service == "s3" else service, xform_name(operation, "-")]
        told = ["--cli-input-json", json.dumps(parameters)] if parameters else []
        # Bodies and this operation's members are no JSON to it.
        if operation == "GetObject":
            told = [f"--{name.lower()}={value}" for name, value in parameters.items()]
            words = [str(self.directory / "out")]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = self.driver.main([*command, "--endpoint-url", self.endpoint, "--output", "json", *told, *words])
        assert code == 0, (operation, err.getvalue())
        answer = json.loads(out.getvalue() or "{}")
        return answer | ({"Body": (self.directory / "out").read_bytes()} if operation == "GetObject" else {})


def use_all(call: Client, service: World, prefix: str) -> None:
    """Use every operation once at least, each for what it is there for."""
    jobs(call, service, prefix)
    metrics(call, service, f"measured-{prefix}")
    assert call("sts", "GetCallerIdentity")["Account"] == "000000000000"
    assumed = call("sts", "AssumeRole", RoleArn=ROLE, RoleSessionName="session")
    assert assumed["Credentials"]["SessionToken"]
    assert call("sts", "GetSessionToken", DurationSeconds=900)["Credentials"]["SessionToken"]
    assert call("iam", "GetRole", RoleName="training")["Role"]["Arn"] == ROLE
    simulated = call("iam", "SimulatePrincipalPolicy", PolicySourceArn=ROLE, ActionNames=["s3:GetObject"])
    assert [each["EvalDecision"] for each in simulated["EvaluationResults"]] == ["allowed"]
    buckets(call, f"{prefix}-bucket")


def jobs(call: Client, service: World, prefix: str) -> None:
    name, waiting = f"quick-{prefix}", f"long-{prefix}"
    arn = call("sagemaker", "CreateTrainingJob", **request(name))["TrainingJobArn"]
    call("sagemaker", "CreateTrainingJob", **request(waiting))
    assert call("sagemaker", "DescribeTrainingJob", TrainingJobName=name)["TrainingJobArn"] == arn
    listed = call("sagemaker", "ListTrainingJobs", NameContains=prefix, SortBy="Name", SortOrder="Ascending")
    assert [each["TrainingJobName"] for each in listed["TrainingJobSummaries"]] == [waiting, name]
    call("sagemaker", "UpdateTrainingJob", TrainingJobName=waiting, ResourceConfig={"KeepAlivePeriodInSeconds": 60})
    call("sagemaker", "StopTrainingJob", TrainingJobName=waiting)
    for each in (name, waiting):
        service.ended(service.client(), each)
    assert call("sagemaker", "AddTags", ResourceArn=arn, Tags=[{"Key": "k", "Value": "v"}])["Tags"]
    assert call("sagemaker", "ListTags", ResourceArn=arn)["Tags"] == [{"Key": "k", "Value": "v"}]
    call("sagemaker", "DeleteTags", ResourceArn=arn, TagKeys=["k"])
    found = call(
        "sagemaker",
        "Search",
        Resource="TrainingJob",
        SearchExpression={"Filters": [{"Name": "TrainingJobName", "Operator": "Equals", "Value": name}]},
    )
    assert [each["TrainingJob"]["TrainingJobStatus"] for each in found["Results"]] == ["Completed"]
    assert [each["logGroupName"] for each in call("logs", "DescribeLogGroups")["logGroups"]] == [GROUP]
    streams = call("logs", "DescribeLogStreams", logGroupName=GROUP, logStreamNamePrefix=f"{name}/")["logStreams"]
    stream = streams[0]["logStreamName"]
    events = call("logs", "GetLogEvents", logGroupName=GROUP, logStreamName=stream, startFromHead=True)["events"]
    filtered = call("logs", "FilterLogEvents", logGroupName=GROUP, logStreamNamePrefix=f"{name}/")["events"]
    assert "one line" in [each["message"] for each in events]
    assert [each["message"] for each in events] == [each["message"] for each in filtered]
    call("sagemaker", "DeleteTrainingJob", TrainingJobName=name)


def metrics(call: Client, service: World, name: str) -> None:
    definitions = [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]
    algorithm = request(name)["AlgorithmSpecification"] | {"MetricDefinitions": definitions}
    call("sagemaker", "CreateTrainingJob", **request(name, AlgorithmSpecification=algorithm))
    ended = service.ended(service.client(), name)["TrainingEndTime"].timestamp()
    metric = {
        "Namespace": GROUP,
        "MetricName": "loss",
        "Dimensions": [{"Name": "TrainingJobName", "Value": name}],
    }
    during = {"StartTime": int(ended) - 300, "EndTime": int(ended) + 60}
    found = call("cloudwatch", "GetMetricStatistics", **metric, **during, Period=60, Statistics=["Average", "Maximum"])
    assert {(each["Average"], each["Maximum"]) for each in found["Datapoints"]} == {(0.5, 0.5)}
    stat = {"Metric": metric, "Period": 60, "Stat": "Minimum"}
    data = call("cloudwatch", "GetMetricData", **during, MetricDataQueries=[{"Id": "a", "MetricStat": stat}])
    assert [each["Values"] for each in data["MetricDataResults"]] == [[0.5]]
    assert call("cloudwatch", "ListMetrics", Namespace=GROUP, Dimensions=metric["Dimensions"])["Metrics"] == [metric]


def buckets(call: Client, bucket: str) -> None:
    call("s3", "CreateBucket", Bucket=bucket)
    call("s3", "HeadBucket", Bucket=bucket)
    assert bucket in [each["Name"] for each in call("s3", "ListBuckets")["Buckets"]]
    assert not call("s3", "GetBucketLocation", Bucket=bucket).get("LocationConstraint")
    assert "Status" not in call("s3", "GetBucketVersioning", Bucket=bucket)
    call("s3", "PutObject", Bucket=bucket, Key="a/1", Body=b"one")
    assert call("s3", "GetObjectTagging", Bucket=bucket, Key="a/1")["TagSet"] == []
    assert call("s3", "HeadObject", Bucket=bucket, Key="a/1")["ContentLength"] == 3
    assert call("s3", "GetObject", Bucket=bucket, Key="a/1")["Body"] == b"one"
    call("s3", "CopyObject", Bucket=bucket, Key="a/2", CopySource=f"{bucket}/a/1")
    upload: Any = {"Bucket": bucket, "Key": "a/3"}
    upload["UploadId"] = call("s3", "CreateMultipartUpload", **upload)["UploadId"]
    part = call("s3", "UploadPart", **upload, PartNumber=1, Body=b"part")["ETag"]
    copied = call("s3", "UploadPartCopy", **upload, PartNumber=2, CopySource=f"{bucket}/a/1")
    assert [each["PartNumber"] for each in call("s3", "ListParts", **upload)["Parts"]] == [1, 2]
    assert len(call("s3", "ListMultipartUploads", Bucket=bucket)["Uploads"]) == 1
    call("s3", "AbortMultipartUpload", **upload)
    upload["UploadId"] = call("s3", "CreateMultipartUpload", Bucket=bucket, Key="a/3")["UploadId"]
    assert call("s3", "UploadPart", **upload, PartNumber=1, Body=b"part")["ETag"] == part != copied
    call("s3", "CompleteMultipartUpload", **upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]})
    versions = call("s3", "ListObjectVersions", Bucket=bucket)["Versions"]
    assert [each["Key"] for each in versions] == ["a/1", "a/2", "a/3"]
    for operation in ("ListObjects", "ListObjectsV2"):
        assert [each["Key"] for each in call("s3", operation, Bucket=bucket)["Contents"]] == ["a/1", "a/2", "a/3"]
    call("s3", "DeleteObject", Bucket=bucket, Key="a/1")
    call("s3", "DeleteObjects", Bucket=bucket, Delete={"Objects": [{"Key": "a/2"}, {"Key": "a/3"}]})
    call("s3", "DeleteBucket", Bucket=bucket)


def every_operation() -> set[str]:
    """Give the operations that the service has, but for those that always refuse."""
    nobody: Any = None

    class Anything:
        def __getattr__(self, name: str) -> Any:
            return nobody

    apis = [
        sagemaker.sagemaker_api(Anything()),
        logs.logs_api(nobody),
        *cloudwatch.cloudwatch_apis(nobody, nobody, nobody),
        sts.sts_api(nobody),
        iam.iam_api(),
    ]
    found = {f"{api.name}:{name}" for api in apis for name in api.operations} | {f"s3:{name}" for name in OPERATIONS}
    return found - {"sagemaker:ListTrainingJobsForHyperParameterTuningJob"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture
def aws_environment(service: World, tmp_path: Path) -> Iterator[None]:
    key, secret = service.home.credentials()
    before = dict(os.environ)
    nowhere = str(tmp_path / "no-aws-config")
    mine: Mapping[str, str] = {
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": nowhere,
        "AWS_SHARED_CREDENTIALS_FILE": nowhere,
        "AWS_PAGER": "",
    }
    os.environ.update(mine)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_boto3_on_every_operation(service: World) -> None:
    """Each is called and answers as its users need it."""
    client = Boto3(service)
    use_all(client, service, "boto")
    assert client.called == every_operation()


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # the CLI leaves files of bodies to the collector
@pytest.mark.usefixtures("aws_environment")
def test_the_cli_on_every_operation(service: World, tmp_path: Path) -> None:
    """The same, through `aws`."""
    client = Cli(service, tmp_path)
    use_all(client, service, "cli")
    assert client.called == every_operation()
    gc.collect()  # here, where the warnings are not errors
