"""Images that an engine has, pulls, or cannot get: an engine that speaks the protocol and says what it is told to."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from treadle.agent.faults import PullError
from treadle.agent.image import bring
from treadle.launchers.engine import Engine

REFERENCE = "registry.example/team/image:1"


class Scripted:
    """An engine with the answers of a pull; `None` in them is a pause that does not end."""

    def __init__(self, *answers: dict[str, Any] | None, has: bool = False) -> None:
        self.answers = answers
        self.has = has
        self.asked: dict[str, str] = {}
        self.auth: dict[str, str] = {}

    async def ping(self, _: web.Request) -> web.Response:
        return web.Response(text="OK", headers={"Server": "Docker/28.0 (linux)", "Api-Version": "1.48"})

    async def inspect(self, _: web.Request) -> web.Response:
        if self.has:
            return web.json_response({"Id": "sha256:0123456789abcdef", "Config": {}})
        return web.json_response({"message": "No such image"}, status=404)

    async def pull(self, request: web.Request) -> web.StreamResponse:
        self.asked = dict(request.query)
        if header := request.headers.get("X-Registry-Auth"):
            self.auth = json.loads(base64.urlsafe_b64decode(header))
        stream = web.StreamResponse()
        await stream.prepare(request)
        for each in self.answers:
            if each is None:
                await asyncio.Event().wait()
            await stream.write(json.dumps(each).encode() + b"\n")
        self.has = not any("error" in each for each in self.answers if each)
        return stream


Serve = Callable[[Scripted], Awaitable[Engine]]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Give a way to have an engine listen."""
    runners: list[web.AppRunner] = []

    async def start(script: Scripted) -> Engine:
        app = web.Application()
        app.router.add_get("/_ping", script.ping)
        app.router.add_get("/v1.48/images/{name:.*}/json", script.inspect)
        app.router.add_post("/v1.48/images/create", script.pull)
        runners.append(web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True))
        await runners[-1].setup()
        await web.UnixSite(runners[-1], str(tmp_path / "engine")).start()
        return await asyncio.to_thread(Engine.connect, f"unix://{tmp_path}/engine")

    yield start
    for each in runners:
        await each.cleanup()


class Told(list[str]):
    """What was said, and in `progress` how far it was."""

    def __init__(self) -> None:
        super().__init__()
        self.progress: list[str] = []


async def brought(its: Engine, home: Path, told: Told | None = None, *, cancelled: bool = False) -> str:
    """Bring the image, with the credentials of a user with this home."""
    told = Told() if told is None else told
    environment = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run")}
    event = threading.Event()
    if cancelled:
        event.set()
    return await asyncio.to_thread(
        bring, its, REFERENCE, told.append, told.progress.append, event, environment, period=0.0
    )


async def test_here_already(serve: Serve, tmp_path: Path) -> None:
    """What the engine has is not pulled; the log says which it is."""
    script = Scripted(has=True)
    told = Told()
    assert await brought(await serve(script), tmp_path, told) == "sha256:0123456789abcdef"
    assert (told.progress, script.asked) == ([], {})
    assert told[0].startswith(f"image: {REFERENCE} is here already (0123456789ab)")


async def test_progress(serve: Serve, tmp_path: Path) -> None:
    """All layers together; what says nothing about bytes says nothing."""
    layers = [
        {"status": "Pulling fs layer", "id": "a", "progressDetail": {}},
        {"status": "Downloading", "id": "a", "progressDetail": {"current": 1_000_000, "total": 4_000_000}},
        {"status": "Downloading", "id": "b", "progressDetail": {"current": 2_000_000, "total": 6_000_000}},
        {"status": "Extracting", "id": "a", "progressDetail": {"current": 1, "total": 4}},
    ]
    script = Scripted(*layers)
    told = Told()
    assert await brought(await serve(script), tmp_path, told)
    assert told.progress == ["", "1 of 4 MB", "3 of 10 MB"]
    assert told[0].startswith(f"image: {REFERENCE} pulled in ")
    assert script.asked == {"fromImage": "registry.example/team/image", "tag": "1"}


async def test_error(serve: Serve, tmp_path: Path) -> None:
    """AWS's words, then the registry's."""
    script = Scripted(
        {"status": "Pulling"}, {"error": "manifest unknown", "errorDetail": {"message": "manifest unknown"}}
    )
    with pytest.raises(PullError, match=r"^ClientError: Cannot pull algorithm container\. .* manifest unknown\.$"):
        await brought(await serve(script), tmp_path)


async def test_cancelled(serve: Serve, tmp_path: Path) -> None:
    """A pull that is not wanted any more is left at the next word of the engine."""
    assert await brought(await serve(Scripted({"status": "Pulling"}, None)), tmp_path, cancelled=True) == ""


@pytest.mark.parametrize(
    "file",
    [".docker/config.json", "run/containers/auth.json", ".config/containers/auth.json"],
    ids=["docker", "run", "config"],
)
async def test_credentials(serve: Serve, tmp_path: Path, file: str) -> None:
    """Those of docker login and of podman login go to the engine."""
    (tmp_path / file).parent.mkdir(parents=True)
    secret = base64.b64encode(b"me:secret").decode()
    (tmp_path / file).write_text(json.dumps({"auths": {"registry.example": {"auth": secret}}}))
    script = Scripted()
    await brought(await serve(script), tmp_path)
    assert (script.auth["username"], script.auth["password"]) == ("me", "secret")


async def test_credential_helper(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A helper that docker's configuration names is asked, as for ECR."""
    helper = tmp_path / "docker-credential-trial"
    answer = json.dumps({"Username": "AWS", "Secret": "token", "ServerURL": "registry.example"})
    helper.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{answer}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(json.dumps({"credHelpers": {"registry.example": "trial"}}))
    script = Scripted()
    await brought(await serve(script), tmp_path)
    assert (script.auth["Username"], script.auth["Password"]) == ("AWS", "token")  # engines do not mind the case


@pytest.mark.filterwarnings("ignore:docker-credential-no-such")
async def test_a_helper_that_fails(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the reason, and it is said."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(json.dumps({"credHelpers": {"registry.example": "no-such"}}))
    with pytest.raises(PullError, match="docker-credential-no-such"):
        await brought(await serve(Scripted()), tmp_path)
