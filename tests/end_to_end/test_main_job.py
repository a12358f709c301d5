"""The main job with real processes: the command line, the service, its agents, boto3 and the AWS CLI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples" / "sagemaker"
SEED = ROOT.parent / "shared" / "seed" / "arazzo" / "amazon-sagemaker-train-and-poll-job-workflow.yml"
NO_SEED = pytest.mark.skipif(not SEED.exists(), reason="the seed document does not stand beside this checkout")
DOCUMENTS = [
    pytest.param(EXAMPLE / "train-and-poll-job.arazzo.yaml", id="example"),
    pytest.param(SEED, id="seed", marks=NO_SEED),
]


def treadle(home: Path, *arguments: str, ok: int = 0) -> str:
    """Run the command line; give what it printed. The exit code must be `ok`."""
    done = subprocess.run(
        [sys.executable, "-m", "treadle.cli", *arguments],
        env=os.environ | {"TREADLE_HOME": str(home), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == ok, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "src/treadle" not in done.stderr, "a traceback of our own"
    return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with the example's data and image, and a service in it that stays until the tests are over."""
    home = tmp_path_factory.mktemp("home")
    treadle(home, "images", "add", str(EXAMPLE / "image"))
    for channel in ("train", "validation"):
        data = EXAMPLE / "data" / f"{channel}.csv"
        treadle(home, "data", "put", str(data), f"s3://treadle-example/digits/{channel}/")
    command = [sys.executable, "-m", "treadle.cli", "serve", "--port", "0"]
    environment = os.environ | {"TREADLE_HOME": str(home)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as serve:
        assert serve.stdout is not None
        while "http://" not in (line := serve.stdout.readline()):
            assert line, "the service ended before it listened"
        yield home
        serve.terminate()
        serve.communicate(timeout=20)


@pytest.fixture(scope="module")
def settings(home: Path) -> dict[str, str]:
    """What `treadle env` tells other clients."""
    settings: dict[str, str | None] = json.loads(treadle(home, "env", "--json"))
    return {name: value for name, value in settings.items() if value is not None}


@pytest.fixture(scope="module")
def sagemaker(settings: dict[str, str]) -> Any:
    """A boto3 client with nothing but what `treadle env` says."""
    import boto3

    return boto3.client(
        "sagemaker",
        endpoint_url=settings["AWS_ENDPOINT_URL"],
        region_name=settings["AWS_REGION"],
        aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
    )


def request(name: str, **changes: Any) -> dict[str, Any]:
    """Give a CreateTrainingJob request for the example."""
    inputs = json.loads((EXAMPLE / "inputs.json").read_text())
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": inputs["trainingImage"], "TrainingInputMode": "File"},
        "RoleArn": inputs["roleArn"],
        "InputDataConfig": inputs["inputDataConfig"],
        "OutputDataConfig": {"S3OutputPath": inputs["s3OutputPath"]},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        **changes,
    }


def name_of_a_job() -> str:
    return f"digits-{uuid.uuid4().hex[:8]}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_main_job_leaves_a_model_that_predicts(home: Path, tmp_path: Path, document: Path) -> None:
    """Submit, poll to the terminal state, give the outputs; the artifact is on the disk, loads and predicts."""
    name = name_of_a_job()
    inputs = ["--inputs", str(EXAMPLE / "inputs.json"), "-i", f"trainingJobName={name}"]
    told = treadle(home, "run", str(document), *inputs, "--on", "local", "--json")
    result = json.loads(told.splitlines()[-1])
    assert result["outputs"] == {
        "trainingJobArn": f"arn:aws:sagemaker:us-east-1:000000000000:training-job/{name}",
        "trainingJobStatus": "Completed",
        "modelArtifacts": f"s3://treadle-example/output/{name}/output/model.tar.gz",
    }
    archive = tmp_path / "model.tar.gz"
    treadle(home, "data", "get", result["outputs"]["modelArtifacts"], str(archive))
    predicted = subprocess.run(
        [sys.executable, str(EXAMPLE / "predict.py"), str(archive)], capture_output=True, text=True, check=True
    )
    accuracy = float(predicted.stdout.rpartition("accuracy: ")[2].split()[0])
    assert accuracy > 0.95
    assert f"validation:accuracy={accuracy:.4f}" in treadle(home, "jobs", "logs", name)


@NO_SEED
def test_the_seed_runs_without_its_openapi_file(home: Path, tmp_path: Path) -> None:
    """It spells its requests out so that it "can be read and executed without opening" that file."""
    alone = tmp_path / "seed.yml"
    alone.write_bytes(SEED.read_bytes())
    inputs = ["--inputs", str(EXAMPLE / "inputs.json"), "-i", f"trainingJobName={name_of_a_job()}"]
    told = treadle(home, "run", str(alone), *inputs, "--on", "local", "--json")
    assert json.loads(told.splitlines()[-1])["outputs"]["trainingJobStatus"] == "Completed"


def test_expect_makes_a_job_that_failed_an_exit_code(home: Path) -> None:
    """A workflow that ends because its job failed has done its work; --expect says whether that is good enough."""
    inputs = json.loads((EXAMPLE / "inputs.json").read_text())
    given = [
        "--inputs",
        str(EXAMPLE / "inputs.json"),
        "-i",
        f"inputDataConfig={json.dumps(inputs['inputDataConfig'][:1])}",
    ]
    document = str(EXAMPLE / "train-and-poll-job.arazzo.yaml")
    told = treadle(home, "run", document, *given, "-i", f"trainingJobName={name_of_a_job()}", "--on", "local")
    assert "Failed" in told
    condition = ["--expect", 'trainingJobStatus == "Completed"']
    again = ["-i", f"trainingJobName={name_of_a_job()}"]
    treadle(home, "run", document, *given, *again, "--on", "local", *condition, ok=1)


def test_boto3_creates_describes_lists_waits_and_stops(sagemaker: Any) -> None:
    """The service answers like SageMaker to an unchanged client."""
    name = name_of_a_job()
    arn = sagemaker.create_training_job(**request(name))["TrainingJobArn"]
    waiter = sagemaker.get_waiter("training_job_completed_or_stopped")
    waiter.wait(TrainingJobName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    job = sagemaker.describe_training_job(TrainingJobName=name)
    assert (job["TrainingJobArn"], job["TrainingJobStatus"], job["SecondaryStatus"]) == (arn, "Completed", "Completed")
    transitions = job["SecondaryStatusTransitions"]
    assert [each["Status"] for each in transitions] == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    for one, following in pairwise(transitions):
        assert one["EndTime"] == following["StartTime"]
    assert transitions[-1]["StartTime"] == transitions[-1]["EndTime"] == job["TrainingEndTime"]
    assert job["TrainingStartTime"] == transitions[1]["StartTime"]
    assert job["OutputDataConfig"]["KmsKeyId"] == ""
    assert job["TrainingTimeInSeconds"] >= 1
    listed = sagemaker.list_training_jobs(NameContains=name, StatusEquals="Completed")["TrainingJobSummaries"]
    assert [each["TrainingJobName"] for each in listed] == [name]
    with pytest.raises(sagemaker.exceptions.ClientError, match="is in status Completed"):
        sagemaker.stop_training_job(TrainingJobName=name)
    with pytest.raises(sagemaker.exceptions.ResourceInUse, match="already exists"):
        sagemaker.create_training_job(**request(name))
    with pytest.raises(sagemaker.exceptions.ClientError, match="Requested resource not found"):
        sagemaker.describe_training_job(TrainingJobName="no-such-job")


def test_the_aws_cli_works_with_what_env_prints(home: Path, settings: dict[str, str]) -> None:
    """`aws sagemaker …`, unchanged, through AWS_ENDPOINT_URL."""
    environment = os.environ | settings | {"AWS_PAGER": "", "HOME": str(home)}

    def aws(*arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "awscli", "sagemaker", *arguments, "--output", "json"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    name = name_of_a_job()
    created = aws("create-training-job", "--cli-input-json", json.dumps(request(name)))
    assert created["TrainingJobArn"].endswith(f"training-job/{name}")
    listed = aws("list-training-jobs", "--name-contains", name)
    assert [each["TrainingJobName"] for each in listed["TrainingJobSummaries"]] == [name]
    described = aws("describe-training-job", "--training-job-name", name)
    assert described["TrainingJobStatus"] in {"InProgress", "Completed"}


def test_the_archive_holds_the_model_without_a_leading_directory(home: Path, sagemaker: Any, tmp_path: Path) -> None:
    """Both SDKs and hosting rely on members relative to /opt/ml/model."""
    name = name_of_a_job()
    sagemaker.create_training_job(**request(name))
    waiter = sagemaker.get_waiter("training_job_completed_or_stopped")
    waiter.wait(TrainingJobName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    treadle(home, "data", "get", f"s3://treadle-example/output/{name}/output/model.tar.gz", str(tmp_path / "m.tar.gz"))
    with tarfile.open(tmp_path / "m.tar.gz") as archive:
        assert sorted(member.name for member in archive if member.isfile()) == ["metadata.json", "model.ubj"]
