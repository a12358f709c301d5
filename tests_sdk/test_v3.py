"""The SageMaker Python SDK since 3: `ModelTrainer.train`, logs, failure, stop.

What it sends is a script of its own that the request's entry point runs, with places below `/opt/ml` written into it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest

pytest.importorskip("sagemaker.train", reason="the SDK since 3 is in .venv-sdk3")

from conftest import BUCKET, HERE, ROLE
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.resources import TrainingJob
from sagemaker.core.training.configs import Compute, InputData, SourceCode, StoppingCondition
from sagemaker.core.utils.exceptions import FailedStatusError
from sagemaker.train import ModelTrainer

SANDBOX = "namespace"


@pytest.fixture(scope="module")
def session() -> Session:
    """Give a session with a bucket of its own."""
    return Session(default_bucket=BUCKET)


@pytest.fixture(scope="module")
def data(session: Session, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give the S3 prefix of two files of numbers, uploaded by the SDK, which makes the bucket."""
    numbers = tmp_path_factory.mktemp("numbers")
    (numbers / "a.txt").write_text("1\n2\n")
    (numbers / "b.txt").write_text("4\n")
    return str(session.upload_data(str(numbers), key_prefix="numbers"))


def trainer(session: Session, mode: str, **source: str) -> ModelTrainer:
    """Give a trainer of the program in source/."""
    return ModelTrainer(
        training_image="sdk-plain",
        role=ROLE,
        base_job_name=f"three-{mode}",
        source_code=SourceCode(source_dir=str(HERE / "source"), **(source or {"entry_script": "train.py"})),
        compute=Compute(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=1),
        stopping_condition=StoppingCondition(max_runtime_in_seconds=300),
        hyperparameters={"mode": mode, "factor": 3},
        sagemaker_session=session,
    )


def test_script(
    session: Session, data: str, members: Callable[[str], dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    """The SDK's drivers run the program with its hyperparameters and data, and show its log."""
    training = trainer(session, "sum")
    with caplog.at_level(logging.INFO, logger="sagemaker.core"):
        training.train(input_data_config=[InputData(channel_name="train", data_source=data)])
    assert "total=21;" in caplog.text
    assert "Training Container Execution Completed" in caplog.text  # the last line of the job

    job = training._latest_training_job  # noqa: SLF001  (the SDK gives no other way)
    assert job.training_job_status == "Completed"
    assert members(job.model_artifacts.s3_model_artifacts) == {"total": "21"}
    described = boto3.client("sagemaker").describe_training_job(TrainingJobName=job.training_job_name)
    assert {each["ChannelName"] for each in described["InputDataConfig"]} == {"train", "code", "sm_drivers"}
    assert described["AlgorithmSpecification"]["ContainerEntrypoint"] == ["/bin/bash"]
    assert TrainingJob.get(job.training_job_name).training_job_arn == job.training_job_arn


def test_command(session: Session, tmp_path: Path, members: Callable[[str], dict[str, str]]) -> None:
    """A command of the user's own runs in the source directory; data of this machine is uploaded by the SDK."""
    (tmp_path / "numbers").mkdir()
    (tmp_path / "numbers/a.txt").write_text("7")
    training = trainer(session, "sum", command="python3 train.py --factor 5")
    training.train(
        input_data_config=[InputData(channel_name="train", data_source=str(tmp_path / "numbers"))], logs=False
    )
    job = training._latest_training_job  # noqa: SLF001  (the SDK gives no other way)
    assert members(job.model_artifacts.s3_model_artifacts) == {"total": "35"}


def test_failure(session: Session, data: str) -> None:
    """A program that fails is an exception with the reason that the SDK's drivers wrote."""
    training = trainer(session, "fail")
    with pytest.raises(FailedStatusError) as caught:
        training.train(input_data_config=[InputData(channel_name="train", data_source=data)], logs=False)
    assert "Failure Reason: AlgorithmError: " in str(caught.value)
    assert "returned non-zero exit status 3., exit code: 3" in str(caught.value)


def test_stop(session: Session, data: str, until_training: Callable[[str], None]) -> None:
    """A job that is stopped is waited for."""
    training = trainer(session, "wait")
    training.train(input_data_config=[InputData(channel_name="train", data_source=data)], wait=False)
    job = training._latest_training_job  # noqa: SLF001  (the SDK gives no other way)
    until_training(job.training_job_name)
    job.stop()
    job.wait(poll=1)
    assert (job.training_job_status, job.secondary_status) == ("Stopped", "Stopped")
