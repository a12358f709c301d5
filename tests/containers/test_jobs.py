"""Whole jobs with container images: the real service, real agents, a real engine, and the clients that people use."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.containers.service import BUSYBOX, PASSWORD, USER, Service, python_files
from tests.end_to_end.world import World, steps
from tests.waiting import until
from treadle.errors import ServiceError

pytestmark = pytest.mark.container

WHOLE = ["Starting", "Downloading", "Training", "Uploading", "Completed"]


@pytest.fixture(scope="module")
def python_image(container_engine: Service) -> str:
    """Give an image whose ENTRYPOINT is Python."""
    return container_engine.image("localhost/treadle-python:1", python_files(), ENTRYPOINT='["/usr/bin/python3"]')


@pytest.fixture(scope="module")
def registry(container_engine: Service) -> Iterator[str]:
    """Give the address of a registry with a password."""
    with container_engine.registry() as address:
        yield address


def create(
    world: World, job: str, script: str, reference: str = BUSYBOX, *, program: str = "/bin/sh", **changes: Any
) -> None:
    """Create a job whose container runs a script; it comes as a channel, since arguments have 256 characters at most."""
    world.put(f"code/{job}/run", script.encode())
    algorithm = {
        "TrainingImage": reference,
        "TrainingInputMode": "File",
        "ContainerEntrypoint": [program],
        "ContainerArguments": ["/opt/ml/input/data/code/run"],
    }
    channels = [world.channel(f"code/{job}/", "code"), world.channel("train/")]
    world.create(job, reference, AlgorithmSpecification=algorithm, InputDataConfig=channels, **changes)


@pytest.fixture
def world(world: World) -> World:
    """Give the world with the data of a channel."""
    world.put("train/0.csv", b"1,2\n")
    return world


def log_in(world: World, address: str) -> None:
    """Do what `docker login` does."""
    secret = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    file = Path(world.more["DOCKER_CONFIG"]) / "config.json"
    file.write_text(json.dumps({"auths": {address: {"auth": secret}}}))


def test_an_image_of_a_private_registry(world: World, container_engine: Service, registry: str) -> None:
    """Refused in AWS's words without the user's credentials; with them pulled, told in the status, run; none in a log."""
    world.more["DOCKER_CONFIG"] = str(world.root / "docker")
    (world.root / "docker").mkdir()
    reference = container_engine.move(container_engine.image("localhost/treadle-pulled:1"), registry, "team/pulled:1")
    world.serve()
    create(world, "refused", "true", reference)
    job = world.ended("refused")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: Cannot pull algorithm container.")
    assert steps(job) == ["Starting", "Downloading", "Failed"]

    log_in(world, registry)
    create(world, "pulled", "cat /opt/ml/input/data/train/0.csv > /opt/ml/model/m; echo done", reference)
    job = world.ended("pulled")
    assert (job["TrainingJobStatus"], job.get("FailureReason")) == ("Completed", None)
    assert steps(job) == WHOLE
    messages = {each["Status"]: each["StatusMessage"] for each in job["SecondaryStatusTransitions"]}
    assert messages["Downloading"].startswith("Downloading the training image")
    assert messages["Training"] == "Training image download completed. Training in progress."
    assert world.log("pulled") == ["done"]
    assert any(f"image: {reference} pulled in" in each for each in world.log("pulled", own=True))
    assert world.model("pulled") == {"m": b"1,2\n"}
    world.clean("pulled")
    secrets = [PASSWORD.encode(), base64.b64encode(f"{USER}:{PASSWORD}".encode())]
    written = [each for each in world.root.rglob("*") if each.is_file() and each.name != "config.json"]
    assert not [each for each in written if any(secret in each.read_bytes() for secret in secrets)]


PROGRAM = """
import os, pathlib, sys, urllib.error, urllib.request
import botocore.session
s3 = botocore.session.Session().create_client("s3")
found = s3.get_object(Bucket="data", Key="train/0.csv")["Body"].read()
s3.put_object(Bucket="data", Key=f"out/{os.environ['TRAINING_JOB_NAME']}/output/own", Body=found * 2)
try:
    s3.get_object(Bucket="data", Key="secret/key")
except s3.exceptions.ClientError as error:
    print("not ours:", error.response["Error"]["Code"])
print(sys.argv[1:], sorted(os.listdir("/opt/ml")))
pathlib.Path("/opt/ml/model/m").write_bytes(found)
"""


def test_the_service_is_reached_from_within(world: World, python_image: str) -> None:
    """S3 of the service, which listens on loopback, with the job's credentials, and nothing that is not the job's."""
    world.put("secret/key", b"secret")
    world.serve()
    create(world, "reach", PROGRAM, python_image, program="/usr/bin/python3")
    job = world.ended("reach", 60)
    assert (job["TrainingJobStatus"], job.get("FailureReason")) == ("Completed", None)
    assert world.log("reach") == ["not ours: AccessDenied", "[] ['input', 'model', 'output']"]
    assert world.model("reach") == {"m": b"1,2\n"}
    assert (world.home.s3 / "data/out/reach/output/own").read_bytes() == b"1,2\n1,2\n"


def test_the_main_job(world: World, container_engine: Service) -> None:
    """The document of the example, word for word, with an image that has a `train`."""
    train = b"#!/bin/sh\necho $1 accuracy=1.0\ncat /opt/ml/input/data/train/* > /opt/ml/model/m\n"
    name = container_engine.image(
        "localhost/treadle-byo:1", {"/opt/program/train": train}, ENV="PATH=/opt/program:/bin"
    )
    done = world.treadle(*world.run_arguments("main", name, "--json", inputDataConfig=[world.channel("train")]))
    assert done.code == 0, done.err
    assert done.outputs["trainingJobStatus"] == "Completed"
    assert world.model("main") == {"m": b"1,2\n"}


# Who listens keeps his side open, by a pipe that never ends: the other nc would leave at once, with what it has to say.
PAIR = """
me=$(hostname)
if [ $me = algo-1 ]; then other=algo-2; else other=algo-1; fi
mkfifo /opt/ml/open
nc -l -p 5000 <>/opt/ml/open > /opt/ml/model/$me &
until echo "from $me" | nc -w 5 $other 5000 2>/dev/null; do sleep 0.1; done
wait
ls /sys/class/net | tr '\\n' ' '; echo
"""

# Without a signature it answers, and refuses.
SERVICE = "wget -O /dev/null $AWS_ENDPOINT_URL/data/train/0.csv 2>&1 | grep -o 'HTTP/1.1 4..'"

# Whatever could be the machine: the first address of the network, and where packets for elsewhere go.
OUTSIDE = """
own=$(ip addr show eth0 | grep -o 'inet [0-9.]*' | cut -d' ' -f2)
for each in $(ip route | grep default | cut -d' ' -f3) ${{own%.*}}.1; do
    if [ $each != $own ] && nc -w 1 $each {port} </dev/null 2>/dev/null; then echo "reached $each"; fi
done
echo looked
"""


@pytest.mark.parametrize("apart", [False, True])
def test_two_hosts(world: World, apart: bool) -> None:
    """They talk over TCP by their names on one port, each with its eth0; isolated they reach nothing else."""
    world.serve()
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    port = world.home.port_file.read_text("ascii")
    create(
        world,
        "pair",
        PAIR + (OUTSIDE.format(port=port) if apart else SERVICE),
        ResourceConfig=resources,
        EnableNetworkIsolation=apart,
    )
    job = world.ended("pair", 60)
    assert (job["TrainingJobStatus"], job.get("FailureReason")) == ("Completed", None), world.log("pair")
    assert world.model("pair") == {"algo-1": b"from algo-2\n", "algo-2": b"from algo-1\n"}
    said = [each for each in world.log("pair") if not each.startswith("The 2 instances")]  # that they share the machine
    assert said == ["eth0 lo ", "looked" if apart else "HTTP/1.1 403"] * 2


def test_stop_and_max_runtime(world: World) -> None:
    """Both end with SIGTERM, both keep what was saved by then."""
    save = "trap 'echo saved > /opt/ml/model/m; exit 0' TERM; echo begun; while :; do sleep 0.05; done"
    world.serve()
    create(world, "stop", save)
    create(world, "late", save, StoppingCondition={"MaxRuntimeInSeconds": 1})
    until(lambda: "begun" in world.log("stop"), what="it has begun")
    world.stop("stop")
    assert [world.ended(each)["SecondaryStatus"] for each in ("stop", "late")] == ["Stopped", "MaxRuntimeExceeded"]
    assert [world.model(each) for each in ("stop", "late")] == [{"m": b"saved\n"}] * 2


def ours(container_engine: Service) -> list[str]:
    """Give the containers, without networks."""
    return [each for each in container_engine.left() if each.endswith("algo-1")]


def test_kill_of_the_service(world: World, container_engine: Service) -> None:
    """The container goes on, and the next service finds its agent."""
    service = world.serve()
    create(
        world,
        "lives",
        "echo begun; while [ ! -e /opt/ml/go ]; do sleep 0.05; done; echo m > /opt/ml/model/m; echo done",
    )
    until(lambda: "begun" in world.log("lives"), what="it has begun")
    service.kill()
    (world.home.jobs / "lives/1/algo-1/ml/go").touch()
    until(lambda: not ours(container_engine), what="it has ended")
    world.serve()
    assert world.ended("lives")["TrainingJobStatus"] == "Completed"
    assert world.log("lives") == ["begun", "done"]
    assert world.model("lives") == {"m": b"m\n"}


@pytest.mark.parametrize("both", [False, True], ids=["agent", "agent-and-service"])
def test_kill_of_the_agent(world: World, container_engine: Service, both: bool) -> None:
    """It takes its container with it, also while no service is there."""
    service = world.serve()
    create(world, "dies", "echo begun; while :; do sleep 0.05; done")
    until(lambda: "begun" in world.log("dies"), what="it has begun")
    if both:
        service.kill()
    os.kill(world.agent("dies"), signal.SIGKILL)
    until(lambda: not ours(container_engine), what="it has ended")
    if both:
        world.serve()
    job = world.ended("dies")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("InternalServerError")
    until(lambda: container_engine.left() == [], what="nothing is left")


def test_kill_of_the_agent_while_its_job_stops(world: World, container_engine: Service) -> None:
    """The container goes with it; what the program had saved by then is the model, and the job has stopped."""
    world.serve()
    create(world, "stops", "trap '' TERM; echo m > /opt/ml/model/m; echo begun; while :; do sleep 0.05; done")
    until(lambda: "begun" in world.log("stops"), what="it has begun")
    world.stop("stops")
    until(lambda: any("SIGTERM" in line for line in world.log("stops", own=True)), what="SIGTERM was sent")
    os.kill(world.agent("stops"), signal.SIGKILL)
    assert world.ended("stops")["TrainingJobStatus"] == "Stopped"
    assert world.model("stops") == {"m": b"m\n"}
    until(lambda: container_engine.left() == [], what="nothing is left")


def test_what_outlived_everybody_is_swept(world: World, container_engine: Service) -> None:
    """Agent and keeper are killed, and the record is lost: the next service finds the container by its labels."""
    service = world.serve()
    create(world, "swept", "echo begun; while :; do sleep 0.05; done")
    until(lambda: "begun" in world.log("swept"), what="it has begun")
    for pid in (service.pid, *world.processes("keeper.py"), world.agent("swept")):
        os.kill(pid, signal.SIGKILL)
    service.popen.wait()
    (world.home.jobs / "swept/1/algo-1/container.json").unlink()
    assert len(container_engine.left()) == 2
    world.serve()
    assert world.ended("swept")["TrainingJobStatus"] == "Failed"
    until(lambda: container_engine.left() == [], what="nothing is left")


@pytest.mark.parametrize(
    ("sandbox", "reference", "said"),
    [
        pytest.param("namespace", BUSYBOX, "started with --sandbox namespace", id="fixed"),
        pytest.param("auto", "no such image", "is no reference of an image", id="no-reference"),
    ],
)
def test_refused_at_once(world: World, sandbox: str, reference: str, said: str) -> None:
    """What can be refused is refused by CreateTrainingJob, in AWS's words first."""
    world.sandbox = sandbox
    world.serve()
    with pytest.raises(ServiceError) as caught:
        world.create("refused", reference)
    assert "Invalid training image. Please provide a valid Amazon Elastic Container Registry path" in str(caught.value)
    assert said in str(caught.value)


def test_without_an_engine(world: World, tmp_path: Path) -> None:
    """The refusal says where was looked, and what to start."""
    world.more["DOCKER_HOST"] = f"unix://{tmp_path}/nobody"
    world.serve()
    with pytest.raises(ServiceError) as caught:
        world.create("refused", BUSYBOX)
    assert f"The container engine at unix://{tmp_path}/nobody does not answer" in str(caught.value)
    assert "systemctl start" in str(caught.value)
