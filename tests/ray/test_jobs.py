"""Whole jobs on a real Ray cluster of several machines: the same requests as on a laptop, and the faults of a cluster."""

from __future__ import annotations

import ast
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.end_to_end.world import BUCKET
from tests.ray.conftest import WAITS, RayWorld
from tests.ray.nodes import HEAD, Cluster, Node
from tests.waiting import until
from treadle.errors import ServiceError

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]


def node_of(cluster: Cluster, job: str) -> Node:
    """Wait for the agent of a single host's job, and give its node."""
    return until(
        lambda: next((each for each in cluster.nodes.values() if each.processes("treadle.agent", f"/{job}/")), None),
        what=f"a node has the agent of {job}",
    )


@contextlib.contextmanager
def one_larger_node(world: RayWorld, cluster: Cluster, **offers: int) -> Iterator[None]:
    """Add a node with 8 CPUs, and wait until the service knows of it."""
    node = cluster.add(cpus=8, **offers)
    try:
        until(lambda: "8 CPUs" in _refusal(world), 30, what="the service knows the new node")
        yield
    finally:
        cluster.remove(node)


def _refusal(world: RayWorld) -> str:
    try:
        world.create("never", "none", ResourceConfig={"InstanceType": "ml.p5.48xlarge", "VolumeSizeInGB": 1})
    except ServiceError as error:
        return error.message
    return ""


def test_a_job_from_its_data_to_its_model(world: RayWorld, cluster: Cluster) -> None:
    """Image, data and checkpoints are brought by the service's S3, with TLS; so do the program's own requests go."""
    world.put("train/a.csv", b"1,2\n")
    world.put("train/large.bin", os.urandom(40_000_000))
    world.put("ckpt/one", b"earlier")
    image = world.image(
        "whole",
        """
import boto3, json
say(sorted(os.listdir(ML / "input/data/train")))
say((ML / "checkpoints/one").read_text())
say(os.getcwd())
say(boto3.client("s3").get_object(Bucket="data", Key="train/a.csv")["Body"].read())
(ML / "checkpoints/two").write_text("later")
(MODEL / "weights").write_bytes((ML / "input/data/train/large.bin").read_bytes())
""",
    )
    (image / "helper").symlink_to("train.py")
    checkpoints = {"S3Uri": f"s3://{BUCKET}/ckpt"}
    world.create("whole", "whole", InputDataConfig=[world.channel("train/")], CheckpointConfig=checkpoints)
    node = node_of(cluster, "whole")
    world.completed("whole")
    files, earlier, directory, read = world.log("whole")
    assert (files, earlier, read) == ("['a.csv', 'large.bin']", "earlier", "b'1,2\\n'")
    assert directory.startswith(str(node.scratch)), "the image was carried to the node"
    model = world.model("whole")
    assert model == {"weights": (world.home.s3 / BUCKET / "train/large.bin").read_bytes()}
    assert (world.home.s3 / BUCKET / "ckpt/two").read_text() == "later"
    assert world.log("whole", own=True)[0].startswith("[treadle] sandbox: ")


def test_the_main_job_as_it_stands(world: RayWorld) -> None:
    """The document that ran on a laptop runs here, word for word."""
    world.image("main", 'say("trained"); (MODEL / "m").write_text("m")')
    done = world.treadle(*world.run_arguments("main", "main", "--json"))
    assert done.outputs["trainingJobStatus"] == "Completed"
    assert world.model("main") == {"m": b"m"}


ALL_REDUCE = """
import json, socket, struct, threading
config = json.loads((ML / "input/config/resourceconfig.json").read_text())
me, hosts = config["current_host"], config["hosts"]
PORT = 7000  # the same on all hosts
listener = socket.create_server(("0.0.0.0", PORT))
vector = [float(int(me[-1]) * 10 ** n) for n in range(4)]
total, callers = list(vector), []
def take():
    for _ in hosts[1:]:
        caller, address = listener.accept()
        data = b""
        while len(data) < 32:
            data += caller.recv(32 - len(data))
        callers.append(address[0])
        for at, value in enumerate(struct.unpack("4d", data)):
            total[at] += value
taking = threading.Thread(target=take)
taking.start()
for other in hosts:
    if other != me:
        while True:
            try:
                there = socket.create_connection((other, PORT))
                break
            except ConnectionRefusedError:  # it does not listen yet
                time.sleep(0.05)
        there.sendall(struct.pack("4d", *vector))
taking.join()
say(f"{total} from {callers} by {config['network_interface_name']}")
if me == "algo-1":
    (MODEL / "sum").write_text(str(total))
"""


def test_two_hosts_on_two_machines_reduce(world: RayWorld, cluster: Cluster) -> None:
    """Each host has a machine, the names are the machines', and both listen on the same port."""
    world.image("reduce", ALL_REDUCE)
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    world.create("reduce", "reduce", ResourceConfig=resources)
    world.completed("reduce")
    assert world.model("reduce") == {"sum": b"[3.0, 30.0, 300.0, 3000.0]"}
    said = sorted(each for each in world.log("reduce"))
    ends = [ast.literal_eval(each.partition(" from ")[2].partition(" by ")[0])[0] for each in said]
    assert sorted(ends) == sorted(cluster.nodes)
    assert all(each.endswith(" by eth0") for each in said)
    assert any("hosts: algo-1 on 10.77.0." in each for each in world.log("reduce", own=True))


ONE_MACHINE = """
import boto3, socket, subprocess
me = os.uname().nodename
listener = socket.create_server(("0.0.0.0", 7000))
if me == "algo-2":
    while True:
        try:
            socket.create_connection(("algo-1", 7000)).sendall(b"hello")
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
else:
    caller, address = listener.accept()
    say(f"{caller.recv(5)} from {address[0]}")
    say(boto3.client("s3").get_object(Bucket="data", Key="train/a.csv")["Body"].read())
"""


def test_two_hosts_on_one_machine_have_a_network_of_their_own(world: RayWorld, cluster: Cluster) -> None:
    """Where only one node is large enough: as on a laptop, and the service is reached from there, by TLS."""
    with one_larger_node(world, cluster, memory=64 << 30):
        world.put("train/a.csv", b"1,2\n")
        world.image("together", ONE_MACHINE)
        resources = {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 1}
        world.create("together", "together", ResourceConfig=resources, InputDataConfig=[world.channel("train/")])
        world.completed("together")
        assert world.log("together") == ["b'hello' from 10.0.0.2", "b'1,2\\n'"]


def test_nodes_without_namespaces(world: RayWorld) -> None:
    """The last resort: paths below SAGEMAKER_BASE_DIR, also that of whom to trust; the service is reached all the same."""
    world.service.signal(signal.SIGTERM)
    assert world.service.ended().code == 0
    world.sandbox = "plain"
    world.begin()
    world.put("train/a.csv", b"1,2\n")
    world.image(
        "plain",
        """
import boto3
say(boto3.client("s3").get_object(Bucket="data", Key="train/a.csv")["Body"].read())
(MODEL / "m").write_text((ML / "input/data/train/a.csv").read_text())
""",
    )
    world.create("plain", "plain", InputDataConfig=[world.channel("train/")])
    world.completed("plain")
    assert world.log("plain") == ["b'1,2\\n'"]
    assert world.model("plain") == {"m": b"1,2\n"}
    assert "[treadle] sandbox: plain" in world.log("plain", own=True)[0]


def test_every_input_mode(world: RayWorld) -> None:
    """What cannot be shown as it lies is copied, read-only; what is piped comes through the network, epoch by epoch."""
    for number in range(300):
        world.put(f"many/{number:03d}", b"%d\n" % number)
    world.image(
        "modes",
        """
data = ML / "input/data"
say(sum(int(each.read_text()) for each in (data / "fast").iterdir()))
try:
    (data / "fast/000").write_text("x")
except OSError as error:
    say(error.strerror)
for epoch in range(2):
    with open(data / f"pipe_{epoch}") as pipe:
        say(sum(int(line) for line in pipe))
""",
    )
    channels = [
        {**world.channel("many/", name), "InputMode": mode} for name, mode in (("fast", "FastFile"), ("pipe", "Pipe"))
    ]
    world.create("modes", "modes", InputDataConfig=channels)
    world.completed("modes")
    assert world.log("modes") == ["44850", "Read-only file system", "44850", "44850"]


def test_a_stop_is_prompt_and_keeps_the_model(world: RayWorld) -> None:
    """SIGTERM reaches the program, and what it then saves is uploaded."""
    world.image(
        "stop",
        """
def end(*_):
    (MODEL / "saved").write_text("saved")
    say("ended")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
say("begun")
while True: signal.pause()
""",
    )
    world.create("stop", "stop")
    world.says("stop", "begun")
    began = time.monotonic()
    world.stop("stop")
    assert world.ended("stop")["TrainingJobStatus"] == "Stopped"
    assert time.monotonic() - began < 10
    assert world.model("stop") == {"saved": b"saved"}


def test_an_agent_that_is_killed_has_another_come_after_it(world: RayWorld, cluster: Cluster) -> None:
    """On its node, from its actor: a stop that it did not hear of keeps what was saved, and what was said is told."""
    world.image(
        "talks",
        """
said = os.open(MODEL / "said", os.O_WRONLY | os.O_CREAT)
for number in range(100_000):
    say(f"line {number}")
    os.pwrite(said, b"%06d" % (number + 1), 0)
    time.sleep(0.01)
""",
    )
    world.create("talks", "talks")
    world.says("talks", "line 5")
    node = node_of(cluster, "talks")
    (agent,) = node.processes("treadle.agent")
    os.kill(agent, signal.SIGSTOP)
    world.stop("talks")
    (said,) = node.scratch.glob("**/ml/model/said")
    before = int(said.read_text())
    until(lambda: int(said.read_text()) > before + 20, what="it goes on talking")
    os.kill(agent, signal.SIGKILL)
    job = world.ended("talks", 60)
    assert job["TrainingJobStatus"] == "Stopped"
    told = world.log("talks")
    assert told == [f"line {number}" for number in range(len(told))]
    assert len(told) - int((world.model("talks") or {})["said"]) in {0, 1}


def test_the_service_is_killed_and_the_job_goes_on(world: RayWorld, cluster: Cluster) -> None:
    """Training outlives the service; the next one finds the job again, hears what happened, and can end it."""
    world.waiting("outlives")
    node = node_of(cluster, "outlives")
    agents = node.processes("treadle.agent")
    world.service.kill()
    world.open()  # it ends while nobody listens
    world.begin()
    world.completed("outlives", 40)
    assert world.log("outlives")[-1] == "done"
    assert world.model("outlives") == {"by": b"second"}
    assert agents  # one agent all the time: an attempt that was begun anew would have waited at the gate


@pytest.mark.parametrize("sign", ["", "ray::HostActor", "treadle.agent"])
def test_the_service_is_killed_while_it_launches(world: RayWorld, cluster: Cluster, sign: str) -> None:
    """Before the room is kept, before the actor is there, before its handle is stored: the job is done once."""
    world.image("begins", 'say("done"); (MODEL / "m").write_text("m")')
    world.create("begins", "begins")
    if sign:
        nodes = cluster.nodes.values()
        until(lambda: any(node.processes(sign) for node in nodes), what=f"a node has {sign}")
    world.service.kill()
    world.begin()
    world.completed("begins", 60)
    assert world.model("begins") == {"m": b"m"}
    assert world.log("begins").count("done") >= 1


def test_a_job_is_stopped_by_the_next_service(world: RayWorld) -> None:
    """Commands reach agents that an earlier service launched."""
    world.waiting("later")
    world.service.kill()
    world.begin()
    world.stop("later")
    assert world.ended("later", 40)["TrainingJobStatus"] == "Stopped"


def test_a_clerk_that_is_killed_is_replaced(world: RayWorld, cluster: Cluster) -> None:
    """Its job goes on, and the next one is launched."""
    world.gate()
    world.image("clerk", WAITS)
    world.create("clerk-1", "clerk")
    world.says("clerk-1", "begun")
    (clerk,) = cluster.head.processes("treadle.launchers.ray.clerk")
    os.kill(clerk, signal.SIGKILL)
    world.open()
    world.completed("clerk-1")
    world.create("clerk-2", "clerk")
    world.says("clerk-2", "begun")
    world.open()
    world.completed("clerk-2")


def test_who_does_not_fit_now_waits_its_turn(world: RayWorld) -> None:
    """First in, first out, as Pending; and what is stopped while it waits leaves no room taken."""
    names = [f"turn-{number}" for number in range(1, 5)]
    gates = {name: world.gate(name) for name in names}
    world.image("turn", 'say("begun"); wait(os.environ["TRAINING_JOB_NAME"])')
    for name in names[:2]:
        world.create(name, "turn")
        world.says(name, "begun")
    for name in names[2:]:
        world.create(name, "turn")
        assert world.reached(name, "Pending")["SecondaryStatusTransitions"][-1]["StatusMessage"] == (
            "Training job waiting for capacity"
        )
    world.stop(names[2])
    assert world.ended(names[2])["TrainingJobStatus"] == "Stopped"
    gates[names[0]].open()
    gates[names[3]].open()
    gates[names[1]].open()
    for name in (names[0], names[1], names[3]):
        world.completed(name)


def test_what_could_never_fit_is_refused(world: RayWorld) -> None:
    """With AWS's code, and what there is."""
    world.image("large", "pass")
    for resources, said in (
        ({"InstanceType": "ml.m5.24xlarge", "InstanceCount": 1}, "It needs 96 vCPU, 384 GiB on one machine, and the "),
        (
            {"InstanceType": "ml.m5.large", "InstanceCount": 3},
            "It needs 3 instances at the same time, and the cluster ",
        ),
        ({"InstanceType": "ml.p3.2xlarge", "InstanceCount": 1}, "8 vCPU, 61 GiB, 1 GPU on one machine, and the "),
    ):
        with pytest.raises(ServiceError, match=said) as refused:
            world.create("large", "large", ResourceConfig={**resources, "VolumeSizeInGB": 1})
        assert refused.value.code == "ResourceLimitExceeded"
        assert "2 x 2 CPUs, 16.0 GiB" in refused.value.message


def test_gpus_are_assigned_by_ray(world: RayWorld, cluster: Cluster) -> None:
    """Two jobs with a GPU each have different ones, by the variables that programs look at."""
    with one_larger_node(world, cluster, memory=32 << 30, gpus=2):
        gates = [world.gate("gpu-1"), world.gate("gpu-2")]
        shown = 'say(os.environ["CUDA_VISIBLE_DEVICES"]); say("begun"); wait(os.environ["TRAINING_JOB_NAME"])'
        world.image("gpu", shown)
        for name in ("gpu-1", "gpu-2"):
            resources = {"InstanceType": "ml.g4dn.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1}
            world.create(name, "gpu", ResourceConfig=resources)
            world.says(name, "begun")
        for gate in gates:
            gate.open()
        for name in ("gpu-1", "gpu-2"):
            world.completed(name)
        assert sorted(world.log(each)[0] for each in ("gpu-1", "gpu-2")) == ["0", "1"]


RETRY = {"RetryStrategy": {"MaximumRetryAttempts": 1}}


def test_a_machine_is_lost_and_the_job_begins_again_on_another(world: RayWorld, cluster: Cluster) -> None:
    """RetryStrategy, as for any fault of the platform; and the node that comes back is cleaned."""
    world.waiting("lost", **RETRY)
    node = node_of(cluster, "lost")
    began = time.monotonic()
    del cluster.nodes[node.address]
    node.lost()
    until(lambda: world.log("lost").count("begun") == 2, 60, what="it begins again")
    print(f"\nfrom the loss of a machine to the first line on another: {time.monotonic() - began:.1f} s")
    assert node_of(cluster, "lost") is not node
    world.open()
    world.completed("lost")
    assert any("Attempt 1 ended with InternalServerError" in each for each in world.log("lost", own=True))
    cluster.add()


def test_a_machine_is_lost_and_the_job_has_failed(world: RayWorld, cluster: Cluster) -> None:
    """Without RetryStrategy; of two hosts, the other one ends, too."""
    world.gate()
    world.image("fails", WAITS)
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    world.create("fails", "fails", ResourceConfig=resources)
    until(lambda: world.log("fails").count("begun") == 2, what="both have begun")
    node, other = cluster.nodes.values()
    del cluster.nodes[node.address]
    node.lost()
    found = world.ended("fails", 60)
    assert found["TrainingJobStatus"] == "Failed"
    assert found["FailureReason"].startswith("InternalServerError: We encountered an internal error. Please try again.")
    assert "is lost: its agent is gone" in found["FailureReason"]
    until(lambda: not other.processes("treadle.agent"), what="the other host has ended")
    cluster.add()


def test_an_agent_that_outlives_its_node_does_no_harm(world: RayWorld, cluster: Cluster) -> None:
    """Ray's part of a machine dies, the rest lives on: the old attempt is told that it is over, the new one counts."""
    world.waiting("fenced", **RETRY)
    node = node_of(cluster, "fenced")
    (agent,) = node.processes("treadle.agent")
    # The worker cannot hear of its raylet's end: so the agent is certain to live when the next attempt begins.
    (actor,) = node.processes("ray::HostActor")
    os.kill(actor, signal.SIGSTOP)
    try:
        os.kill(node.raylet(), signal.SIGKILL)
        until(lambda: world.log("fenced").count("begun") == 2, 90, what="another attempt")
        until(lambda: agent not in node.processes("treadle.agent"), 40, what="the old agent is told, and goes")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(actor, signal.SIGCONT)
    world.open()
    world.completed("fenced")
    assert world.log("fenced").count("done") == 1
    cluster.remove(node)
    cluster.add()


def test_the_time_to_the_first_line(world: RayWorld) -> None:
    """Submit → first line, as a client sees it in the log; printed, not judged."""
    world.image("quick", "say(str(time.time()))")
    took: list[float] = []
    for number in range(5):
        began = time.time()
        world.create(f"quick-{number}", "quick")
        world.completed(f"quick-{number}")
        took.append(float(world.log(f"quick-{number}")[0]) - began)
    print(f"\nsubmit → first line through Ray: {[f'{each:.2f}' for each in took]} s")
    assert took


def test_nodes_that_cannot_reach_the_service(place: Any, cluster: Cluster) -> None:
    """A service on loopback says so at its start, not when the first job fails."""
    world = RayWorld(place)
    world.home.prepare()
    done = world.treadle("serve", "--launcher", "ray", "--ray-address", cluster.address)
    assert done.code == 2
    assert "The cluster has nodes on other machines (10.77.0." in done.err
    assert "--tls-cert" in done.err
    done = world.treadle("serve", "--launcher", "ray", "--ray-address", f"{HEAD}:1")
    assert (done.code, "There is no Ray cluster at '10.77.0.1:1'" in done.err) == (2, True), done.err
    world.close()
