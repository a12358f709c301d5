"""Airflow's operator for training jobs, from Amazon's provider: it polls, tells logs, names jobs anew, and asks IAM."""

import json
import os
from collections.abc import Callable
from typing import Any

import boto3
import pytest

pytest.importorskip("airflow.providers.amazon", reason="Airflow is in .venv-airflow")

from conftest import BUCKET


@pytest.fixture(scope="module", autouse=True)
def operator(service: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Give the operator's class; Airflow has a home of its own, and a connection to the service."""
    connection = {
        "conn_type": "aws",
        "login": service["AWS_ACCESS_KEY_ID"],
        "password": service["AWS_SECRET_ACCESS_KEY"],
        "extra": {"region_name": service["AWS_REGION"], "endpoint_url": service["AWS_ENDPOINT_URL"]},
    }
    os.environ.update(
        AIRFLOW_HOME=str(tmp_path_factory.mktemp("airflow")), AIRFLOW_CONN_AWS_DEFAULT=json.dumps(connection)
    )
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="numbers/a.txt", Body=b"1 2")
    from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator

    return SageMakerTrainingOperator


def config(name: str, script: str) -> dict[str, Any]:
    """Give a job; its role is a name, which Airflow looks up in IAM."""
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/numbers/"}
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": "sdk-plain",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["sh", "-c", script],
        },
        "RoleArn": "Training",
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 300},
    }


def run(operator: Callable[..., Any], name: str, script: str, **options: Any) -> dict[str, Any]:
    """Run the operator as a task would."""
    options = {"print_log": False, "check_interval": 1, **options}
    task = operator(task_id="train", config=config(name, script), **options)
    return task.execute({})["Training"]


def test_a_job(operator: Callable[..., Any], members: Callable[[str], dict[str, str]]) -> None:
    """It is waited for, and described."""
    job = run(operator, "airflow", "cp -r /opt/ml/input/data/train/. /opt/ml/model")
    assert (job["TrainingJobStatus"], job["RoleArn"].rpartition("/")[2]) == ("Completed", "Training")
    assert members(job["ModelArtifacts"]["S3ModelArtifacts"]) == {"a.txt": "1 2"}


def test_a_name_that_is_taken(operator: Callable[..., Any]) -> None:
    """The operator finds that out and takes another."""
    first, second = (run(operator, "taken", "true")["TrainingJobName"] for _ in range(2))
    assert first == "taken"
    assert second.startswith("taken-")


@pytest.mark.parametrize("print_log", [False, True])
def test_a_job_that_fails(operator: Callable[..., Any], print_log: bool) -> None:
    """The task fails with the reason."""
    with pytest.raises(Exception, match="AlgorithmError: , exit code: 3"):
        run(operator, f"fails-{print_log}", "echo no; exit 3", print_log=print_log)
