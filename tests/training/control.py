"""A control plane in memory with scripted hosts: what the tests of service, supervisor and agents' calls share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from treadle.home import Home
from treadle.launchers.scripted import Script, ScriptedHost, ScriptedLauncher
from treadle.objects.memory import MemoryObjects
from treadle.seams import Capacity, JobStore, StagedOutput
from treadle.stores.memory import MemoryJobStore
from treadle.training.api.agents import agents_handler
from treadle.training.job import Job, created
from treadle.training.logs_store import ServiceLogs
from treadle.training.spec import Place, with_defaults
from treadle.training.supervisor import Supervisor

REQUEST: dict[str, Any] = {
    "TrainingJobName": "j",
    "RoleArn": "arn:aws:iam::000000000000:role/training",
    "AlgorithmSpecification": {"TrainingImage": "demo", "TrainingInputMode": "File"},
    "InputDataConfig": [
        {
            "ChannelName": "train",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/train"}},
        }
    ],
    "OutputDataConfig": {"S3OutputPath": "s3://data/out/"},
    "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}


def new_job(name: str = "j", **changes: Any) -> Job:
    request = with_defaults({**REQUEST, "TrainingJobName": name, **changes})
    return created(
        name=name,
        arn=f"arn:{name}",
        request=request,
        image={"kind": "builtin"},
        command=["train"],
        at=1_000_000.0,
        notes=("a note",),
    )


async def good(host: ScriptedHost) -> None:
    """Do everything well."""
    spec = await host.claim()
    await host.happened("downloading")
    await host.happened("training")
    await host.log("epoch 1", "epoch 2")
    await host.happened("uploading")
    await host.ended("completed", exit_code=0, outputs=[staged(spec.staging)], trained_for=1.0)


def staged(staging: str) -> StagedOutput:
    bucket, _, prefix = staging.removeprefix("s3://").partition("/")
    return StagedOutput(bucket=bucket, staged=f"{prefix}algo-1/model.tar.gz", target="out/j/output/model.tar.gz")


async def obedient(host: ScriptedHost) -> None:
    """Train until there is a command."""
    await host.claim()
    await host.happened("downloading")
    await host.happened("training")
    await host.command()
    await host.happened("uploading")
    await host.ended("stopped")


@dataclass
class Control:
    """The parts of a control plane, which can be started anew on the same store, as after a crash."""

    directory: Path
    script: Script = good
    capacity: Capacity = field(default_factory=lambda: Capacity(cpus=8, memory=64 << 30))
    jobs: JobStore = field(default_factory=MemoryJobStore)
    objects: MemoryObjects = field(default_factory=MemoryObjects)

    def __post_init__(self) -> None:
        self.home = Home(self.directory / "home")
        self.home.prepare()
        self.launcher = ScriptedLauncher(self._play, capacity=self.capacity)
        self.logs = ServiceLogs(self.home.logs)
        self.objects.create_bucket("data")
        self.objects.write("data", "train/a.csv", iter([b"1,2\n"]))

    async def _play(self, host: ScriptedHost) -> None:
        # Looked up when the host begins: a test may change it between jobs.
        await self.script(host)

    async def _pass_on(self, path: str, token: str, body: bytes) -> tuple[int, bytes]:
        # To whichever supervisor there is now.
        return await self.handler(path, token, body)

    @contextlib.asynccontextmanager
    async def supervised(self, **settings: Any) -> AsyncIterator[Supervisor]:
        supervisor = Supervisor(
            jobs=self.jobs,
            objects=self.objects,
            launcher=self.launcher,
            logs=ServiceLogs(self.home.logs),
            place=Place(self.home),
            endpoint=lambda: "http://127.0.0.1:1",
            **{"tick": 0.02, "leave": 0.05} | settings,
        )
        self.supervisor = supervisor
        self.handler = agents_handler(supervisor)
        self.launcher.connect(self._pass_on)
        await supervisor.start()
        try:
            yield supervisor
        finally:
            await supervisor.stop()

    async def until(self, name: str, wanted: Callable[[Job], bool]) -> Job:
        """Wait until the job is as wanted."""
        async with asyncio.timeout(5):
            while True:
                job = await self.supervisor.find(name)
                if job is not None and wanted(job):
                    return job
                live = self.supervisor._live.get(name)
                if live is not None and live.job is job:
                    await live.change()
                else:
                    await asyncio.sleep(0)

    async def ended(self, name: str = "j") -> Job:
        return await self.until(name, lambda job: job.finished)

    async def reached(self, secondary: str, name: str = "j") -> Job:
        return await self.until(name, lambda job: job.secondary_status == secondary)


def path_of(job: Job) -> list[str]:
    return [each.status for each in job.transitions]
