"""The training service: requests a second, and how soon a program starts after its job was submitted.

Requests are signed before the clock runs, so the figures are the server's. moto's server, which runs no job, takes
turns with ours. Jobs that are created here wait: another one has the machine. Submit → first line takes turns with a
bare subprocess that prints the same line.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.servers import NOT_INSTALLED, moto, resident_mib, treadle
from bench.wire import CONNECTIONS, Load, called, load, medians
from treadle.cli.client import Client
from treadle.home import Home
from treadle.training.images import ImageRegistry

DESCRIBES = 2000
CREATES = 300
ROUNDS = 5
STARTS = 11
PROGRAMS = {
    "line": "import sys, time; print('first line', time.time(), flush=True)\n",
    "wait": "import signal; signal.pause()\n",
}


def job(name: str, image: str, instance: str = "ml.m5.large") -> dict[str, object]:
    """Give a CreateTrainingJob request without data."""
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
        "RoleArn": "arn:aws:iam::000000000000:role/Bench",
        "OutputDataConfig": {"S3OutputPath": "s3://bench/output"},
        "ResourceConfig": {"InstanceType": instance, "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }


def create(client: Client, *arguments: str) -> None:
    """Create a job."""
    client.call("SageMaker.CreateTrainingJob", job(*arguments))


def rounds(clients: Mapping[str, Client]) -> dict[str, dict[str, dict[str, float]]]:
    """Measure Describe and Create of each server in turn; give the middle round of each."""
    names = itertools.count()
    found: dict[str, dict[str, list[Load]]] = {each: {"describe": [], "create": []} for each in clients}
    for _ in range(ROUNDS):
        for each, client in clients.items():
            described = called(client, "DescribeTrainingJob", {"TrainingJobName": "described"})
            found[each]["describe"].append(load(client.url, [described] * DESCRIBES))
            jobs = [job(f"made-{next(names)}", "line") for _ in range(CREATES)]
            requests = [called(client, "CreateTrainingJob", values) for values in jobs]
            found[each]["create"].append(load(client.url, requests))
    return {each: {what: medians(loads) for what, loads in its.items()} for each, its in found.items()}


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
    (home.s3 / "bench").mkdir(parents=True)
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
        with treadle(home) as client, moto() as other:
            endpoint = home.endpoint()
            assert endpoint is not None
            figures["idle_mib"] = resident_mib(endpoint.pid)
            starts = [(submitted_start(client, f"start-{number}"), bare_start()) for number in range(STARTS)]
            figures["submit_ms"] = statistics.median(ours for ours, _ in starts) * 1000
            figures["subprocess_ms"] = statistics.median(bare for _, bare in starts) * 1000
            clients = {"treadle": client} | ({"moto": other} if other else {})
            for each in clients.values():
                create(each, "described", "line")
            while client.describe("described")["TrainingJobStatus"] == "InProgress":
                time.sleep(0.05)
            with machine_taken(client):
                figures |= rounds(clients)
            figures["busy_mib"] = resident_mib(endpoint.pid)
    return figures


def table(figures: dict[str, Any]) -> list[str]:
    """Give the lines for people."""
    lines = [f"training service, the middle of {ROUNDS} rounds over {CONNECTIONS} connections"]
    for what, operation in {"describe": "DescribeTrainingJob", "create": "CreateTrainingJob"}.items():
        for name in ("treadle", "moto"):
            if name not in figures:
                lines.append(f"  {operation:20} {name:8} {NOT_INSTALLED}")
                continue
            found = figures[name][what]
            times = f"{found['per_s']:6.0f}/s   p50 {found['p50_ms']:6.2f} ms   p99 {found['p99_ms']:6.2f} ms"
            ratio = figures["treadle"][what]["per_s"] / found["per_s"]
            lines.append(f"  {operation:20} {name:8} {times}" + (f"   ratio {ratio:.1f}" if name == "moto" else ""))
    ours, bare = figures["submit_ms"], figures["subprocess_ms"]
    started = (
        f"submit → first line of the program {ours:.0f} ms, of a bare subprocess {bare:.0f} ms: {ours - bare:.0f} more"
    )
    idle, busy = figures["idle_mib"], figures["busy_mib"]
    return [
        *lines,
        f"  {started}",
        f"  memory of the service: {idle:.0f} MiB idle, {busy:.0f} MiB after {CREATES * ROUNDS} jobs",
    ]
