"""What the options of the SDK before 3 become: estimators as their users configure them, beyond `test_v2.py`."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

sagemaker = pytest.importorskip("sagemaker.estimator", reason="the SDK before 3 is in .venv-sdk2")

from conftest import BUCKET, HERE, ROLE, TREADLE  # noqa: E402  (what follows makes no sense without the SDK)
from sagemaker.analytics import TrainingJobAnalytics  # noqa: E402
from sagemaker.debugger import DebuggerHookConfig, ProfilerConfig, Rule, rule_configs  # noqa: E402
from sagemaker.estimator import Estimator  # noqa: E402
from sagemaker.exceptions import UnexpectedStatusException  # noqa: E402
from sagemaker.inputs import ShuffleConfig, TrainingInput  # noqa: E402
from sagemaker.instance_group import InstanceGroup  # noqa: E402
from sagemaker.s3 import S3Downloader, S3Uploader  # noqa: E402
from sagemaker.session import Session  # noqa: E402

SANDBOX = "namespace"
_PATIENCE = 60.0


@pytest.fixture(scope="module")
def session() -> Session:
    """Give a session with a bucket of its own."""
    return Session(default_bucket=BUCKET)


@pytest.fixture(scope="module")
def files(session: Session, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give the S3 prefix of two files, one of them in a directory, with names that need care."""
    directory = tmp_path_factory.mktemp("files")
    (directory / "sub dir").mkdir()
    (directory / "ä+b.txt").write_text("1")
    (directory / "sub dir/b.txt").write_text("2")
    return str(session.upload_data(str(directory), key_prefix="files"))


FILES = ["sub dir/b.txt", "ä+b.txt"]

Told = Callable[..., dict[str, Any]]


@pytest.fixture
def told(session: Session, members: Callable[[str], dict[str, str]]) -> Told:
    """Give a function that trains and gives what the program was told, by host; it looks every fifth of a second."""

    def train(inputs: Any = None, **options: Any) -> dict[str, Any]:
        estimator = new(session, **options)
        estimator.fit(inputs, wait=False)
        described = ended(session, estimator)
        assert described["TrainingJobStatus"] == "Completed", described.get("FailureReason")
        archived = members(described["ModelArtifacts"]["S3ModelArtifacts"])
        return {name.removesuffix(".json"): json.loads(text) for name, text in archived.items()} | {"job": described}

    return train


def new(session: Session, **options: Any) -> Estimator:
    settings = {
        "image_uri": "sdk-framework",
        "role": ROLE,
        "instance_count": 1,
        "instance_type": "ml.m5.large",
        "volume_size": 1,
        "max_run": 300,
        "entry_point": "told.py",
        "source_dir": str(HERE / "options"),
        "sagemaker_session": session,
    }
    return Estimator(**settings | options)


def ended(session: Session, estimator: Estimator) -> dict[str, Any]:
    """Wait for the end. The SDK itself looks after five seconds, and then after ten."""
    end = time.monotonic() + _PATIENCE
    while True:
        described: dict[str, Any] = session.describe_training_job(estimator.latest_training_job.name)
        if described["TrainingJobStatus"] not in {"InProgress", "Stopping"}:
            return described
        assert time.monotonic() < end, described
        time.sleep(0.2)


def test_hyperparameters_of_every_kind(told: Told) -> None:
    """Each is an argument as the toolkit writes it, whatever is in it."""
    given = {
        "i": 3, "rate": 1e-7, "on": True, "nothing": None, "many": [1, "a b"], "text": 'it\'s "q" $HOME `x`\n\\',
        "ключ": "ü", "empty": "", "minus": -1, "zeros": "007", "json": '{"a": 1}',
    }  # fmt: skip
    arguments = told(hyperparameters=given)["algo-1"]["arguments"]
    assert dict(zip(arguments[::2], arguments[1::2], strict=True)) == {
        "-i": "3", "--rate": "1e-07", "--on": "True", "--nothing": "", "--many": "[1, 'a b']", "--text": given["text"],
        "--ключ": "ü", "--empty": "", "--minus": "-1", "--zeros": "007", "--json": '{"a": 1}',
    }  # fmt: skip


def test_a_job_without_a_network(session: Session, told: Told) -> None:
    """Then the SDK sends the source as a channel. What else is set for the account on AWS changes nothing here."""
    found = told(
        enable_network_isolation=True,
        subnets=["subnet-1"],
        security_group_ids=["sg-1"],
        output_kms_key="alias/key",
        volume_kms_key="alias/key",
        encrypt_inter_container_traffic=True,
        code_location=f"s3://{BUCKET}/code",
        output_path=f"s3://{BUCKET}/o p/ü/",
        environment={"FROM_USER": "a b=c"},
        tags={"team": "blue"},
    )
    assert found["algo-1"]["environment"]["FROM_USER"] == "a b=c"
    assert list(found["algo-1"]["data"]) == ["code"]
    job = found["job"]
    assert (job["OutputDataConfig"]["KmsKeyId"], job["VpcConfig"]["Subnets"]) == ("alias/key", ["subnet-1"])
    tags = session.sagemaker_client.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"]
    assert tags == [{"Key": "team", "Value": "blue"}]


def test_inputs_of_every_kind(session: Session, files: str, told: Told) -> None:
    """Prefixes, one object, manifests, FastFile and shards have the same files at the same places."""
    manifest = json.dumps([{"prefix": f"{files}/"}, *FILES])
    S3Uploader.upload_string_as_file_body(manifest, f"s3://{BUCKET}/manifest.json", sagemaker_session=session)
    data = told(
        {
            "prefix": files,
            "one": f"{files}/ä+b.txt",
            "manifest": TrainingInput(f"s3://{BUCKET}/manifest.json", s3_data_type="ManifestFile"),
            "fast": TrainingInput(files, input_mode="FastFile"),
            "shard": TrainingInput(files, distribution="ShardedByS3Key", shuffle_config=ShuffleConfig(7)),
        }
    )["algo-1"]["data"]
    assert data == {**dict.fromkeys(("prefix", "manifest", "fast", "shard"), FILES), "one": ["ä+b.txt"]}


def test_a_heterogeneous_cluster(files: str, told: Told) -> None:
    """Each group has its hosts and its data."""
    groups = [InstanceGroup("data", "ml.c5.xlarge", 1), InstanceGroup("train", "ml.m5.large", 2)]
    found = told(
        {"all": files, "some": TrainingInput(files, instance_groups=["data"])},
        instance_count=None,
        instance_type=None,
        instance_groups=groups,
    )
    hosts = {name: each for name, each in found.items() if name != "job"}
    by_group: dict[str, list[str]] = {}
    for each in hosts.values():
        by_group.setdefault(each["environment"]["SM_CURRENT_INSTANCE_GROUP"], []).extend(sorted(each["data"]))
    assert set(hosts) == {"algo-1", "algo-2", "algo-3"}
    assert by_group == {"data": ["all", "some"], "train": ["all", "all"]}


def test_a_spot_job_goes_on_from_its_checkpoint(
    session: Session, until_training: Callable[[str], None], members: Callable[[str], dict[str, str]]
) -> None:
    """Its instances are taken away; a second job with the same place for checkpoints finds what the first has left."""
    spot = {
        "use_spot_instances": True,
        "max_wait": 600,
        "checkpoint_s3_uri": f"s3://{BUCKET}/checkpoints/{time.time()}",
    }
    first = new(session, hyperparameters={"wait": "yes"}, **spot)
    first.fit(wait=False)
    job = first.latest_training_job.name
    until_training(job)
    subprocess.run([TREADLE, "jobs", "interrupt", job], check=True)
    described = ended(session, first)
    path = [each["Status"] for each in described["SecondaryStatusTransitions"]]
    assert path[path.index("Training") :] == [
        "Training", "Interrupted", "Starting", "Downloading", "Training", "Uploading", "Completed",
    ]  # fmt: skip
    assert json.loads(members(described["ModelArtifacts"]["S3ModelArtifacts"])["algo-1.json"])["restored"] == ["0.ckpt"]
    second = new(session, **spot)
    second.fit(wait=False)
    described = ended(session, second)
    restored = json.loads(members(described["ModelArtifacts"]["S3ModelArtifacts"])["algo-1.json"])["restored"]
    assert restored == ["0.ckpt", "1.ckpt"]


def test_what_the_debugger_and_the_profiler_want(session: Session) -> None:
    """It is taken, and `fit` with all its logs does not wait for rules that nobody evaluates."""
    estimator = new(
        session,
        disable_profiler=False,
        profiler_config=ProfilerConfig(system_monitor_interval_millis=500),
        debugger_hook_config=DebuggerHookConfig(s3_output_path=f"s3://{BUCKET}/tensors"),
        rules=[Rule.sagemaker(rule_configs.loss_not_decreasing())],
        keep_alive_period_in_seconds=600,
    )
    estimator.fit(logs="All", experiment_config={"ExperimentName": "e", "TrialName": "t"})
    described = session.describe_training_job(estimator.latest_training_job.name)
    assert (described["ProfilingStatus"], described["WarmPoolStatus"]["Status"]) == ("Enabled", "Terminated")
    assert described["ExperimentConfig"] == {"ExperimentName": "e", "TrialName": "t"}
    assert [each["RuleEvaluationStatus"] for each in estimator.latest_training_job.rule_job_summary()] == ["Stopped"]


def test_the_profiler_is_changed_while_it_trains(session: Session, until_training: Callable[[str], None]) -> None:
    """`update_profiler`, `disable_profiling` and `enable_default_profiling` are UpdateTrainingJob."""
    estimator = new(
        session, hyperparameters={"wait": "yes"}, checkpoint_s3_uri=f"s3://{BUCKET}/checkpoints/{time.time()}"
    )
    estimator.fit(wait=False)
    job = estimator.latest_training_job
    until_training(job.name)
    estimator.update_profiler(system_monitor_interval_millis=200)
    assert session.describe_training_job(job.name)["ProfilerConfig"]["ProfilingIntervalInMilliseconds"] == 200
    estimator.disable_profiling()
    assert session.describe_training_job(job.name)["ProfilingStatus"] == "Disabled"
    estimator.enable_default_profiling()
    assert session.describe_training_job(job.name)["ProfilingStatus"] == "Enabled"
    job.stop()
    assert ended(session, estimator)["TrainingJobStatus"] == "Stopped"


def test_metrics_that_look_around(session: Session, told: Told) -> None:
    """As Keras's users tell `loss` from `val_loss`."""
    definitions = [
        {"Name": "loss", "Regex": "(?<!val_)loss: ([0-9.]+)"},
        {"Name": "val_loss", "Regex": "val_loss: ([0-9.]+)"},
    ]
    job = told(metric_definitions=definitions)["job"]
    found = {each["MetricName"]: each["Value"] for each in job["FinalMetricDataList"]}
    assert found == {"loss": 0.25, "val_loss": 0.5}
    frame = TrainingJobAnalytics(job["TrainingJobName"], ["loss"], sagemaker_session=session, period=1).dataframe()
    assert frame["value"].tolist() == [0.25]


def test_time_that_is_over(session: Session) -> None:
    """`max_run` stops the job; `fit` says so and does not raise."""
    estimator = new(
        session,
        hyperparameters={"wait": "yes"},
        checkpoint_s3_uri=f"s3://{BUCKET}/checkpoints/{time.time()}",
        max_run=1,
    )
    estimator.fit(logs=False)
    described = session.describe_training_job(estimator.latest_training_job.name)
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_a_job_that_failed_is_attached_to(session: Session) -> None:
    """The reason is in what `attach` raises, too."""
    estimator = new(session, entry_point="nowhere.sh", source_dir=f"s3://{BUCKET}/no/sourcedir.tar.gz")
    estimator.fit(wait=False)
    reason = ended(session, estimator)["FailureReason"]
    with pytest.raises(UnexpectedStatusException) as caught:
        Estimator.attach(estimator.latest_training_job.name, sagemaker_session=session)
    assert reason in str(caught.value)


def test_files_to_and_from_s3(session: Session, files: str, tmp_path: Path) -> None:
    """The SDK's own ways to S3."""
    assert sorted(S3Downloader.list(files, sagemaker_session=session)) == [f"{files}/{each}" for each in FILES]
    assert S3Downloader.read_file(f"{files}/ä+b.txt", sagemaker_session=session) == "1"
    session.download_data(str(tmp_path), BUCKET, "files")
    assert sorted(str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*.txt")) == FILES
    copied = S3Uploader.upload(str(tmp_path), f"s3://{BUCKET}/copied", sagemaker_session=session)
    assert boto3.client("s3").head_object(Bucket=BUCKET, Key="copied/sub dir/b.txt")["ContentLength"] == 1
    assert copied == f"s3://{BUCKET}/copied"
