"""A real `treadle serve` of its own for the SDKs, and the environment that `treadle env` prints.

These tests run in environments that have an SDK and not Treadle: it is a program of `.venv` to them. `make test-sdk`.
"""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest

HERE = Path(__file__).resolve().parent
TREADLE = HERE.parent / ".venv/bin/treadle"
BUCKET = "sdk-default-bucket"
ROLE = "arn:aws:iam::000000000000:role/Training"
_PATIENCE = 60.0


@pytest.fixture(scope="module", autouse=True)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Run the service, with the images registered; this process's environment is as `treadle env` says."""
    place = tmp_path_factory.mktemp("service")
    for name in [each for each in os.environ if each.startswith(("AWS_", "SAGEMAKER_", "TREADLE_"))]:
        del os.environ[name]
    nowhere = str(place / "no-aws-config")
    os.environ.update(
        TREADLE_HOME=str(place / "home"),
        AWS_CONFIG_FILE=nowhere,
        AWS_SHARED_CREDENTIALS_FILE=nowhere,
        AWS_EC2_METADATA_DISABLED="true",
    )
    for image in ("image", "framework"):
        subprocess.run([TREADLE, "images", "add", HERE / image], check=True)
    command = [TREADLE, "serve", "--stop-grace", "10s", "--sandbox", getattr(request.module, "SANDBOX", "auto")]
    with (place / "serve.log").open("wb") as log:
        serving = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _until(lambda: (place / "home/endpoint.json").exists() or serving.poll() is not None)
        assert serving.poll() is None, (place / "serve.log").read_text()
        said = subprocess.run([TREADLE, "env", "--json"], check=True, capture_output=True, text=True).stdout
        os.environ.update(json.loads(said))
        yield json.loads(said)
    finally:
        serving.terminate()
        serving.wait(_PATIENCE)


@pytest.fixture
def members(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Give a function that reads what is in an archive on S3: name → text."""

    def read(uri: str) -> dict[str, str]:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        boto3.client("s3").download_file(bucket, key, str(tmp_path / "archive"))
        with tarfile.open(tmp_path / "archive") as archive:
            files = [each for each in archive if each.isfile()]
            return {each.name: (archive.extractfile(each) or each).read().decode() for each in files}

    return read


@pytest.fixture
def until_training() -> Callable[[str], None]:
    """Give a function that waits until a job's program says that it is waiting."""

    def wait(job: str) -> None:
        logs = boto3.client("logs")
        _until(
            lambda: any(
                event["message"] == "waiting"
                for event in logs.filter_log_events(
                    logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=f"{job}/"
                )["events"]
            )
        )

    return wait


def _until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    while not reached():
        assert time.monotonic() < end, "this takes too long"
        time.sleep(0.1)
