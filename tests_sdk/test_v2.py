"""The SageMaker Python SDK before 3: `Estimator.fit`, `attach`, logs, failure, stop."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

sagemaker = pytest.importorskip("sagemaker.estimator", reason="the SDK before 3 is in .venv-sdk2")

from conftest import BUCKET, HERE, ROLE  # noqa: E402  (what follows makes no sense without the SDK)
from sagemaker.estimator import Estimator  # noqa: E402
from sagemaker.exceptions import UnexpectedStatusException  # noqa: E402
from sagemaker.inputs import TrainingInput  # noqa: E402
from sagemaker.session import Session  # noqa: E402


@pytest.fixture(scope="module")
def session() -> Session:
    """Give a session; without a bucket it would ask for the account at an address that no setting changes."""
    return Session(default_bucket=BUCKET)


@pytest.fixture(scope="module")
def data(session: Session, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give the S3 prefix of two files of numbers, uploaded by the SDK, which makes the bucket."""
    numbers = tmp_path_factory.mktemp("numbers")
    (numbers / "a.txt").write_text("1\n2\n")
    (numbers / "b.txt").write_text("4\n")
    return str(session.upload_data(str(numbers), key_prefix="numbers"))


def estimator(session: Session, mode: str, **more: object) -> Estimator:
    """Give an estimator in script mode."""
    return Estimator(
        image_uri="sdk-framework",
        role=ROLE,
        instance_count=1,
        instance_type="ml.m5.large",
        volume_size=1,
        max_run=300,
        entry_point="train.py",
        source_dir=str(HERE / "source"),
        hyperparameters={"mode": mode, "factor": 3},
        sagemaker_session=session,
        **more,
    )


def test_script_mode(
    session: Session, data: str, members: Callable[[str], dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The program that the SDK ships runs with its hyperparameters and data; attach sees the same job."""
    metrics = [{"Name": "total", "Regex": "total=([0-9.]+);"}]
    fitted = estimator(
        session, "sum", base_job_name="script", metric_definitions=metrics, tags=[{"Key": "k", "Value": "v"}]
    )
    fitted.fit({"train": TrainingInput(data, content_type="text/plain")})
    shown = capsys.readouterr().out
    assert "total=21;" in shown
    assert "Training - " in shown
    assert members(fitted.model_data) == {"total": "21"}

    job = fitted.latest_training_job.name
    described = session.describe_training_job(job)
    assert described["TrainingJobStatus"] == "Completed"
    assert [(each["MetricName"], each["Value"]) for each in described["FinalMetricDataList"]] == [("total", 21.0)]
    assert session.sagemaker_client.list_tags(ResourceArn=described["TrainingJobArn"])["Tags"] == [
        {"Key": "k", "Value": "v"}
    ]

    attached = Estimator.attach(job, sagemaker_session=session)
    assert attached.model_data == fitted.model_data
    assert attached.hyperparameters()["factor"] == "3"
    attached.logs()
    assert "total=21;" in capsys.readouterr().out


def test_plain_image(session: Session, data: str, members: Callable[[str], dict[str, str]]) -> None:
    """An image with its own program gets the data and the hyperparameters; another place for the model is taken."""
    fitted = Estimator(
        image_uri="sdk-plain",
        role=ROLE,
        instance_count=1,
        instance_type="ml.m5.large",
        volume_size=1,
        output_path=f"s3://{BUCKET}/elsewhere",
        hyperparameters={"factor": 3},
        sagemaker_session=session,
    )
    fitted.fit({"train": data}, job_name=f"plain-{int(time.time())}")
    assert fitted.model_data == f"s3://{BUCKET}/elsewhere/{fitted.latest_training_job.name}/output/model.tar.gz"
    assert members(fitted.model_data) == {"sum": "21\n"}


def test_failure(session: Session) -> None:
    """What the program says as it fails reaches the exception."""
    failing = estimator(session, "fail")
    with pytest.raises(UnexpectedStatusException) as caught:
        failing.fit(logs=False)
    assert caught.value.actual_status == "Failed"
    assert "AlgorithmError: ExecuteUserScriptError:\nExitCode 3" in str(caught.value)
    assert "this goes wrong" in str(caught.value)


def test_stop(
    session: Session, members: Callable[[str], dict[str, str]], until_training: Callable[[str], None]
) -> None:
    """A job that is stopped keeps its model."""
    running = estimator(session, "wait")
    running.fit(wait=False)
    job = running.latest_training_job.name
    until_training(job)
    running.latest_training_job.stop()
    described = session.wait_for_job(job, poll=1)
    assert described["TrainingJobStatus"] == "Stopped"
    assert members(described["ModelArtifacts"]["S3ModelArtifacts"]) == {"stopped": "asked to stop"}


def test_refused(session: Session) -> None:
    """A name that is taken is refused in AWS's words."""
    name = f"taken-{int(time.time())}"
    estimator(session, "fail").fit(wait=False, job_name=name)
    with pytest.raises(ClientError, match=r"\(ResourceInUse\).*Training job names must be unique"):
        estimator(session, "fail").fit(wait=False, job_name=name)
