"""A control plane for tests: a real server that speaks the wire of `seams` exactly, and remembers what it was told."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from treadle.launchers.local import LAUNCH_FILE
from treadle.objects.filesystem import FilesystemObjects
from treadle.seams import ClaimAnswer, Command, HostEvent, HostLaunch, HostSpec, Report, ReportAnswer

BUCKET = "bucket"
JOB = "job-1"
TOKEN = secrets.token_hex()  # the hosts of an attempt meet at a name made of it, which is the whole machine's


class Plane:
    """Keeps what one host tells, across its own restarts. Its members may be read and awaited in any order."""

    def __init__(self, directory: Path, spec: HostSpec) -> None:
        self.directory = directory
        self.spec = spec
        self.agent = ""
        self.events: list[HostEvent] = []
        self.log: list[str] = []
        self.log_when_ended = -1
        self.reports = 0
        self.commands: list[Command] = []
        self.over = False
        self.refused: Callable[[HostEvent], bool] = lambda _: False
        self.refusals = 0
        self.endpoint_file = directory / "endpoint.json"
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self._url = ""

    # the server

    async def start(self) -> None:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_post("/_treadle/agent/v1/claim", self._claim)
        app.router.add_post("/_treadle/agent/v1/report", self._report)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._url = site.name
        self.endpoint_file.write_bytes(msgspec.json.encode({"url": self._url, "pid": 1, "region": "us-east-1"}))

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _claim(self, request: web.Request) -> web.Response:
        self._authorised(request)
        claim = msgspec.json.decode(await request.read())
        if self.agent not in {"", claim["agent"]}:
            raise web.HTTPConflict
        self.agent = claim["agent"]
        await self.change(lambda: None)
        return _json(ClaimAnswer(spec=self.spec))

    async def _report(self, request: web.Request) -> web.Response:
        self._authorised(request)
        report = msgspec.json.decode(await request.read(), type=Report)
        if self.over or report.agent != self.agent:
            raise web.HTTPConflict
        async with self._changed:
            self.reports += 1
            self._take(report)
            self._changed.notify_all()
            if report.wait and not self.commands:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait_for(lambda: self.commands or self.over), report.wait)
        if self.over:
            raise web.HTTPConflict
        return _json(ReportAnswer(events_to=len(self.events), log_to=len(self.log), commands=self.commands))

    def _authorised(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise web.HTTPUnauthorized

    def _take(self, report: Report) -> None:
        if report.log is not None and report.log.first <= len(self.log):
            assert report.stream_epoch > 0
            self.log += [text for _, text in report.log.lines[len(self.log) - report.log.first :]]
        for event in report.events:
            if self.refused(event):
                self.refusals += 1
            elif event.seq == len(self.events) + 1:
                self.events.append(event)
                if event.kind == "ended":
                    self.log_when_ended = len(self.log)

    # what tests do with it

    def launch(self, **changes: Any) -> HostLaunch:
        members: dict[str, Any] = {
            "job": JOB,
            "attempt": 1,
            "host": self.spec.host,
            "token": TOKEN,
            "endpoint": self._url,
            "endpoint_file": str(self.endpoint_file),
            "directory": str(self.directory / "host"),
        }
        return HostLaunch(**members | changes)

    @property
    def ml(self) -> Path:
        """The program's `/opt/ml`, as it lies on this machine."""
        return self.directory / "host/ml"

    def launch_file(self, **changes: Any) -> Path:
        launch = self.launch(**changes)
        Path(launch.directory).mkdir(exist_ok=True)
        path = Path(launch.directory) / LAUNCH_FILE
        path.write_bytes(msgspec.json.encode(launch))
        return path

    async def change(self, how: Callable[[], object]) -> None:
        async with self._changed:
            how()
            self._changed.notify_all()

    async def command(self, command: Command) -> None:
        await self.change(lambda: self.commands.append(command))

    async def until(self, holds: Callable[[], object], within: float = 20.0) -> None:
        """Wait until something holds; it is looked at whenever there is a report."""
        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(lambda: bool(holds())), within)
            except TimeoutError:
                raise AssertionError(f"not within {within} s; events {self.kinds}, log {self.log[-10:]}") from None

    async def line(self, part: str) -> str:
        """Wait for a log line that holds the text, and give it."""
        await self.until(lambda: any(part in each for each in self.log))
        return next(each for each in self.log if part in each)

    async def event(self, kind: str) -> HostEvent:
        await self.until(lambda: kind in self.kinds)
        return next(each for each in self.events if each.kind == kind)

    @property
    def kinds(self) -> list[str]:
        return [each.kind for each in self.events]

    @property
    def program(self) -> list[str]:
        """The log lines of the program, without the agent's own."""
        return [each for each in self.log if not each.startswith("[treadle] ")]

    @property
    def objects(self) -> FilesystemObjects:
        return FilesystemObjects(self.directory / "s3")


def make_spec(directory: Path, script: str, **changes: Any) -> HostSpec:
    """Give the specification of a job that runs a shell script, with one channel `train` below s3://bucket/data."""
    request: dict[str, Any] = {
        "TrainingJobName": JOB,
        "HyperParameters": {"epochs": "2"},
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
        "InputDataConfig": [
            {
                "ChannelName": "train",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/data"}},
            }
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out/"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "Environment": {"FROM_REQUEST": "yes"},
    }
    request |= changes.pop("request", {})
    (image := directory / "image").mkdir()
    objects = FilesystemObjects(directory / "s3")
    objects.create_bucket(BUCKET)
    objects.write(BUCKET, "data/part/0.csv", iter([b"1,2\n"]))
    objects.write(BUCKET, "data/1.csv", iter([b"3,4\n"]))
    members: dict[str, Any] = {
        "job": JOB,
        "arn": f"arn:aws:sagemaker:us-east-1:000000000000:training-job/{JOB}",
        "attempt": 1,
        "host": "algo-1",
        "hosts": ["algo-1"],
        "region": "us-east-1",
        "request": request,
        "command": ["sh", "-c", script],
        "image": {"kind": "local", "directory": str(image), "environment": {"FROM_IMAGE": "yes"}},
        "environment": {"FROM_JOB": "yes"},
        "objects": {"kind": "filesystem", "root": str(directory / "s3")},
        "staging": f"s3://{BUCKET}/.staging/{JOB}/1",
        "sandbox": "plain",
        "max_runtime": 3600,
        "volume_bytes": 1 << 30,
        "stop_grace": 10.0,
    }
    return HostSpec(**members | changes)


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


async def gone(pid: int, within: float = 15.0) -> bool:
    """Wait until a process is dead (a zombie is); there is no event for somebody else's process but looking."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        await asyncio.sleep(0.01)
    return False
