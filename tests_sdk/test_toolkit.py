"""SageMaker's training toolkit (`sagemaker-training`), the program in AWS's own framework images, as an image here."""

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

pytest.importorskip("sagemaker_training", reason="the toolkit is in .venv-toolkit")

from conftest import BUCKET, HERE, ROLE, TREADLE

SANDBOX = "namespace"
GROUP = "/aws/sagemaker/TrainingJobs"


@pytest.fixture(scope="module", autouse=True)
def image(service: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> None:  # noqa: ARG001  (it runs first)
    """Register the toolkit's `train` as an image, and bring the data."""
    directory = tmp_path_factory.mktemp("toolkit")
    programs = Path(sys.executable).parent
    lines = [
        'name = "toolkit"',
        f'command = ["{programs}/train"]',
        "[environment]",
        f'PATH = "{programs}:/usr/local/bin:/usr/bin:/bin"',
    ]
    (directory / "image.toml").write_text("\n".join(lines))
    subprocess.run([TREADLE, "images", "add", directory], check=True)
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as packed:
        for each in sorted((HERE / "source").glob("*.py")):
            packed.add(each, each.name)
    s3.put_object(Bucket=BUCKET, Key="code/sourcedir.tar.gz", Body=archive.getvalue())
    for name, numbers in {"a": "1 2", "b": "4"}.items():
        s3.put_object(Bucket=BUCKET, Key=f"numbers/{name}.txt", Body=numbers.encode())


def create(name: str, mode: str, hosts: int = 1) -> Any:
    """Create a job as the SDK does; give what waits for its end and describes it."""
    hyperparameters = {
        "mode": mode,
        "factor": 3,
        "sagemaker_program": "train.py",
        "sagemaker_submit_directory": f"s3://{BUCKET}/code/sourcedir.tar.gz",
        "sagemaker_region": "us-east-1",
        "sagemaker_job_name": name,
        "sagemaker_container_log_level": 20,
    }
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/numbers/"}
    sagemaker = boto3.client("sagemaker")
    sagemaker.create_training_job(
        TrainingJobName=name,
        AlgorithmSpecification={"TrainingImage": "toolkit", "TrainingInputMode": "File"},
        RoleArn=ROLE,
        HyperParameters={each: json.dumps(value) for each, value in hyperparameters.items()},
        InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": hosts, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 300},
    )

    def ended() -> Any:
        sagemaker.get_waiter("training_job_completed_or_stopped").wait(
            TrainingJobName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
        )
        return sagemaker.describe_training_job(TrainingJobName=name)

    return ended


def log(name: str) -> str:
    """Give the whole log of a job."""
    events = boto3.client("logs").filter_log_events(logGroupName=GROUP, logStreamNamePrefix=f"{name}/")["events"]
    return "\n".join(each["message"] for each in events)


@pytest.mark.parametrize("hosts", [1, 2])
def test_a_script(members: Callable[[str], dict[str, str]], hosts: int) -> None:
    """It fetches its script from S3, finds the other hosts by name, and runs with hyperparameters and data."""
    ended = create(f"toolkit-{hosts}", "sum", hosts)()
    assert ended["TrainingJobStatus"] == "Completed"
    assert members(ended["ModelArtifacts"]["S3ModelArtifacts"]) == {"total": "21"}
    said = log(f"toolkit-{hosts}")
    assert said.count("total=21;") == hosts
    assert said.count("Reporting training SUCCESS") == hosts


def test_a_script_that_fails() -> None:
    """The toolkit's words are the reason, and its exit code is 1 whatever the script's is."""
    ended = create("toolkit-fails", "fail")
    with pytest.raises(Exception, match="Failed"):
        ended()
    reason = boto3.client("sagemaker").describe_training_job(TrainingJobName="toolkit-fails")["FailureReason"]
    assert reason.startswith("AlgorithmError: ExecuteUserScriptError:\nExitCode 3\nErrorMessage ")
    assert ", exit code: 1" in reason


def test_a_script_that_is_stopped(
    members: Callable[[str], dict[str, str]], until_training: Callable[[str], None]
) -> None:
    """SIGTERM reaches the script, which the toolkit does not tell; what it saves is kept."""
    ended = create("toolkit-stops", "wait")
    until_training("toolkit-stops")
    boto3.client("sagemaker").stop_training_job(TrainingJobName="toolkit-stops")
    described = ended()
    assert described["TrainingJobStatus"] == "Stopped"
    assert members(described["ModelArtifacts"]["S3ModelArtifacts"]) == {"stopped": "asked to stop"}
