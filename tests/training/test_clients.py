"""What SageMaker's SDKs really send (§2.7, recorded), in their order, against a whole service with scripted hosts."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError
from tests.training.world import World, world

GROUP = "/aws/sagemaker/TrainingJobs"
ROLE = "arn:aws:iam::000000000000:role/training"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world")) as made:
        yield made


def bucket_as_the_sdks_make_it(s3: Any, name: str) -> None:
    """ListBuckets for the creation date, HEAD that must be 404 with "Not Found", then PUT."""
    assert all(each["CreationDate"] for each in s3.list_buckets()["Buckets"])
    with pytest.raises(ClientError) as caught:
        s3.head_bucket(Bucket=name)
    error = caught.value.response
    assert (error["Error"]["Code"], error["Error"]["Message"]) == ("404", "Not Found")
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 404
    s3.create_bucket(Bucket=name)


def lines(logs: Any, stream: str) -> list[str]:
    """Read a stream as both SDKs do: from the head, with the forward token, until a page is empty."""
    found: list[str] = []
    asked: dict[str, Any] = {"startTime": 0, "startFromHead": True}
    while True:
        page = logs.get_log_events(logGroupName=GROUP, logStreamName=stream, **asked)
        if not page["events"]:
            return found
        found += [each["message"] for each in page["events"]]
        asked["nextToken"] = page["nextForwardToken"]


def test_sdk_v2_fits_and_attaches(service: World) -> None:
    """Estimator.fit with script mode and logs, then Estimator.attach."""
    s3, sagemaker, logs = service.client("s3"), service.client(), service.client("logs")
    bucket_as_the_sdks_make_it(s3, "sagemaker-v2")
    s3.put_object(Bucket="sagemaker-v2", Key="input/train.csv", Body=b"1,2\n", ExpectedBucketOwner="000000000000")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("train.py"))
    source = "quick-v2/source/sourcedir.tar.gz"
    s3.put_object(Bucket="sagemaker-v2", Key=source, Body=archive.getvalue(), ServerSideEncryption="aws:kms")
    sagemaker.create_training_job(
        TrainingJobName="quick-v2",
        AlgorithmSpecification={"TrainingInputMode": "File", "TrainingImage": "demo"},
        OutputDataConfig={"S3OutputPath": "s3://sagemaker-v2/"},
        StoppingCondition={"MaxRuntimeInSeconds": 86400},
        ResourceConfig={"VolumeSizeInGB": 30, "InstanceCount": 1, "InstanceType": "ml.m5.large"},
        InputDataConfig=[
            {
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": "s3://sagemaker-v2/input",
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
                "ChannelName": "training",
            }
        ],
        RoleArn=ROLE,
        HyperParameters={
            "epochs": "2",
            "sagemaker_submit_directory": f'"s3://sagemaker-v2/{source}"',
            "sagemaker_program": '"train.py"',
            "sagemaker_container_log_level": "20",
            "sagemaker_job_name": '"quick-v2"',
            "sagemaker_region": '"us-east-1"',
        },
        DebugHookConfig={"S3OutputPath": "s3://sagemaker-v2/", "CollectionConfigurations": []},
        ProfilerConfig={"S3OutputPath": "s3://sagemaker-v2/", "DisableProfiler": False},
    )
    service.ended(sagemaker, "quick-v2")
    asked = {"logGroupName": GROUP, "logStreamNamePrefix": "quick-v2/", "orderBy": "LogStreamName", "limit": 1}
    (stream,) = logs.describe_log_streams(**asked)["logStreams"]
    assert stream["logStreamName"].startswith("quick-v2/algo-1-")
    assert "one line" in lines(logs, stream["logStreamName"])
    assert service.client("sts").get_caller_identity()["Account"] == "000000000000"
    described = sagemaker.describe_training_job(TrainingJobName="quick-v2")
    assert described["OutputDataConfig"]["KmsKeyId"] == ""
    assert all("StatusMessage" in each for each in described["SecondaryStatusTransitions"])
    assert described["ProfilingStatus"] == "Enabled"
    assert sagemaker.list_tags(ResourceArn=described["TrainingJobArn"])["Tags"] == []
    # The toolkit in the container fetches its source by itself, with the job's own credentials.
    environment = service.specs["quick-v2"][0].environment
    assert environment["S3_ENDPOINT_URL"] == service.service.endpoint.url


def test_sdk_v3_trains(service: World) -> None:
    """ModelTrainer.train: the role is checked first, code and drivers are channels, the end is noticed at once."""
    iam, s3, sagemaker = service.client("iam"), service.client("s3"), service.client()
    answer = iam.simulate_principal_policy(
        PolicySourceArn=ROLE, ActionNames=["sagemaker:CreateTrainingJob", "s3:GetObject"], ResourceArns=["*"]
    )
    assert {each["EvalDecision"] for each in answer["EvaluationResults"]} == {"allowed"}
    trust = iam.get_role(RoleName="training")["Role"]["AssumeRolePolicyDocument"]
    assert "sagemaker.amazonaws.com" in json.dumps(trust)
    bucket_as_the_sdks_make_it(s3, "sagemaker-v3")
    base = "quick-v3/input"
    for key in ("code/train.py", "sm_drivers/sm_train.sh", "sm_drivers/common/__pycache__/utils.cpython-311.pyc"):
        s3.put_object(Bucket="sagemaker-v3", Key=f"{base}/{key}", Body=b"x")
    script = "/opt/ml/input/data/sm_drivers/sm_train.sh"
    sagemaker.create_training_job(
        TrainingJobName="quick-v3",
        AlgorithmSpecification={
            "TrainingImage": "demo",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["/bin/bash"],
            "ContainerArguments": ["-c", f"chmod +x {script} && {script}"],
        },
        RoleArn=ROLE,
        InputDataConfig=[
            {
                "ChannelName": name,
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": f"s3://sagemaker-v3/{base}/{name}",
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
            for name in ("code", "sm_drivers")
        ],
        OutputDataConfig={"S3OutputPath": "s3://sagemaker-v3/quick-v3", "CompressionType": "GZIP"},
        ResourceConfig={"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 30},
        StoppingCondition={"MaxRuntimeInSeconds": 3600},
    )
    described = service.ended(sagemaker, "quick-v3")
    assert described["ModelArtifacts"]["S3ModelArtifacts"] == (
        "s3://sagemaker-v3/quick-v3/quick-v3/output/model.tar.gz"
    )
    spec = service.specs["quick-v3"][0]
    assert spec.command == ["/bin/bash", "-c", f"chmod +x {script} && {script}"]
    # It returns as soon as the status is terminal, so by then every host has its stream, and its lines are in it.
    logs = service.client("logs")
    streams = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix="quick-v3/")["logStreams"]
    assert len(streams) == 1
    assert "one line" in lines(logs, streams[0]["logStreamName"])


def test_logs_of_nobody_are_tolerated(service: World) -> None:
    """Both SDKs ask before the first line: no streams, no error."""
    logs = service.client("logs")
    assert logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix="nobody/")["logStreams"] == []


def test_the_cli_follows_a_log(service: World) -> None:
    """`aws logs tail` uses FilterLogEvents with a prefix of stream names."""
    sagemaker = service.client()
    service.create(sagemaker, "quick-tail")
    service.ended(sagemaker, "quick-tail")
    events = service.client("logs").filter_log_events(
        logGroupName=GROUP, logStreamNamePrefix="quick-tail/", interleaved=True, startTime=0
    )["events"]
    assert "one line" in [each["message"] for each in events]


def test_the_waiter_ends_with_stopped_jobs_too(service: World) -> None:
    """`training_job_completed_or_stopped`, and its failure for a job that nobody knows."""
    sagemaker = service.client()
    waiter = sagemaker.get_waiter("training_job_completed_or_stopped")
    service.create(sagemaker, "long-wait")
    service.reached(sagemaker, "long-wait", "Training")
    sagemaker.stop_training_job(TrainingJobName="long-wait")
    waiter.wait(TrainingJobName="long-wait", WaiterConfig={"Delay": 0, "MaxAttempts": 200})
    with pytest.raises(WaiterError, match="Matched expected service error code: ValidationException"):
        waiter.wait(TrainingJobName="nobody", WaiterConfig={"Delay": 0, "MaxAttempts": 1})
