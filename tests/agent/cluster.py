"""Whole jobs of several hosts: the real supervisor, a real server for its agents, real agents in this process."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import tarfile
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from treadle.agent.host import Host
from treadle.agent.main import open_objects
from treadle.agent.sandbox import network
from treadle.agent.sandbox.choice import choose
from treadle.agent.work import Tools
from treadle.errors import LaunchError
from treadle.home import Home
from treadle.objects.filesystem import FilesystemObjects
from treadle.seams import Capacity, HostLaunch, Launcher, Room
from treadle.stores.memory import MemoryJobStore
from treadle.training import spec
from treadle.training.api.agents import agents_handler
from treadle.training.job import InterruptRequested, Job, created
from treadle.training.logs_store import ServiceLogs
from treadle.training.supervisor import Supervisor

BUCKET = "bucket"
MACHINE = Capacity(cpus=8, memory=8 << 30)


class TaskLauncher:
    """`seams.Launcher` whose agents are tasks."""

    def __init__(self, capacity: Capacity, private: Callable[[], str]) -> None:
        self._capacity = capacity
        self._private = private
        self._numbers = itertools.count()
        self.agents: dict[str, asyncio.Task[None]] = {}
        self.launched: list[HostLaunch] = []

    async def capacity(self) -> Capacity:
        return self._capacity

    async def reserve(self, _job: str, _attempt: int, needs: Mapping[str, Capacity]) -> Room:
        return Room(addresses=dict.fromkeys(needs, "127.0.0.1"))

    async def release(self, job: str) -> None:
        pass

    async def launch(self, host: HostLaunch) -> str:
        Path(host.directory).mkdir(parents=True)
        self.launched.append(host)
        handle = str(next(self._numbers))
        agent = Host(host, Tools(open_objects, choose, measure_every=0.05, private=self._private))
        self.agents[handle] = asyncio.create_task(agent.run())
        return handle

    async def launch_again(self, handle: str) -> str:
        raise LaunchError(f"The agent {handle} was a task, which leaves nothing for another one.")

    async def alive(self, handle: str) -> bool:
        return handle in self.agents and not self.agents[handle].done()

    async def sweep(self, directory: str, live: Callable[[], Collection[str]]) -> None:
        pass

    async def kill(self, handle: str) -> None:
        if agent := self.agents.get(handle):
            agent.cancel()
            await asyncio.wait({agent})


class Cluster:
    """A control plane with its agents."""

    def __init__(
        self,
        directory: Path,
        *,
        sandbox: str,
        capacity: Capacity = MACHINE,
        private: Callable[[], str] = network.problem,
        launcher: Launcher | None = None,
    ) -> None:
        self.directory = directory
        self.sandbox = sandbox
        self.home = Home(directory / "home")
        self.home.prepare()
        self.objects = FilesystemObjects(self.home.s3)
        self.objects.create_bucket(BUCKET)
        self.launcher = launcher or TaskLauncher(capacity, private)
        self.jobs = MemoryJobStore()
        self._url = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Cluster]:
        self.supervisor = self.another()

        async def answer(request: web.Request) -> web.Response:
            token = request.headers["Authorization"].removeprefix("Bearer ")
            handle = agents_handler(self.supervisor)  # whichever there is now
            status, body = await handle(request.path, token, await request.read())
            return web.Response(status=status, body=body)

        app = web.Application(client_max_size=16 << 20)
        app.router.add_post("/{any:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._url = site.name
        await self.supervisor.start()
        try:
            yield self
        finally:
            await self.supervisor.stop()
            if isinstance(self.launcher, TaskLauncher):
                for each in self.launcher.agents:
                    await self.launcher.kill(each)
            await runner.cleanup()

    def another(self) -> Supervisor:
        """Make a supervisor on what an earlier one has stored."""
        return Supervisor(
            jobs=self.jobs,
            objects=self.objects,
            launcher=self.launcher,
            logs=ServiceLogs(self.home.logs),
            place=spec.Place(self.home, sandbox=self.sandbox, stop_grace=5.0),
            endpoint=lambda: self._url,
            tick=0.05,
            leave=5.0,
        )

    async def submit(self, command: list[str], name: str = "j", **members: Any) -> None:
        request = {
            "TrainingJobName": name,
            "RoleArn": "arn:aws:iam::000000000000:role/training",
            "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
            "ResourceConfig": {"InstanceType": "ml.local.cpu", "InstanceCount": 2, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        } | members
        spec.check(request, spec.members(request))
        image = self.directory / "image"
        image.mkdir(exist_ok=True)
        job = created(
            name=name,
            arn=f"arn:{name}",
            request=spec.with_defaults(request),
            image={"kind": "local", "directory": str(image)},
            command=command,
            at=1.0,
        )
        assert await self.supervisor.add(job)

    async def until(self, wanted: Callable[[Job], bool], name: str = "j", within: float = 30.0) -> Job:
        """Wait until the job is as wanted."""
        job: Job | None = None
        try:
            async with asyncio.timeout(within):
                while True:
                    live = self.supervisor._live.get(name)
                    job = await self.supervisor.find(name)
                    if job is not None and wanted(job):
                        return job
                    assert live is not None, job
                    await live.change()
        except TimeoutError:
            raise AssertionError(f"{job}\n{self.log()}") from None

    async def ended(self, name: str = "j") -> Job:
        return await self.until(lambda job: job.finished, name)

    async def line(self, text: str, host: str = "algo-1", name: str = "j") -> None:
        """Wait until the log of a host has a line with the text; lines come with reports, each of which is an event."""
        async with asyncio.timeout(30):
            while text not in self.log(host, name):  # noqa: ASYNC110  (the store of logs tells nobody of a new line)
                await asyncio.sleep(0.02)

    async def interrupt(self, name: str = "j") -> None:
        await self.supervisor.edit(name, lambda _: InterruptRequested(2.0))

    def log(self, host: str = "algo-", name: str = "j") -> str:
        return "".join(each.read_text() for each in sorted((self.home.logs / name).glob(f"{host}*.log")))

    def output(self, file: str = "model.tar.gz", name: str = "j") -> dict[str, bytes]:
        data = b"".join(self.objects.read(BUCKET, f"out/{name}/output/{file}"))
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            return {
                each.name: content.read()
                for each in archive
                if each.isfile() and (content := archive.extractfile(each))
            }

    def keys(self, prefix: str) -> list[str]:
        return [each.key for each in self.objects.list(BUCKET, prefix)]
