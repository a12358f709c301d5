"""The training service: requests a second, and how soon a program starts after its job was submitted.

Requests are signed before the clock runs, so the figures are the server's. moto's server takes turns with ours. It does
less: it takes any signature, checks neither the request nor that its image and data are there, keeps jobs in memory and
runs none. Here a job is on the disk before it is answered; what that takes at the least, an insert by SQLite that is
forced to the disk, stands beside. Jobs that are created here wait: another one has the machine. Submit → first line
takes turns with a bare subprocess that prints the same line.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.servers import NOT_INSTALLED, Server, moto, resident_mib, treadle
from bench.wire import CONNECTIONS, Load, called, load, medians
from treadle.cli.client import Client
from treadle.home import Home
from treadle.training.images import ImageRegistry

DESCRIBES = 2000
CREATES = 500
CROWD = 32
ROUNDS = 5
STARTS = 11
PROGRAMS = {
    "line": "import sys, time; print('first line', time.time(), flush=True)\n",
    "wait": "import signal; signal.pause()\n",
}


def job(name: str, image: str, instance: str = "ml.m5.large", **members: object) -> dict[str, object]:
    """Give a CreateTrainingJob request."""
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
        "RoleArn": "arn:aws:iam::000000000000:role/Bench",
        "OutputDataConfig": {"S3OutputPath": "s3://bench/output"},
        "ResourceConfig": {"InstanceType": instance, "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        **members,
    }


DATA: dict[str, Any] = {
    "HyperParameters": {"epochs": "10", "learning-rate": "0.1"},
    "InputDataConfig": [
        {
            "ChannelName": "train",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bench/train/"}},
        }
    ],
}


def create(client: Client, *arguments: str) -> None:
    """Create a job."""
    client.call("SageMaker.CreateTrainingJob", job(*arguments))


def rounds(servers: Mapping[str, Server], database: Path) -> dict[str, Any]:
    """Measure Describe and Create of each server in turn, and inserts; give the middle round of each.

    Over a few connections, as a person's programs ask, and over a crowd of them, which shows what a server can do.
    """
    names = itertools.count()
    found: dict[str, dict[str, list[Load]]] = {each: defaultdict(list) for each in servers}
    inserts = []
    for _ in range(ROUNDS):
        for (each, server), (crowd, connections) in itertools.product(
            servers.items(), {"": CONNECTIONS, "_crowd": CROWD}.items()
        ):
            described = called(server.client, "DescribeTrainingJob", {"TrainingJobName": "described"})
            found[each][f"describe{crowd}"].append(load(server, [described] * DESCRIBES, connections))
            jobs = [job(f"made-{next(names)}", "line", **DATA) for _ in range(CREATES)]
            requests = [called(server.client, "CreateTrainingJob", values) for values in jobs]
            found[each][f"create{crowd}"].append(load(server, requests, connections))
        inserts.append(insert_ms(database, CREATES))
    figures: dict[str, Any] = {
        each: {what: medians(loads) for what, loads in its.items()} for each, its in found.items()
    }
    return figures | {"insert_ms": statistics.median(inserts)}


def insert_ms(path: Path, count: int) -> float:
    """Insert rows of a job's size one after the other, each forced to the disk; give the milliseconds of one."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("CREATE TABLE IF NOT EXISTS jobs (body BLOB)")
        begun = time.perf_counter()
        for _ in range(count):
            database.execute("INSERT INTO jobs VALUES (?)", (bytes(1200),))
        return (time.perf_counter() - begun) / count * 1000


@contextlib.contextmanager
def machine_taken(client: Client) -> Iterator[None]:
    """Let one job have the machine, so that the others wait; stop all of them at the end, and wait until it is over."""
    create(client, "takes-all", "wait", "ml.local.cpu")
    while client.describe("takes-all")["SecondaryStatus"] != "Training":
        time.sleep(0.02)
    yield
    pages: dict[str, Any] = {"StatusEquals": "InProgress", "MaxResults": 100}
    names: list[str] = []
    while True:
        page = client.call("SageMaker.ListTrainingJobs", pages)
        names += [each["TrainingJobName"] for each in page["TrainingJobSummaries"]]
        if "NextToken" not in page:
            break
        pages["NextToken"] = page["NextToken"]
    for name in sorted(names, key=lambda each: each == "takes-all"):
        client.call("SageMaker.StopTrainingJob", {"TrainingJobName": name})
    while client.describe("takes-all")["TrainingJobStatus"] != "Stopped":
        time.sleep(0.05)


def bare_start() -> float:
    """Start the program as a bare subprocess; seconds until its line."""
    begun = time.time()
    done = subprocess.run([sys.executable, "-c", PROGRAMS["line"]], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1]) - begun


def submitted_start(client: Client, name: str) -> float:
    """Submit a job of the program; seconds until its line, by the clock of the program."""
    begun = time.time()
    create(client, name, "line")
    while client.describe(name)["TrainingJobStatus"] == "InProgress":
        time.sleep(0.05)
    stream = client.streams(name)[0]
    asked = {"logGroupName": "/aws/sagemaker/TrainingJobs", "logStreamName": stream, "startFromHead": True}
    lines = client.call("Logs_20140328.GetLogEvents", asked)["events"]
    line = next(each["message"] for each in lines if each["message"].startswith("first line"))
    return float(line.split()[-1]) - begun


def prepared(root: Path) -> Home:
    """Give a home with a bucket and the images."""
    home = Home(root / "home")
    home.prepare()
    (home.s3 / "bench/train").mkdir(parents=True)
    (home.s3 / "bench/train/a.csv").write_text("1,2\n")
    for name, program in PROGRAMS.items():
        image = root / name
        image.mkdir()
        (image / "train.py").write_text(program)
        (image / "image.toml").write_text(f'name = "{name}"\ncommand = ["python", "train.py"]\n')
        ImageRegistry(home.images_file).add(image)
    return home


def measure() -> dict[str, Any]:
    """Measure; give medians."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:  # programs do not see /tmp
        home = prepared(Path(directory))
        with treadle(home) as ours, moto() as other:
            client = ours.client
            servers = {"treadle": ours} | ({"moto": other} if other else {})
            figures["idle_mib"] = {name: resident_mib(each.pid) for name, each in servers.items()}
            starts = [(submitted_start(client, f"start-{number}"), bare_start()) for number in range(STARTS)]
            figures["submit_ms"] = statistics.median(ours for ours, _ in starts) * 1000
            figures["subprocess_ms"] = statistics.median(bare for _, bare in starts) * 1000
            for each in servers.values():
                create(each.client, "described", "line")
            while client.describe("described")["TrainingJobStatus"] == "InProgress":
                time.sleep(0.05)
            with machine_taken(client):
                figures |= rounds(servers, Path(directory) / "inserts.db")
            figures["busy_mib"] = {name: resident_mib(each.pid) for name, each in servers.items()}
    return figures


def table(figures: dict[str, Any]) -> list[str]:
    """Give the lines for people."""
    lines = [f"training service, the middle of {ROUNDS} rounds"]
    operations = {"describe": "DescribeTrainingJob", "create": "CreateTrainingJob"}
    for (what, operation), (crowd, count) in itertools.product(
        operations.items(), {"": CONNECTIONS, "_crowd": CROWD}.items()
    ):
        for name in ("treadle", "moto"):
            if name not in figures:
                lines.append(f"  {operation:20} {name:8} {NOT_INSTALLED}")
                continue
            found = figures[name][what + crowd]
            ours = figures["treadle"][what + crowd]
            times = f"{found['per_s']:6.0f}/s   p50 {found['p50_ms']:6.2f} ms   p99 {found['p99_ms']:6.2f} ms"
            ratio = f"   ratio {ours['per_s'] / found['per_s']:.1f}, of CPU {found['cpu_ms'] / ours['cpu_ms']:.1f}"
            asked = f"  {operation:20} {count:2} connections {name:8} {times}   CPU {found['cpu_ms']:.2f} ms"
            lines.append(asked + ratio * (name == "moto"))
    submitted, bare = figures["submit_ms"], figures["subprocess_ms"]
    started = (
        f"submit → first line of the program {submitted:.0f} ms, of a bare subprocess {bare:.0f} ms: "
        f"{submitted - bare:.0f} more"
    )
    jobs = 2 * CREATES * ROUNDS
    memory = [
        f"  memory of {name}: {figures['idle_mib'][name]:.0f} MiB idle, {busy:.0f} MiB after {jobs} jobs"
        for name, busy in figures["busy_mib"].items()
    ]
    return [
        *lines,
        f"  an insert by SQLite that is forced to the disk: {figures['insert_ms']:.2f} ms, one after the other",
        "  moto keeps jobs in memory, and checks neither signatures, nor requests, nor that image and data are there",
        f"  {started}",
        *memory,
    ]
