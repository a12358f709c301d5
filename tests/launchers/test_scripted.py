"""Scripted hosts speak the wire as agents do."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from treadle.errors import LaunchError
from treadle.launchers.scripted import Refused, ScriptedHost, ScriptedLauncher
from treadle.seams import HostLaunch, Report, ReportAnswer

LAUNCH = HostLaunch(job="job", attempt=1, host="algo-1", token="t", endpoint="", directory="/nowhere")


class Recorder:
    """A control plane that keeps reports and commands a stop at the second heartbeat."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.over = False

    async def __call__(self, path: str, token: str, body: bytes) -> tuple[int, bytes]:
        assert (path, token) == ("/_treadle/agent/v1/report", "t")
        if self.over:
            return 409, b"over"
        self.reports.append(msgspec.json.decode(body, type=Report))
        beats = sum(each.wait > 0 for each in self.reports)
        return 200, msgspec.json.encode(ReportAnswer(commands=["stop"] if beats > 1 else []))


async def test_a_story() -> None:
    """Events are numbered, lines are counted, a command is waited for."""

    async def script(host: ScriptedHost) -> None:
        await host.happened("downloading")
        await host.happened("training", at=5.0)
        await host.log("a", "b")
        await host.log("c")
        assert await host.command() == ["stop"]
        await host.ended("stopped", exit_code=143)

    recorder = Recorder()
    launcher = ScriptedLauncher(script)
    launcher.connect(recorder)
    handle = await launcher.launch(LAUNCH)
    await launcher.finished()
    assert not await launcher.alive(handle)
    events = [event for each in recorder.reports for event in each.events]
    assert [(each.seq, each.kind, each.outcome) for each in events] == [
        (1, "downloading", ""),
        (2, "training", ""),
        (3, "ended", "stopped"),
    ]
    assert events[1].at == 5.0
    logs = [each.log for each in recorder.reports if each.log]
    assert [(each.first, [text for _, text in each.lines]) for each in logs] == [(0, ["a", "b"]), (2, ["c"])]


async def test_refusals() -> None:
    """A 409 ends the script; a script may look at it; other mistakes of a script come out of `finished`."""
    recorder = Recorder()
    recorder.over = True
    seen: list[int] = []

    async def script(host: ScriptedHost) -> None:
        try:
            await host.happened("training")
        except Refused as refused:
            seen.append(refused.status)
            raise

    launcher = ScriptedLauncher(script, handler=recorder)
    await launcher.launch(LAUNCH)
    await launcher.finished()
    assert seen == [409]

    async def broken(_: ScriptedHost) -> None:
        raise ZeroDivisionError

    launcher.script = broken
    await launcher.launch(LAUNCH)
    with pytest.raises(ZeroDivisionError):
        await launcher.finished()


async def test_launch_errors(tmp_path: Path) -> None:
    """Launches fail when told to, and when there is nobody to speak to."""
    launcher = ScriptedLauncher(_idle)
    with pytest.raises(LaunchError, match="not connected"):
        await launcher.launch(LAUNCH)
    launcher.connect(Recorder())
    launcher.refusal = "no room"
    with pytest.raises(LaunchError, match="no room"):
        await launcher.launch(LAUNCH)
    assert launcher.launched == []
    assert tmp_path.exists()


async def _idle(_: ScriptedHost) -> None:
    return
