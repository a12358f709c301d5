"""The service as a process: one per home, found, shared, outlived by its jobs, and gone when nobody needs it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from treadle import embedded
from treadle.embedded import ensure_service
from treadle.errors import LaunchError, UsageError
from treadle.home import Endpoint, Home, Lock
from treadle.objects.filesystem import FilesystemObjects
from treadle.server import Settings, running, serve
from treadle.training.images import ImageRegistry

TRAIN = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("training", flush=True)
wait = pathlib.Path(sys.argv[1])
while not wait.exists():
    time.sleep(0.02)
ml = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
(ml / "model" / "model.txt").write_text("trained")
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.prepare()
    return made


@pytest.fixture
def leftovers(home: Home) -> Iterator[None]:
    """End the services that a test started and that would linger."""
    yield
    if endpoint := home.endpoint():
        os.kill(endpoint.pid, signal.SIGTERM)
    for child in embedded._started:
        child.wait(timeout=20)
    embedded._started.clear()


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def unused(home: Home) -> bool:
    """Tell whether no client has the lock."""
    lock = Lock.alone(home.clients_lock)
    if lock is not None:
        lock.release()
    return lock is not None


def start(home: Home, *arguments: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "treadle.cli", "serve", *arguments],
        env={**os.environ, "TREADLE_HOME": str(home.root)},
        stderr=subprocess.DEVNULL,
    )

    def listens() -> bool:
        assert process.poll() is None
        found = home.endpoint()
        return found is not None and found.pid == process.pid

    until(listens)
    return process


def client(home: Home, endpoint: Endpoint, service: str = "sagemaker") -> Any:
    import boto3

    key, secret = home.credentials()
    session = boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret, region_name=endpoint.region)
    return session.client(service, endpoint_url=endpoint.url)


def create(home: Home, sagemaker: Any, name: str, go: Path) -> None:
    """Create a job that trains until the file `go` is there."""
    image = home.root.parent / "image"
    image.mkdir(exist_ok=True)
    (image / "train.py").write_text(TRAIN)
    command = msgspec.json.encode([sys.executable, "train.py", str(go)]).decode()
    (image / "image.toml").write_text(f'name = "patient"\ncommand = {command}\n')
    ImageRegistry(home.images_file).add(image)
    FilesystemObjects(home.s3).create_bucket("data")
    sagemaker.create_training_job(
        TrainingJobName=name,
        RoleArn="arn:aws:iam::000000000000:role/training",
        AlgorithmSpecification={"TrainingImage": "patient", "TrainingInputMode": "File"},
        OutputDataConfig={"S3OutputPath": "s3://data/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
    )


def reached(sagemaker: Any, name: str, secondary: str) -> Any:
    def look() -> Any:
        found = sagemaker.describe_training_job(TrainingJobName=name)
        if found["SecondaryStatus"] == secondary:
            return found
        assert found["TrainingJobStatus"] in {"InProgress", "Stopping"}, found.get("FailureReason")
        return None

    return until(look)


# ---------------------------------------------------------------------------------------------------------------------
# Owning
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org", ""])
def test_only_loopback_is_listened_on(home: Home, host: str) -> None:
    """There is no TLS, so nothing else is safe; the home is not taken."""
    with pytest.raises(UsageError, match="listens on loopback addresses only"):
        serve(home, Settings(host=host))
    assert home.endpoint() is None


def test_a_home_in_use_is_refused(home: Home) -> None:
    """A second service says who has it; an embedded one has nothing to do."""
    owned = home.own()
    assert owned is not None
    home.publish(Endpoint(url="http://127.0.0.1:9", pid=42))
    with pytest.raises(UsageError, match=r"in use by another service \(process 42, http://127.0.0.1:9\)"):
        serve(home)
    serve(home, embedded=True)
    owned.release()


async def test_a_port_in_use_is_refused(home: Home) -> None:
    """The address is named."""
    async with running(home) as first:
        port = int(first.endpoint.url.rpartition(":")[2])
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1, port {port}"):
            async with running(Home(home.root.parent / "other"), Settings(port=port)):
                pass


async def test_it_says_where_it_listens_while_it_does(home: Home) -> None:
    """The endpoint is there when it answers, and taken back at the end."""
    owned = home.own()
    assert owned is not None
    async with running(home, Settings(host="::1")) as service:
        assert home.endpoint() == service.endpoint
        assert service.endpoint.url.startswith("http://[::1]:")
        assert service.endpoint.pid == os.getpid()
    assert not home.endpoint_file.exists()
    owned.release()


async def test_a_region_is_kept_for_the_next_time(home: Home) -> None:
    """Jobs, buckets and signatures are of the region that was named last; a job of another one stays what it was."""
    from botocore.exceptions import ClientError

    arns: list[str] = []
    for named, region in (("", "us-east-1"), ("eu-west-1", "eu-west-1"), ("", "eu-west-1")):
        async with running(home, Settings(region=named)) as service:
            assert (service.endpoint.region, home.region()) == (region, region)
            sagemaker = client(home, service.endpoint)
            name = f"job-{len(arns)}"
            await asyncio.to_thread(create, home, sagemaker, name, home.root / "go")
            arns.append(
                (await asyncio.to_thread(sagemaker.describe_training_job, TrainingJobName=name))["TrainingJobArn"]
            )
            assert arns[-1] == f"arn:aws:sagemaker:{region}:000000000000:training-job/{name}"
            for arn in arns:
                tags = [{"Key": "seen", "Value": region}]
                assert (await asyncio.to_thread(sagemaker.add_tags, ResourceArn=arn, Tags=tags))["Tags"] == tags
            with pytest.raises(ClientError, match=r"Requested resource not found\."):
                await asyncio.to_thread(sagemaker.list_tags, ResourceArn=arn.replace(region, "ap-south-1"))
            await asyncio.to_thread(sagemaker.stop_training_job, TrainingJobName=name)
            await asyncio.to_thread(reached, sagemaker, name, "Stopped")


async def test_a_service_whose_server_breaks_says_so(home: Home) -> None:
    """`wait` raises what ended it; it does not stay as a dead owner."""
    async with running(home) as service:
        waiting = asyncio.ensure_future(service.wait())
        await asyncio.sleep(0)
        for loop in service.supervisor._loops:
            loop.cancel()
        await asyncio.wait_for(waiting, 5)


# ---------------------------------------------------------------------------------------------------------------------
# The process
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(home: Home, number: signal.Signals) -> None:
    """It exits with 0 and takes its endpoint back."""
    process = start(home)
    process.send_signal(number)
    assert process.wait(timeout=20) == 0
    assert home.endpoint() is None
    assert not home.endpoint_file.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_training_outlives_its_service(home: Home, tmp_path: Path, number: signal.Signals) -> None:
    """Ended in the middle of training: the next service hears of the end, and nothing was lost."""
    go = tmp_path / "go"
    first = start(home, "--sandbox", "plain")
    endpoint = home.endpoint()
    assert endpoint is not None
    sagemaker = client(home, endpoint)
    create(home, sagemaker, "patient-1", go)
    reached(sagemaker, "patient-1", "Training")
    first.send_signal(number)
    # Also in order it goes at once: it does not wait for the heartbeat that it holds.
    first.wait(timeout=4)
    go.touch()
    second = start(home, "--sandbox", "plain")
    try:
        endpoint = home.endpoint()
        assert endpoint is not None
        sagemaker = client(home, endpoint)
        job = reached(sagemaker, "patient-1", "Completed")
        names = [each["Status"] for each in job["SecondaryStatusTransitions"]]
        assert names == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
        assert [info.key for info in FilesystemObjects(home.s3).list("data")] == ["out/patient-1/output/model.tar.gz"]
        logs = client(home, endpoint, "logs")
        group = "/aws/sagemaker/TrainingJobs"
        (stream,) = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="patient-1/")["logStreams"]
        events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True)
        assert [each["message"] for each in events["events"]][-1] == "training"
        until(lambda: not (home.jobs / "patient-1").exists())
    finally:
        second.terminate()
        assert second.wait(timeout=20) == 0


def test_a_stop_reaches_the_program(home: Home, tmp_path: Path) -> None:
    """StopTrainingJob → SIGTERM → Stopped."""
    process = start(home, "--sandbox", "plain")
    try:
        endpoint = home.endpoint()
        assert endpoint is not None
        sagemaker = client(home, endpoint)
        create(home, sagemaker, "patient-2", tmp_path / "never")
        reached(sagemaker, "patient-2", "Training")
        sagemaker.stop_training_job(TrainingJobName="patient-2")
        job = reached(sagemaker, "patient-2", "Stopped")
        assert [each["Status"] for each in job["SecondaryStatusTransitions"]][-2:] == ["Stopping", "Stopped"]
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 0


# ---------------------------------------------------------------------------------------------------------------------
# Embedded
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("leftovers")
def test_clients_share_one_service_which_then_goes(home: Home) -> None:
    """Two that come at once find the same one; it goes a few seconds after the last has gone, not before."""
    found: list[Endpoint] = []
    leave = threading.Event()

    def use() -> None:
        with ensure_service(home) as endpoint:
            found.append(endpoint)
            leave.wait(30)

    threads = [threading.Thread(target=use) for _ in range(3)]
    for each in threads:
        each.start()
    until(lambda: len(found) == 3)
    assert len({each.pid for each in found}) == 1
    assert len(embedded._started) == 1
    assert found[0].pid == embedded._started[0].pid
    assert os.getsid(found[0].pid) == found[0].pid
    leave.set()
    for each in threads:
        each.join()
    assert embedded._started[0].wait(timeout=20) == 0
    assert home.endpoint() is None


@pytest.mark.usefixtures("leftovers")
def test_who_leaves_a_service_behind_is_not_warned(home: Home) -> None:
    """It is meant to outlive a program that was not told to wait for it; the program ends without a word."""
    code = (
        "import pathlib, sys; from treadle.embedded import ensure_service; from treadle.home import Home\n"
        "with ensure_service(Home(pathlib.Path(sys.argv[1]))): pass"
    )
    command = [sys.executable, "-X", "dev", "-c", code, str(home.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.usefixtures("leftovers")
def test_an_embedded_service_stays_for_its_job(home: Home, tmp_path: Path) -> None:
    """The client has gone, the job goes on; another client finds the same service."""
    go = tmp_path / "image" / "go"  # which the program can see
    with ensure_service(home) as endpoint:
        create(home, client(home, endpoint), "patient-3", go)
    with ensure_service(home) as again:
        assert again == endpoint
    assert unused(home)
    time.sleep(0.1)
    assert home.endpoint() == endpoint
    go.touch()
    with ensure_service(home) as again:
        reached(client(home, again), "patient-3", "Completed")
        assert again == endpoint


@pytest.mark.usefixtures("leftovers")
def test_a_service_that_cannot_start_says_why(home: Home) -> None:
    """The end of its own log, and where the rest is."""
    home.service_log.write_text("older trouble\n")
    code = "import sys; print('the disk is on fire', file=sys.stderr); sys.exit(3)"
    with (
        pytest.raises(LaunchError, match=r"exit code 3 before it listened. It said:\nthe disk is on fire$") as caught,
        ensure_service(home, [sys.executable, "-c", code]),
    ):
        pass
    assert str(home.service_log) in caught.value.hint
    assert unused(home)


@pytest.mark.usefixtures("leftovers")
def test_a_program_that_is_not_there_says_so(home: Home) -> None:
    """The name is in the message."""
    with pytest.raises(LaunchError, match="no-such-program"), ensure_service(home, ["/no-such-program"]):
        pass


@pytest.mark.usefixtures("leftovers")
def test_a_service_that_never_listens_is_given_up(home: Home) -> None:
    """It is ended, and the deadline is the caller's."""
    code = "import time; time.sleep(60)"
    with (
        pytest.raises(LaunchError, match="did not begin to listen in time"),
        ensure_service(home, [sys.executable, "-c", code], deadline=0.3),
    ):
        pass


@pytest.mark.usefixtures("leftovers")
def test_a_service_in_the_foreground_that_is_just_starting_is_waited_for(home: Home) -> None:
    """It owns the home and does not listen yet; the one that is started sees that and goes."""
    owned = home.own()
    assert owned is not None
    there = Endpoint(url="http://127.0.0.1:9", pid=1)
    timer = threading.Timer(0.5, lambda: home.publish(there))
    timer.start()
    with ensure_service(home) as endpoint:
        assert endpoint == there
    timer.join()
    home.withdraw()
    owned.release()


def test_a_long_log_is_put_aside(home: Home) -> None:
    """The log of embedded services does not grow for ever."""
    home.service_log.write_bytes(b"x" * (embedded._LOG_LIMIT + 1))
    assert embedded._trimmed(home.service_log) == 0
    assert home.service_log.with_name("service.log.1").exists()


def test_a_service_that_is_not_installed(home: Home) -> None:
    """What only a service needs is an extra of the package; without it one is told what to install."""
    code = "import sys; sys.modules['uvicorn'] = None; from treadle.cli import app; sys.exit(app.run(['serve']))"
    environment = {**os.environ, "TREADLE_HOME": str(home.root)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "error: The training service is not installed: it needs the Python packages uvicorn.\n"
        f"hint: Install them: {sys.executable} -m pip install 'treadle[training]'.\n"
    )
