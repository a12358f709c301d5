"""The training service: requests a second, and how soon a program starts after its job was submitted.

Requests are signed once and sent many times over kept connections by a client that does nothing else, so the
figures are the server's. moto's server is measured in the same run where it is installed
(`pip install 'moto[server]'`); it is no dependency. Submit → first line is beside a bare subprocess that prints the
same line.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import importlib.util
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from treadle.aws.sigv4 import Credentials, sign
from treadle.cli.client import Client
from treadle.home import Home
from treadle.seams import Request
from treadle.training.images import ImageRegistry

REQUESTS = 2000
CONNECTIONS = 8
ROUNDS = 3
PROGRAM = "import sys, time; print('first line', time.time(), flush=True)\n"


@contextlib.contextmanager
def service(home: Home) -> Iterator[Client]:
    """Run the service in a process of its own; give a client of it."""
    command = [sys.executable, "-m", "treadle.cli", "serve", "--port", "0"]
    environment = os.environ | {"TREADLE_HOME": str(home.root)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while (endpoint := home.endpoint()) is None:
            assert process.poll() is None, "the service ended before it listened"
            time.sleep(0.02)
        yield Client(endpoint.url, endpoint.region, Credentials(*home.credentials()))
        process.terminate()


@contextlib.contextmanager
def moto() -> Iterator[Client | None]:
    """Run moto's server where it is installed."""
    if importlib.util.find_spec("moto") is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            time.sleep(0.05)
        yield Client(f"http://127.0.0.1:{port}", "us-east-1", Credentials("AKIABENCH", "secret"))
        process.terminate()


def wire(client: Client, operation: str, payload: dict[str, object]) -> bytes:
    """Give a signed request as it goes over the wire."""
    host = urlsplit(client.url).netloc
    headers = (("Content-Type", "application/x-amz-json-1.1"), ("X-Amz-Target", f"SageMaker.{operation}"))
    request = Request("POST", f"{client.url}/", headers, json.dumps(payload).encode())
    signed = sign(request, client.credentials, service="sagemaker", region=client.region, now=dt.datetime.now(dt.UTC))
    lines = ["POST / HTTP/1.1", *(f"{name}: {value}" for name, value in signed.headers if name.lower() != "host")]
    lines += [f"Host: {host}", f"Content-Length: {len(signed.body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + signed.body


async def answered(reader: asyncio.StreamReader) -> None:
    """Read one answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    assert head.startswith(b"http/1.1 200"), head
    length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
    await reader.readexactly(length)


async def load(url: str, requests: list[bytes]) -> list[float]:
    """Send all requests over a few connections; give each one's seconds."""
    address = urlsplit(url)
    waiting = iter(requests)
    times: list[float] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        for request in waiting:
            begun = time.perf_counter()
            writer.write(request)
            await answered(reader)
            times.append(time.perf_counter() - begun)
        writer.close()

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return times


def job(name: str, image: str) -> dict[str, object]:
    """Give a CreateTrainingJob request without data."""
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
        "RoleArn": "arn:aws:iam::000000000000:role/Bench",
        "OutputDataConfig": {"S3OutputPath": "s3://bench/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }


def describes(client: Client, name: str) -> dict[str, float]:
    """Measure DescribeTrainingJob of a job that is there."""
    rates, times = [], []
    for _ in range(ROUNDS):
        request = wire(client, "DescribeTrainingJob", {"TrainingJobName": name})
        begun = time.perf_counter()
        each = sorted(asyncio.run(load(client.url, [request] * REQUESTS)))
        rates.append(REQUESTS / (time.perf_counter() - begun))
        times.append(each)
    middle = times[rates.index(statistics.median(rates))]
    return {
        "per_s": statistics.median(rates),
        "p50_ms": middle[len(middle) // 2] * 1000,
        "p99_ms": middle[len(middle) * 99 // 100] * 1000,
    }


def bare_start(python: str) -> float:
    """Start the program as a bare subprocess; seconds until its line."""
    begun = time.time()
    done = subprocess.run([python, "-c", PROGRAM], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1]) - begun


def submitted_start(client: Client, name: str) -> float:
    """Submit a job of the program; seconds until its line, by the clock of the program."""
    begun = time.time()
    client.call("SageMaker.CreateTrainingJob", job(name, "bench"))
    while client.describe(name)["TrainingJobStatus"] == "InProgress":
        time.sleep(0.02)
    stream = client.streams(name)[0]
    asked = {"logGroupName": "/aws/sagemaker/TrainingJobs", "logStreamName": stream, "startFromHead": True}
    lines = client.call("Logs_20140328.GetLogEvents", asked)["events"]
    line = next(each["message"] for each in lines if each["message"].startswith("first line"))
    return float(line.split()[-1]) - begun


def prepared(root: Path) -> Home:
    """Give a home with a bucket and an image whose program prints one line."""
    home = Home(root / "home")
    home.prepare()
    (home.s3 / "bench").mkdir(parents=True)
    image = root / "image"
    image.mkdir()
    (image / "train.py").write_text(PROGRAM)
    (image / "image.toml").write_text('name = "bench"\ncommand = ["python", "train.py"]\n')
    ImageRegistry(home.images_file).add(image)
    return home


def resident_of(home: Home) -> float:
    """Give the resident memory of the service in MiB."""
    endpoint = home.endpoint()
    assert endpoint is not None
    pages = int(Path(f"/proc/{endpoint.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure() -> dict[str, object]:
    """Measure both servers; give medians."""
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as directory:
        home = prepared(Path(directory))
        with service(home) as client:
            figures["idle_mib"] = resident_of(home)
            starts = [submitted_start(client, f"start-{number}") for number in range(ROUNDS * 2 + 1)]
            floors = [bare_start(sys.executable) for _ in starts]
            figures["submit_ms"] = statistics.median(starts) * 1000
            figures["subprocess_ms"] = statistics.median(floors) * 1000
            figures["treadle"] = describes(client, "start-0")
    with moto() as other:
        if other is not None:
            other.call("SageMaker.CreateTrainingJob", job("start-0", "bench"))
            figures["moto"] = describes(other, "start-0")
    return figures


def table(figures: dict[str, dict[str, float]]) -> list[str]:
    """Give the lines for people."""
    lines = [f"training service, median of {ROUNDS} rounds of {REQUESTS} requests on {CONNECTIONS} connections"]
    for name in ("treadle", "moto"):
        found = figures.get(name)
        said = (
            f"{found['per_s']:7.0f} DescribeTrainingJob/s   p50 {found['p50_ms']:.2f} ms   p99 {found['p99_ms']:.2f} ms"
            if found
            else "(not installed)"
        )
        lines.append(f"  {name:8} {said}")
    return [
        *lines,
        f"  submit → first line of the program   {figures['submit_ms']:.0f} ms",
        f"  a bare subprocess → its first line   {figures['subprocess_ms']:.0f} ms",
        f"  memory of the idle service {figures['idle_mib']:.0f} MiB",
    ]
