"""A whole service with scripted hosts, in a thread of its own: what boto3 speaks to in the tests of the API.

What a job does is the first word of its name: `quick-…` trains and completes, `long-…` trains until it is told to end,
`spot-…` is interrupted once before it completes, `broken-…` meets a fault of the platform in its first attempt, `failing-…` in each, `bad-…` fails by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from treadle.aws.sigv4 import Credentials
from treadle.cli.client import Client
from treadle.home import Home
from treadle.launchers.scripted import ScriptedHost, ScriptedLauncher
from treadle.objects.filesystem import FilesystemObjects
from treadle.seams import Capacity, HostSpec
from treadle.server import Running, Settings, running
from treadle.training.api.agents import agents_handler
from treadle.training.images import ImageRegistry
from treadle.training.job import INTERNAL_ERROR

# One for all, because it reads every service model once.
SESSION = boto3.session.Session()
MEASURED = {"loss": [0.5, 1_700_000_000.0]}
METRICS = {"loss": [1.19876, 1_700_000_000.7], "train:acc": [0.5, 1_700_000_001.2]}


@dataclass
class World:
    """The service, and what its hosts were told."""

    home: Home
    service: Running
    loop: asyncio.AbstractEventLoop
    specs: dict[str, list[HostSpec]] = field(default_factory=dict)
    commands: dict[str, list[str]] = field(default_factory=dict)

    def client(self, service: str = "sagemaker", **credentials: Any) -> Any:
        key, secret = self.home.credentials()
        keys = {"aws_access_key_id": key, "aws_secret_access_key": secret, "region_name": "us-east-1"} | credentials
        # Not the client, the service is to say what is wrong.
        config = Config(parameter_validation=False, retries={"max_attempts": 0}, s3={"addressing_style": "path"})
        return SESSION.client(service, endpoint_url=self.service.endpoint.url, config=config, **keys)

    def own(self) -> Callable[..., Any]:
        """Give what calls Treadle's own operations: name, input, `dry` → output."""
        key, secret = self.home.credentials()
        client = Client(self.service.endpoint.url, "us-east-1", Credentials(key, secret))

        def call(operation: str, values: dict[str, Any], *, dry: bool = False) -> Any:
            return client.call(f"Treadle.{operation}", values | ({"DryRun": True} if dry else {}))

        return call

    def create(self, client: Any, name: str, **changes: Any) -> str:
        answer = client.create_training_job(**request(name, **changes))
        return str(answer["TrainingJobArn"])

    def until(self, client: Any, name: str, wanted: Callable[[Any], bool]) -> Any:
        deadline = time.monotonic() + 10
        while not wanted(job := client.describe_training_job(TrainingJobName=name)):
            assert time.monotonic() < deadline, job
            time.sleep(0.005)
        return job

    def ended(self, client: Any, name: str) -> Any:
        return self.until(client, name, lambda job: job["TrainingJobStatus"] in {"Completed", "Failed", "Stopped"})

    def reached(self, client: Any, name: str, secondary: str) -> Any:
        return self.until(client, name, lambda job: job["SecondaryStatus"] == secondary)

    async def play(self, host: ScriptedHost) -> None:
        name = host.launch.job
        spec = await host.claim()
        self.specs.setdefault(name, []).append(spec)
        await host.happened("downloading")
        await host.happened("training")
        await host.log("one line")
        how = name.partition("-")[0]
        if how == "measured":
            await host.log("loss=0.5")
        if how == "spot" and host.launch.attempt == 1:
            self.commands[name] = list(await host.command())
            await host.ended("interrupted", exit_code=143)
        elif how == "long":
            commands = await host.command()
            self.commands.setdefault(name, []).extend(commands)
            await host.ended("stopped", exit_code=143)
        elif how == "failing" or (how == "broken" and host.launch.attempt == 1):
            await host.ended("failed", failure_reason=f"{INTERNAL_ERROR} The disk is gone.")
        elif how == "bad":
            await host.ended("failed", exit_code=1, failure_reason="AlgorithmError: , exit code: 1")
        else:
            await host.happened("uploading")
            await host.ended("completed", exit_code=0, metrics=MEASURED if how == "measured" else METRICS)


def request(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "RoleArn": "arn:aws:iam::000000000000:role/training",
        "AlgorithmSpecification": {"TrainingImage": "demo", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://data/out/"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    } | changes


def prepared(directory: Path) -> Home:
    """Make a home with the image `demo` and the bucket `data`."""
    home = Home(directory / "home")
    home.prepare()
    image = directory / "image"
    image.mkdir()
    (image / "image.toml").write_text('name = "demo"\ncommand = ["true"]\n')
    ImageRegistry(home.images_file).add(image)
    objects = FilesystemObjects(home.s3)
    objects.create_bucket("data")
    objects.write("data", "train/a.csv", iter([b"1,2\n"]))
    return home


@contextlib.contextmanager
def world(
    directory: Path, home: Home | None = None, *, machines: tuple[Capacity, ...] | None = None, **settings: Any
) -> Iterator[World]:
    """Run a service until the context ends; with `machines` its hosts are on a cluster."""
    home = home or prepared(directory)
    begun: list[World] = []
    trouble: list[BaseException] = []
    ready = threading.Event()
    end = asyncio.Event()

    async def main() -> None:
        async def play(host: ScriptedHost) -> None:
            await begun[0].play(host)

        launcher = ScriptedLauncher(play, capacity=Capacity(64, 512 << 30, machines=machines))
        async with running(home, Settings(**{"tick": 0.05} | settings), launcher=launcher) as service:
            begun.append(World(home, service, asyncio.get_running_loop()))
            launcher.connect(agents_handler(service.supervisor))
            ready.set()
            await end.wait()
        await launcher.close()

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001  (told below)
            trouble.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(10)
    try:
        if begun:
            yield begun[0]
    finally:
        if begun:
            begun[0].loop.call_soon_threadsafe(end.set)
        thread.join(20)
    if trouble:
        raise trouble[0]
