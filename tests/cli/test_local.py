"""`--on local` for real: the service is started, shared, revived; jobs run; what fails is told with its log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import WAITING

from treadle.home import Home
from treadle.objects.filesystem import FilesystemObjects

Run = Callable[..., subprocess.CompletedProcess[str]]

DOCUMENT = (
    """\
arazzo: 1.0.1
info: {title: Train, version: 1.0.0}
sourceDescriptions:
- {name: trainer, url: ./not-there.yml, type: openapi}
workflows:
- workflowId: train
  inputs:
    type: object
    required: [job]
    properties:
      job: {type: string}
  steps:
  - stepId: create
    operationId: CreateTrainingJob
    parameters:
    - {name: X-Amz-Target, in: header, value: SageMaker.CreateTrainingJob}
    requestBody:
      contentType: application/x-amz-json-1.1
      payload:
        TrainingJobName: $inputs.job
        AlgorithmSpecification: {TrainingImage: test-image, TrainingInputMode: File}
        RoleArn: arn:aws:iam::000000000000:role/training
        OutputDataConfig: {S3OutputPath: 's3://models/out'}
        ResourceConfig: {InstanceType: ml.m5.large, InstanceCount: 1, VolumeSizeInGB: 1}
        StoppingCondition: {MaxRuntimeInSeconds: 60}
"""
    + WAITING
)

# Trains until it is let go, so a test decides when the job ends.
TRAIN = """\
import os, pathlib, sys, time
print("training begins", flush=True)
gate = pathlib.Path(__file__).parent / "gate"
while not gate.exists():
    time.sleep(0.02)
if gate.read_text() == "fail":
    print("the data is not there", file=sys.stderr)
    sys.exit(7)
pathlib.Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model"), "model.txt").write_text("a model")
print("training ends", flush=True)
"""


@pytest.fixture
def image(tmp_path: Path, place: Path, home: Home, treadle: Run) -> Path:
    """Give a registered image that trains until its file `gate` exists; and the bucket that models go to."""
    directory = tmp_path / "image"
    directory.mkdir()
    # What changes in an image's directory is not seen by the jobs that run; what is elsewhere is.
    (directory / "gate").symlink_to(place / "gate")
    (directory / "train.py").write_text(TRAIN)
    (directory / "image.toml").write_text(f'name = "test-image"\ncommand = ["{sys.executable}", "train.py"]\n')
    assert treadle("images", "add", str(directory)).returncode == 0
    FilesystemObjects(home.s3).create_bucket("models")
    (tmp_path / "train.yml").write_text(DOCUMENT)
    return directory


@pytest.fixture
def begin(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., subprocess.Popen[str]]:
    """Give a function that starts a run of the job."""
    return lambda job, *more: start("run", "train.yml", "-i", f"job={job}", "--on", "local", *more)


def seen(process: subprocess.Popen[str], sign: str) -> None:
    """Read what a run says until a sign comes."""
    assert process.stderr is not None
    lines: list[str] = []
    while not lines or sign not in lines[-1]:
        line = process.stderr.readline()
        assert line, "".join(lines)
        lines.append(line)


def gone(home: Home, patience: float = 20.0) -> None:
    """Wait until no service owns the home."""
    end = time.monotonic() + patience
    while home.endpoint() is not None:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_two_runs_share_one_service_and_it_goes_away(
    begin: Callable[..., subprocess.Popen[str]], image: Path, home: Home
) -> None:
    """The first run starts the service, the second uses it; some seconds after both it has gone by itself."""
    first = begin("one")
    seen(first, "secondaryStatus: Training")
    second = begin("two")
    # Where the machine has room for one job only, the second one waits for its turn.
    seen(second, "status: InProgress")
    endpoint = home.endpoint()
    assert endpoint is not None
    (image / "gate").write_text("")
    outs = [process.communicate(timeout=60) for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], outs
    assert all("status: Completed" in out for out, _ in outs), outs
    assert home.service_log.read_text().count("Traceback") == 0
    gone(home)


def test_a_failed_job_is_told_with_its_log(begin: Callable[..., subprocess.Popen[str]], image: Path) -> None:
    """Reason and the end of the log, though the workflow outputs neither; the expectation makes it an error."""
    (image / "gate").write_text("fail")
    process = begin("broken", "--expect", "status == 'Completed'")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "status: Failed" in out
    assert "exit code: 7" in err
    assert "The end of its log:" in err
    assert "  the data is not there" in err.splitlines()
    assert "treadle jobs logs broken" in err


def test_ctrl_c_leaves_the_job_alone_and_says_how_to_stop_it(
    begin: Callable[..., subprocess.Popen[str]], treadle: Run, image: Path
) -> None:
    """The job goes on; the printed commands work as they stand: stop ends the job, resume tells its end."""
    del image
    process = begin("left")
    seen(process, "secondaryStatus: Training")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    commands = [line.rpartition(": ")[2].split()[1:] for line in err.splitlines() if ": treadle " in line]
    assert [each[0] for each in commands] == ["jobs", "resume"]
    assert "InProgress" in treadle("jobs", "ls").stdout
    assert treadle(*commands[0]).returncode == 0
    done = treadle(*commands[1])
    assert done.returncode == 0, done.stderr
    assert "status: Stopped" in done.stdout
    shown = json.loads(treadle("jobs", "show", "left", "--json").stdout)
    assert shown["SecondaryStatusTransitions"][-1]["Status"] == "Stopped"


def test_a_service_that_is_killed_is_started_again(
    begin: Callable[..., subprocess.Popen[str]], image: Path, home: Home
) -> None:
    """kill -9 of the service in the middle of a job: the run starts it anew where it was, and sees the job's end."""
    process = begin("survivor")
    seen(process, "secondaryStatus: Training")
    before = home.endpoint()
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)
    seen(process, "answers again")
    after = home.endpoint()
    assert after is not None
    assert (after.url, after.pid != before.pid) == (before.url, True)
    (image / "gate").write_text("")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "status: Completed" in out


def test_env_makes_the_service_stay(treadle: Run, home: Home) -> None:
    """Who was told where the service listens finds it there later, until it is stopped."""
    assert treadle("jobs", "ls").returncode == 0
    exported = treadle("env").stdout
    endpoint = home.endpoint()
    assert endpoint is not None
    assert f"export AWS_ENDPOINT_URL={endpoint.url}" in exported
    assert home.stay_file.read_text() == str(endpoint.pid)
    assert "The service has stopped" in treadle("serve", "--stop").stderr
    assert home.endpoint() is None
    assert treadle("serve", "--stop").stderr == "No service runs.\n"


def test_serve_in_the_foreground(environment: dict[str, str], treadle: Run, home: Home) -> None:
    """It says where it listens; a second one says who has the home; Ctrl-C ends it in order."""
    process = subprocess.Popen(
        [sys.executable, "-m", "treadle.cli", "serve"], env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        assert "listens on http://127.0.0.1:" in process.stderr.readline()
        second = treadle("serve")
        assert second.returncode == 2
        assert f"is in use by another service (process {process.pid}" in second.stderr
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.communicate()
    assert home.endpoint() is None
