"""The SageMaker Python SDK before 3: `Estimator.fit`, `attach`, logs, failure, stop."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import boto3
import numpy as np
import pytest
from botocore.exceptions import ClientError

sagemaker = pytest.importorskip("sagemaker.estimator", reason="the SDK before 3 is in .venv-sdk2")

from conftest import BUCKET, HERE, ROLE  # noqa: E402  (what follows makes no sense without the SDK)
from sagemaker import image_uris  # noqa: E402
from sagemaker.amazon.kmeans import KMeans  # noqa: E402
from sagemaker.estimator import Estimator  # noqa: E402
from sagemaker.exceptions import UnexpectedStatusException  # noqa: E402
from sagemaker.inputs import TrainingInput  # noqa: E402
from sagemaker.session import Session  # noqa: E402
from sagemaker.xgboost.estimator import XGBoost  # noqa: E402


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

    frame = fitted.training_job_analytics.dataframe()
    assert frame[["metric_name", "value"]].to_numpy().tolist() == [["total", 21.0]]

    attached = Estimator.attach(job, sagemaker_session=session)
    assert attached.model_data == fitted.model_data
    assert attached.hyperparameters()["factor"] == "3"
    attached.logs()
    assert "total=21;" in capsys.readouterr().out


def test_no_session(data: str, members: Callable[[str], dict[str, str]]) -> None:
    """Without a session of its own, an estimator uses the default bucket, which `treadle env` settles."""
    fitted = Estimator(
        "sdk-plain",
        role=ROLE,
        instance_count=1,
        instance_type="ml.m5.large",
        volume_size=1,
        hyperparameters={"factor": 3},
    )
    fitted.fit({"train": data}, logs=False)
    assert fitted.model_data.startswith("s3://sagemaker-us-east-1-000000000000/")
    assert members(fitted.model_data) == {"sum": "21\n"}


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


def _bytes(uri: str, name: str) -> bytes:
    """Give a file of a model."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    archive = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        member = opened.extractfile(name)
        assert member is not None
        return member.read()


def _metrics(session: Session, job: str) -> dict[str, float]:
    described = session.describe_training_job(job)
    assert described["TrainingJobStatus"] == "Completed"
    return {each["MetricName"]: each["Value"] for each in described["FinalMetricDataList"]}


def test_kmeans(session: Session) -> None:
    """The SDK's own estimator writes RecordIO with the protobuf library, in a shard for each host, and a manifest."""
    generator = np.random.default_rng(1)
    true = np.array([[0, 0], [9, 0], [0, 9]])
    rows = (true[np.arange(300) % 3] + generator.normal(scale=0.2, size=(300, 2))).astype("float32")
    fitted = KMeans(
        role=ROLE, instance_count=2, instance_type="ml.m5.large", k=3, epochs=2, eval_metrics=["msd", "ssd"],
        sagemaker_session=session,
    )  # fmt: skip
    fitted.fit([fitted.record_set(rows), fitted.record_set(rows, channel="test")], mini_batch_size=50)
    centers = np.frombuffer(_bytes(fitted.model_data, "model_algo-1"), "<f4", offset=64, count=6).reshape(3, 2)
    assert np.abs(centers[np.lexsort(centers.round().T)] - true[np.lexsort(true.T)]).max() < 0.1
    told = _metrics(session, fitted.latest_training_job.name)
    apart = ((rows[:, None] - centers) ** 2).sum(axis=2).min(axis=1)
    assert told["test:msd"] == pytest.approx(apart.mean(), rel=1e-4)
    assert told["test:ssd"] == pytest.approx(apart.sum(), rel=1e-4)


def test_xgboost(session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The image that the SDK names trains on two hosts; the metrics of AWS's own definitions are there."""
    rows = np.random.default_rng(2).normal(size=(200, 3))
    for number in range(2):
        part = rows[number::2]
        np.savetxt(tmp_path / f"{number}.csv", np.column_stack([part[:, 0] > 0, part]), "%g", delimiter=",")
    prefix = session.upload_data(str(tmp_path), key_prefix="xgboost")
    fitted = Estimator(
        image_uri=image_uris.retrieve("xgboost", session.boto_region_name, "1.7-1"),
        role=ROLE,
        instance_count=2,
        instance_type="ml.m5.large",
        hyperparameters={"num_round": 3, "objective": "binary:logistic", "eval_metric": "error", "tree_method": "hist"},
        sagemaker_session=session,
    )
    data = TrainingInput(prefix, content_type="text/csv", distribution="ShardedByS3Key")
    fitted.fit({"train": data, "validation": data})
    assert _metrics(session, fitted.latest_training_job.name) == {"train:error": 0, "validation:error": 0}
    assert "[2]#011train-error:0.00000#011validation-error:0.00000" in capsys.readouterr().out


def test_xgboost_in_script_mode(session: Session, data: str, members: Callable[[str], dict[str, str]]) -> None:
    """The same image runs the user's own program, as the SDK sends it."""
    fitted = XGBoost(
        entry_point="train.py",
        source_dir=str(HERE / "source"),
        framework_version="1.7-1",
        role=ROLE,
        instance_count=1,
        instance_type="ml.m5.large",
        hyperparameters={"mode": "sum", "factor": 3},
        sagemaker_session=session,
    )
    fitted.fit({"train": TrainingInput(data, content_type="text/plain")})
    assert members(fitted.model_data) == {"total": "21"}


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
