"""What the options of the SDK since 3 become: trainers as their users configure them, beyond `test_v3.py`."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest

pytest.importorskip("sagemaker.train", reason="the SDK since 3 is in .venv-sdk3")

from conftest import BUCKET, HERE, ROLE, TREADLE
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.resources import Tag as JobTags
from sagemaker.core.resources import TrainingJob
from sagemaker.core.shapes import Tag as JobTag
from sagemaker.core.training import configs
from sagemaker.train import ModelTrainer

SANDBOX = "namespace"
_PATIENCE = 60.0


@pytest.fixture(scope="module")
def session() -> Session:
    """Give a session with a bucket of its own."""
    return Session(default_bucket=BUCKET)


def trainer(session: Session, **options: Any) -> ModelTrainer:
    settings = {
        "training_image": "sdk-plain",
        "role": ROLE,
        "base_job_name": "three-options",
        "source_code": configs.SourceCode(source_dir=str(HERE / "options"), entry_script="told.py"),
        "compute": configs.Compute(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=1),
        "stopping_condition": configs.StoppingCondition(max_runtime_in_seconds=300),
        "sagemaker_session": session,
    }
    return ModelTrainer(**settings | options)


def ended(training: ModelTrainer) -> dict[str, Any]:
    """Wait for the end of the job that a trainer has begun. The SDK itself looks every five seconds."""
    job = training._latest_training_job  # noqa: SLF001  (the SDK gives no other way)
    end = time.monotonic() + _PATIENCE
    while True:
        described: dict[str, Any] = boto3.client("sagemaker").describe_training_job(
            TrainingJobName=job.training_job_name
        )
        if described["TrainingJobStatus"] not in {"InProgress", "Stopping"}:
            return described
        assert time.monotonic() < end, described
        time.sleep(0.2)


def trained(training: ModelTrainer, *data: configs.InputData) -> dict[str, Any]:
    training.train(input_data_config=list(data), wait=False)
    described = ended(training)
    assert described["TrainingJobStatus"] == "Completed", described.get("FailureReason")
    return described


def test_everything_that_can_be_configured(
    session: Session, members: Callable[[str], dict[str, str]], tmp_path: Any
) -> None:
    """Two hosts, FastFile, shards, metrics, networks, keys, tags and what is there for AWS alone."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(name)
    training = (
        trainer(
            session,
            hyperparameters={"rate": 1e-7, "on": True, "many": [1, "a b"], "map": {"x": 1}, "text": "ü", "empty": ""},
            environment={"FROM_USER": "a b=c"},
            training_input_mode="FastFile",
            networking=configs.Networking(
                subnets=["subnet-1"], security_group_ids=["sg-1"], enable_inter_container_traffic_encryption=True
            ),
            output_data_config=configs.OutputDataConfig(s3_output_path=f"s3://{BUCKET}/out", kms_key_id="alias/key"),
            compute=configs.Compute(
                instance_type="ml.m5.large", instance_count=2, volume_size_in_gb=1, keep_alive_period_in_seconds=60
            ),
            tags=[configs.Tag(key="team", value="blue")],
        )
        .with_metric_definitions([configs.MetricDefinition(name="loss", regex="(?<!val_)loss: ([0-9.]+)")])
        .with_tensorboard_output_config(configs.TensorBoardOutputConfig(s3_output_path=f"s3://{BUCKET}/board"))
        .with_retry_strategy(configs.RetryStrategy(maximum_retry_attempts=2))
        .with_remote_debug_config(configs.RemoteDebugConfig(enable_remote_debug=True))
        .with_infra_check_config(configs.InfraCheckConfig(enable_infra_check=True))
        .with_session_chaining_config(configs.SessionChainingConfig(enable_session_tag_chaining=True))
    )
    shard = configs.S3DataSource(
        s3_data_type="S3Prefix", s3_uri=f"s3://{BUCKET}/shards", s3_data_distribution_type="ShardedByS3Key"
    )
    session.upload_data(str(tmp_path), key_prefix="shards")
    job = trained(
        training,
        configs.InputData(channel_name="local", data_source=str(tmp_path)),
        configs.InputData(channel_name="shard", data_source=shard),
    )
    told = [json.loads(each) for each in members(job["ModelArtifacts"]["S3ModelArtifacts"]).values()]
    arguments = told[0]["arguments"]
    assert dict(zip(arguments[::2], arguments[1::2], strict=True)) == {
        "--rate": "1e-07", "--on": "true", "--many": '[1, "a b"]', "--map": '{"x": 1}', "--text": "ü", "--empty": "",
    }  # fmt: skip
    assert [each["environment"]["FROM_USER"] for each in told] == ["a b=c"] * 2
    assert [each["data"]["local"] for each in told] == [["a.txt", "b.txt"]] * 2
    assert sorted(each["data"]["shard"] for each in told) == [["a.txt"], ["b.txt"]]
    assert [(each["MetricName"], each["Value"]) for each in job["FinalMetricDataList"]] == [("loss", 0.25)]
    resource = TrainingJob.get(job["TrainingJobName"])
    assert resource.warm_pool_status.status == "Terminated"
    JobTags.add_tags(resource_arn=resource.training_job_arn, tags=[JobTag(key="more", value="1")])
    assert {each.key: each.value for each in JobTags.get_all(resource_arn=resource.training_job_arn)} == {
        "team": "blue", "more": "1",
    }  # fmt: skip


def test_a_spot_job_goes_on_from_its_checkpoint(
    session: Session, until_training: Callable[[str], None], members: Callable[[str], dict[str, str]]
) -> None:
    """Its instances are taken away, and it begins again where it was."""
    compute = configs.Compute(
        instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=1, enable_managed_spot_training=True
    )
    training = trainer(
        session,
        hyperparameters={"wait": "yes"},
        compute=compute,
        stopping_condition=configs.StoppingCondition(max_runtime_in_seconds=300, max_wait_time_in_seconds=600),
    ).with_checkpoint_config(configs.CheckpointConfig(s3_uri=f"s3://{BUCKET}/checkpoints/{time.time()}"))
    training.train(wait=False)
    name = training._latest_training_job.training_job_name  # noqa: SLF001  (the SDK gives no other way)
    until_training(name)
    subprocess.run([TREADLE, "jobs", "interrupt", name], check=True)
    job = ended(training)
    assert "Interrupted" in [each["Status"] for each in job["SecondaryStatusTransitions"]]
    told = next(iter(members(job["ModelArtifacts"]["S3ModelArtifacts"]).values()))
    assert json.loads(told)["restored"] == ["0.ckpt"]


def test_the_first_instance_type_that_can_be_had(session: Session) -> None:
    """Of preferences it is selected, and told."""
    preferences = [{"instance_type": each} for each in ("ml.p5.48xlarge", "ml.m5.large")]
    compute = configs.Compute(instance_count=1, volume_size_in_gb=1, instance_preferences=preferences)
    job = trained(trainer(session, compute=compute))
    assert job["ResourceConfig"]["SelectedInstanceType"] == "ml.m5.large"


def test_groups_of_instances(session: Session, members: Callable[[str], dict[str, str]]) -> None:
    """A heterogeneous cluster has the hosts of all its groups."""
    groups = [
        configs.InstanceGroup(instance_group_name=name, instance_type="ml.m5.large", instance_count=1) for name in "ab"
    ]
    compute = configs.Compute(instance_groups=groups, volume_size_in_gb=1)
    job = trained(trainer(session, compute=compute))
    assert sorted(members(job["ModelArtifacts"]["S3ModelArtifacts"])) == ["algo-1.json", "algo-2.json"]


def test_an_uncompressed_model_of_an_image_alone(session: Session) -> None:
    """Without source code the image's own program runs; `compression_type` NONE keeps its files as they are."""
    output = configs.OutputDataConfig(s3_output_path=f"s3://{BUCKET}/plain", compression_type="NONE")
    training = trainer(session, source_code=None, output_data_config=output, hyperparameters={"factor": 3})
    boto3.client("s3").put_object(Bucket=BUCKET, Key="numbers/a.txt", Body=b"7\n")
    job = trained(training, configs.InputData(channel_name="train", data_source=f"s3://{BUCKET}/numbers/"))
    prefix = f"plain/{job['TrainingJobName']}/output/model/"
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{BUCKET}/{prefix}"
    assert boto3.client("s3").get_object(Bucket=BUCKET, Key=f"{prefix}sum")["Body"].read() == b"21\n"


def test_jobs_as_resources(session: Session) -> None:
    """`TrainingJob` lists, updates and deletes."""
    name = trained(trainer(session))["TrainingJobName"]
    assert name in [each.training_job_name for each in TrainingJob.get_all(status_equals="Completed")]
    job = TrainingJob.get(name)
    with pytest.raises(Exception, match=r"The request was rejected because the training job is in status Completed\."):
        job.stop()
    job.delete()
    assert name not in [each.training_job_name for each in TrainingJob.get_all(status_equals="Completed")]
