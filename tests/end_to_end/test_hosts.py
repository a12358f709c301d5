"""Several hosts against the real service: what they learn from each other, and from the service itself."""

from __future__ import annotations

import json

import pytest

from tests.end_to_end.world import World
from tests.networks import listening
from tests.waiting import until
from treadle.agent.sandbox import network
from treadle.launchers.local import LAUNCH_FILE

PROGRAM = """
import json, socket
import botocore.session
config = json.loads((ML / "input/config/resourceconfig.json").read_text())
me = config["current_host"]
hosts = config["hosts"]
wait(me)
address = (hosts[0], 5000)
if me == hosts[0]:
    listener = socket.create_server(("0.0.0.0", 5000))
    joined, _ = listener.accept()
    other = joined.recv(100).decode()
else:
    listener = socket.create_server(("0.0.0.0", 5000))  # the same port: nobody's here but ours
    for _ in range(500):
        try:
            joined = socket.create_connection(address)
            break
        except ConnectionRefusedError:
            time.sleep(0.01)
    joined.sendall(me.encode())
    other = hosts[0]
s3 = botocore.session.Session().create_client("s3")
found = s3.get_object(Bucket="data", Key="train/0.csv")["Body"].read()
(MODEL / me).write_text(json.dumps([other, found.decode()]))
"""


def test_two_hosts_reach_each_other_and_the_service(world: World, namespace_problem: str) -> None:
    """Both bind one port, both read S3 with the job's credentials, and the model is of both."""
    if problem := namespace_problem or network.problem():
        pytest.skip(f"the hosts have no network of their own here: {problem}")
    world.sandbox = "namespace"
    world.put("train/0.csv", b"1,2\n")
    world.image("pair", PROGRAM)
    gates = [world.gate(host) for host in ("algo-1", "algo-2")]
    world.serve()
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    world.create("pair", "pair", ResourceConfig=resources, InputDataConfig=[world.channel("train")])
    world.reached("pair", "Training")
    token = json.loads((world.home.jobs / "pair/1/algo-1" / LAUNCH_FILE).read_text())["token"]
    assert len(listening(token)) == 1
    for each in gates:
        each.open()
    job = world.ended("pair")
    assert (job["TrainingJobStatus"], job.get("FailureReason")) == ("Completed", None)
    assert world.model("pair") == {"algo-1": b'["algo-2", "1,2\\n"]', "algo-2": b'["algo-1", "1,2\\n"]'}
    world.clean("pair")
    assert listening(token) == set()


def test_a_spot_job_goes_on_from_its_checkpoint(boxed: World) -> None:
    """`treadle jobs interrupt`: SIGTERM, the checkpoint is kept, and the next attempt begins with it."""
    boxed.image(
        "spot",
        """
state = ML / "checkpoints" / "epoch"
epoch = int(state.read_text()) if state.exists() else 0
say(f"from {epoch}")
if epoch:
    (MODEL / "m").write_text(str(epoch))
    sys.exit(0)
def save(number, frame):
    state.write_text("7")
    sys.exit(1)
signal.signal(signal.SIGTERM, save)
wait()
""",
    )
    boxed.serve()
    boxed.gate()
    boxed.create(
        "spot",
        "spot",
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120},
        CheckpointConfig={"S3Uri": "s3://data/ckpt"},
    )
    boxed.reached("spot", "Training")
    until(lambda: any("from 0" in line for line in boxed.log("spot")), what="the program is there")
    done = boxed.treadle("jobs", "interrupt", "spot")
    assert done.code == 0, done.err
    job = boxed.ended("spot")
    assert job["TrainingJobStatus"] == "Completed", job
    statuses = [each["Status"] for each in job["SecondaryStatusTransitions"]]
    assert statuses[:6] == ["Starting", "Downloading", "Training", "Interrupted", "Starting", "Downloading"]
    assert boxed.model("spot") == {"m": b"7"}
    assert job["BillableTimeInSeconds"] <= job["TrainingTimeInSeconds"]
