"""Jobs of several hosts: a network of their own, one start, one end, one output."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web

from tests.agent.cluster import BUCKET, Cluster, TaskLauncher
from tests.agent.plane import gone
from tests.networks import listening
from treadle.agent.sandbox import network
from treadle.launchers import cgroups, processes
from treadle.launchers.local import LAUNCH_FILE, LocalLauncher
from treadle.seams import Capacity


@pytest.fixture(scope="session")
def private() -> str:
    """Say why no private network can be made here, "" when it can."""
    return network.problem()


@pytest.fixture
async def cluster(tmp_path: Path, namespaces: str, private: str) -> AsyncIterator[Cluster]:
    """Give a cluster whose hosts have a network of their own."""
    if namespaces or private:
        pytest.skip(f"no network of namespaces here: {namespaces or private}")
    made = Cluster(tmp_path, sandbox="namespace")
    async with made.running():
        yield made


@pytest.fixture(params=["plain", "namespace"])
async def any_cluster(
    request: pytest.FixtureRequest, tmp_path: Path, namespaces: str, private: str
) -> AsyncIterator[Cluster]:
    """Give a cluster of each kind."""
    if request.param == "namespace" and (namespaces or private):
        pytest.skip(f"no network of namespaces here: {namespaces or private}")
    made = Cluster(tmp_path, sandbox=request.param)
    async with made.running():
        yield made


def python(script: str) -> list[str]:
    return ["python", "-c", script]


# The other host may not listen yet, as on AWS.
CONNECT = """
import socket, time
def connect(address):
    for _ in range(500):
        try:
            return socket.create_connection(address)
        except ConnectionRefusedError:
            time.sleep(0.01)
"""

# A ring all-reduce over TCP: every host sends its vector round; all come to the same sum.
ALL_REDUCE = (
    CONNECT
    + """
import json, os, pathlib, socket, struct
base = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
config = json.loads((base / "input/config/resourceconfig.json").read_text())
me, hosts = config["current_host"], config["hosts"]
rank = hosts.index(me)
following = hosts[(rank + 1) % len(hosts)]
port = int(os.environ["PORT"])
listener = socket.create_server((socket.gethostbyname(me), port))
right = connect((following, port))
left, _ = listener.accept()
vector = [float(rank + 1)] * 1000
total, passing = list(vector), vector
for _ in range(len(hosts) - 1):
    right.sendall(struct.pack("1000d", *passing))
    data = b""
    while len(data) < 8000:
        data += left.recv(8000 - len(data))
    passing = struct.unpack("1000d", data)
    total = [one + other for one, other in zip(total, passing)]
(base / "model" / me).write_text(json.dumps(sorted(set(total))))
print("sum", total[0], flush=True)
"""
)


@pytest.mark.parametrize("private", [True, False], ids=["private", "shared"])
@pytest.mark.parametrize("count", [2, 3])
async def test_all_reduce(tmp_path: Path, namespaces: str, private: bool, count: int) -> None:
    """A real collective: names resolve, all hosts are there at once, and their models are merged.

    Also where the hosts share the machine's network, as they do where no other can be made: then by loopback addresses.
    """
    problem = network.problem() if private else ""
    if namespaces or problem:
        pytest.skip(f"no network of namespaces here: {namespaces or problem}")
    cluster = Cluster(tmp_path, sandbox="namespace", private=lambda: "" if private else "no right to")
    async with cluster.running():
        await _all_reduce(cluster, count)
        assert ("the hosts share the machine's network" in cluster.log("algo-1-")) != private


async def _all_reduce(cluster: Cluster, count: int) -> None:
    resources = {"InstanceType": "ml.local.cpu", "InstanceCount": count, "VolumeSizeInGB": 1}
    with socket.create_server(("127.0.0.1", 0)) as free:  # the hosts may share the machine's network with others
        port = free.getsockname()[1]
    await cluster.submit(python(ALL_REDUCE), ResourceConfig=resources, Environment={"PORT": str(port)})
    job = await cluster.ended()
    assert (job.status, job.failure_reason) == ("Completed", "")
    total = float(count * (count + 1) // 2)
    assert cluster.output() == {f"algo-{each}": json.dumps([total]).encode() for each in range(1, count + 1)}
    for each in range(1, count + 1):
        assert f"sum {total}" in cluster.log(f"algo-{each}-")


async def test_one_port_on_two_hosts(cluster: Cluster) -> None:
    """Both bind the same port of all addresses; each reaches the other's, and its own eth0 is up."""
    script = (
        CONNECT
        + """
import fcntl, os, socket, struct
me, other = socket.gethostname(), {"algo-1": "algo-2", "algo-2": "algo-1"}[socket.gethostname()]
listener = socket.create_server(("0.0.0.0", 80))
with connect((other, 80)) as asked:
    answered, _ = listener.accept()
    answered.sendall(me.encode())
    answered.shutdown(socket.SHUT_WR)
    print("other is", asked.recv(100).decode(), flush=True)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    address = socket.inet_ntoa(fcntl.ioctl(s.fileno(), 0x8915, struct.pack("256s", b"eth0"))[20:24])
print("eth0", address, socket.gethostbyname(me), sorted(os.listdir("/sys/class/net")))
"""
    )
    await cluster.submit(python(script))
    job = await cluster.ended()
    assert (job.status, job.failure_reason) == ("Completed", "")
    assert "other is algo-2" in cluster.log("algo-1-")
    assert "other is algo-1" in cluster.log("algo-2-")
    assert "eth0 10.0.0.1 10.0.0.1 ['eth0', 'lo']" in cluster.log("algo-1-")
    assert "eth0 10.0.0.2 10.0.0.2 ['eth0', 'lo']" in cluster.log("algo-2-")
    assert "network: 10.0.0.1; the other hosts and the service can be reached, others by" in cluster.log("algo-1-")


ASK = """
import os, socket, urllib.request
try:
    print("service says", urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"], timeout=5).read())
except OSError as error:
    print("no service:", error)
try:
    socket.create_connection(("192.0.2.1", 80), timeout=5)
except OSError as error:
    print("outside:", error)
print("other:", socket.gethostbyname("algo-2"))
try:
    urllib.request.urlopen("http://no.such.host.invalid/", timeout=5)
except OSError as error:
    print("by the proxy:", error, os.environ.get("NO_PROXY"))
"""


@pytest.mark.parametrize(
    ("isolated", "service", "proxy"),
    [
        (
            False,
            "service says b'hello'",
            "HTTP Error 502: Bad Gateway 10.0.0.1,10.0.0.2,127.0.0.1,algo-1,algo-2,localhost",
        ),
        (True, "no service:", "<urlopen error [Errno -3] Temporary failure in name resolution> None"),
    ],
)
async def test_reach(cluster: Cluster, isolated: bool, service: str, proxy: str) -> None:
    """The service is reached where it told that it is, and a proxy to the world, unless the network is isolated."""

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    async with AsyncExitStack() as stack:
        app = web.Application()
        app.router.add_get("/", hello)
        runner = web.AppRunner(app)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        await cluster.submit(python(ASK), EnableNetworkIsolation=isolated, Environment={"AWS_ENDPOINT_URL": site.name})
        job = await cluster.ended()
    assert (job.status, job.failure_reason) == ("Completed", "")
    for host in ("algo-1-", "algo-2-"):
        log = cluster.log(host)
        assert service in log
        assert "outside: [Errno 101] Network is unreachable" in log
        assert "other: 10.0.0.2" in log
        assert f"by the proxy: {proxy}" in log


async def test_plain_says_what_it_has_not(tmp_path: Path) -> None:
    """Without namespaces the hosts have loopback addresses, and the log of each says so."""
    cluster = Cluster(tmp_path, sandbox="plain")
    async with cluster.running():
        await cluster.submit(["true"], EnableNetworkIsolation=True)
        assert (await cluster.ended()).status == "Completed"
        for host in ("algo-1-", "algo-2-"):
            assert "the hosts share the machine's network, as 127.0.0.1 to 127.0.0.2" in cluster.log(host)
            assert "names do not resolve" in cluster.log(host)
            assert "EnableNetworkIsolation has no effect" in cluster.log(host)


async def test_groups(any_cluster: Cluster) -> None:
    """Heterogeneous groups: each host knows its own group and type, and all groups; channels go to their groups."""
    script = """
import json, os, pathlib
base = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
config = json.loads((base / "input/config/resourceconfig.json").read_text())
channel = base / "input/data/train"
config["files"] = sorted(each.name for each in channel.iterdir()) if channel.is_dir() else []
(base / "output/data" / config["current_host"]).write_text(json.dumps(config))
"""
    any_cluster.objects.write(BUCKET, "data/a", iter([b"a"]))
    any_cluster.objects.write(BUCKET, "data/b", iter([b"b"]))
    groups = [
        {"InstanceGroupName": "first", "InstanceType": "ml.m5.large", "InstanceCount": 1},
        {"InstanceGroupName": "second", "InstanceType": "ml.c5.large", "InstanceCount": 2},
    ]
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/data", "InstanceGroupNames": ["second"]}
    source["S3DataDistributionType"] = "ShardedByS3Key"
    await any_cluster.submit(
        python(script),
        ResourceConfig={"InstanceGroups": groups, "VolumeSizeInGB": 1},
        InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
    )
    job = await any_cluster.ended()
    assert (job.status, job.failure_reason) == ("Completed", "")
    configs = {host: json.loads(content) for host, content in any_cluster.output("output.tar.gz").items()}
    assert {
        host: (each["current_group_name"], each["current_instance_type"], each["files"])
        for host, each in configs.items()
    } == {
        "algo-1": ("first", "ml.m5.large", []),
        "algo-2": ("second", "ml.c5.large", ["a"]),
        "algo-3": ("second", "ml.c5.large", ["b"]),
    }
    assert configs["algo-3"]["hosts"] == ["algo-1", "algo-2", "algo-3"]
    assert [each["hosts"] for each in configs["algo-1"]["instance_groups"]] == [["algo-1"], ["algo-2", "algo-3"]]


async def test_the_first_failure_stops_the_others(any_cluster: Cluster) -> None:
    """The one that did not fail gets SIGTERM; the job has its reason, the other outputs, and no model."""
    script = """
base="${SAGEMAKER_BASE_DIR:-/opt/ml}"
grep -q '"current_host":"algo-2"' "$base/input/config/resourceconfig.json" && { sleep 0.2; echo broken >&2; exit 3; }
trap 'echo stopped > "$base/output/data/stopped"; exit 0' TERM
echo m > "$base/model/m"
while :; do sleep 0.02; done
"""
    await any_cluster.submit(["sh", "-c", script])
    job = await any_cluster.ended()
    assert (job.status, job.failure_reason) == ("Failed", "AlgorithmError: , exit code: 3\nbroken")
    assert [(each.name, each.outcome) for each in job.hosts] == [("algo-1", "stopped"), ("algo-2", "failed")]
    assert any_cluster.output("output.tar.gz") == {"stopped": b"stopped\n"}
    assert any_cluster.keys("out/j/output/model") == []


async def test_data_that_is_missing_on_one_host_starts_none(cluster: Cluster) -> None:
    """All hosts start or none does: while one cannot, the others wait, and then are stopped."""
    cluster.objects.write(BUCKET, "data/../x", iter([b"a"]))
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/data", "InstanceGroupNames": ["b"]}
    groups = [{"InstanceGroupName": each, "InstanceType": "ml.m5.large", "InstanceCount": 1} for each in "ab"]
    await cluster.submit(
        ["echo", "started"],
        ResourceConfig={"InstanceGroups": groups, "VolumeSizeInGB": 1},
        InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
    )
    job = await cluster.ended()
    assert (job.status, [each.status for each in job.transitions]) == ("Failed", ["Starting", "Downloading", "Failed"])
    assert job.failure_reason.startswith("ClientError: Data download failed:")
    assert not any(line.endswith(" started") for line in cluster.log().splitlines())


async def test_an_agent_that_is_lost_ends_all(cluster: Cluster) -> None:
    """The job fails, or is retried; nobody of it is left, and neither is its network."""
    await cluster.submit(["sh", "-c", "echo up; exec sleep 600"], RetryStrategy={"MaximumRetryAttempts": 1})
    await cluster.line(" up", "algo-2-")
    job = await cluster.until(lambda job: job.secondary_status == "Training")
    launcher = cluster.launcher
    assert isinstance(launcher, TaskLauncher)
    launcher.agents[job.hosts[1].handle].cancel()
    job = await cluster.until(lambda job: job.attempt == 2 and job.secondary_status == "Training")
    tokens = {each.token for each in launcher.launched}
    assert len(tokens) == 2
    assert listening(launcher.launched[-1].token)
    await cluster.supervisor.request_stop("j")
    assert (await cluster.ended()).status == "Stopped"
    async with asyncio.timeout(10):
        await cluster.supervisor.quiet()
    assert listening(*tokens) == set()


async def test_capacity_counts_all_hosts(tmp_path: Path) -> None:
    """Two jobs of two hosts on a machine for two hosts run one after the other."""
    cluster = Cluster(tmp_path, sandbox="plain", capacity=Capacity(cpus=4, memory=64 << 30))
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    async with cluster.running():
        for name in ("one", "two"):
            await cluster.submit(["sleep", "600"], name, ResourceConfig=resources)
        await cluster.until(lambda job: job.secondary_status == "Training", "one")
        await cluster.until(lambda job: job.secondary_status == "Pending", "two")
        await cluster.supervisor.request_stop("one")
        await cluster.until(lambda job: job.secondary_status == "Training", "two")
        await cluster.supervisor.request_stop("two")
        await cluster.ended("two")


# Spot


async def test_spot(any_cluster: Cluster) -> None:
    """§1.9: interrupted on all hosts, begun again, restored from the checkpoints, and done."""
    script = """
base="${SAGEMAKER_BASE_DIR:-/opt/ml}"
host=$(sed 's/.*"current_host":"\\([^"]*\\)".*/\\1/' "$base/input/config/resourceconfig.json")
[ -e "$base/checkpoints/$host" ] && { cp "$base/checkpoints/$host" "$base/model/$host"; exit 0; }
trap 'echo "from $host" > "$base/checkpoints/$host"; exit 1' TERM
echo ready
while :; do sleep 0.02; done
"""
    await any_cluster.submit(
        ["sh", "-c", script],
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 10_000_000_000},
        CheckpointConfig={"S3Uri": f"s3://{BUCKET}/ckpt"},
    )
    for host in ("algo-1-", "algo-2-"):
        await any_cluster.line(" ready", host)
    await any_cluster.interrupt()
    job = await any_cluster.ended()
    assert (job.status, job.failure_reason, job.attempt) == ("Completed", "", 2)
    statuses = [each.status for each in job.transitions]
    assert statuses[:5] == ["Starting", "Downloading", "Training", "Interrupted", "Starting"]
    assert statuses[5:] in (
        ["Downloading", "Training", "Uploading", "Completed"],
        ["Downloading", "Training", "Completed"],
    )
    assert any_cluster.output() == {each: f"from {each}\n".encode() for each in ("algo-1", "algo-2")}
    assert any_cluster.keys("ckpt/") == ["ckpt/algo-1", "ckpt/algo-2"]
    assert len(list((any_cluster.home.logs / "j").glob("algo-1-*.log"))) == 2


# Everything is killed


@pytest.mark.parametrize("who", ["agents", "everybody"])
async def test_killed_with_all_it_has(tmp_path: Path, namespaces: str, private: str, who: str) -> None:
    """After kill -9 of the agents, with or without the service, nothing is left: processes, network, control groups."""
    if namespaces or private:
        pytest.skip(f"no network of namespaces here: {namespaces or private}")
    machine = Capacity(cpus=2, memory=8 << 30)

    class Small(LocalLauncher):
        async def capacity(self) -> Capacity:
            return machine

    launcher = Small()
    cluster = Cluster(tmp_path, sandbox="namespace", launcher=launcher)
    # Smaller than the machine, so that there are control groups.
    resources = {"InstanceType": "ml.t3.medium", "InstanceCount": 2, "VolumeSizeInGB": 1}
    async with cluster.running():
        await cluster.submit(["sh", "-c", "echo up; setsid sleep 600 & exec sleep 600"], ResourceConfig=resources)
        for host in ("algo-1-", "algo-2-"):
            await cluster.line(" up", host)
        job = await cluster.until(lambda job: job.secondary_status == "Training")
        agents = [json.loads(host.handle)["agent"]["pid"] for host in job.hosts]
        inside = [pid for agent in agents for pid in processes.descendants(agent)]
        groups = [
            Path(each)
            for record in cluster.home.jobs.glob(f"*/*/*/{cgroups.RECORD}")
            for each in json.loads(record.read_text())
        ]
        token = json.loads((cluster.home.jobs / "j/1/algo-1" / LAUNCH_FILE).read_text())["token"]
        assert len(inside) >= 8
        assert len(listening(token)) == 1
        assert all(each.is_dir() for each in groups)
        if who == "everybody":
            await cluster.supervisor.stop()
        for pid in agents:
            os.kill(pid, signal.SIGKILL)
        for pid in inside:
            assert await gone(pid)
        if who == "everybody":  # a new service takes over
            cluster.supervisor = cluster.another()
            await cluster.supervisor.start()
        job = await cluster.ended()
        assert (job.status, "is lost" in job.failure_reason) == ("Failed", True)
        async with asyncio.timeout(10):
            await cluster.supervisor.quiet()
    assert not [each for each in groups if each.exists()]
    assert listening(token) == set()
    assert not list(cluster.home.jobs.iterdir())
