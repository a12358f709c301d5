"""What a person sees on a terminal: history above, one true line below."""

from __future__ import annotations

import io
import re
from typing import Any

import msgspec
import pytest

from treadle.arazzo.events import RunFinished, decode
from treadle.reporters.jsonlines import JsonLinesReporter
from treadle.reporters.story import Now
from treadle.reporters.terminal import TerminalReporter, live_text

NOON = 1_750_000_000.0

BELOW = [
    pytest.param(Now(step="createTrainingJob", since=NOON), "createTrainingJob  2.0 s  asking", id="asking"),
    pytest.param(
        Now(step="pollTrainingJob", visit=12, since=NOON, status="InProgress, Training", until=NOON + 5.1, why="poll"),
        "pollTrainingJob  InProgress, Training  visit 12  2.0 s  looks again in 3.1 s",
        id="polling",
    ),
    pytest.param(
        Now(step="call", attempt=3, since=NOON, until=NOON + 32, why="Retry-After"),
        "call  attempt 3  2.0 s  looks again in 30 s (the server's wish)",
        id="the server's wish",
    ),
    pytest.param(
        Now(step="poll", since=NOON, trouble="h refuses", until=NOON + 3, why="trouble"),
        "poll  h refuses  2.0 s  tries again in 1.0 s",
        id="trouble",
    ),
]


@pytest.mark.parametrize(("now", "want"), BELOW)
def test_the_line_below(now: Now, want: str) -> None:
    """Step, status, visits, time, and what it waits for and until when."""
    assert live_text(now, NOON + 2, NOON).plain[2:] == want


@pytest.mark.parametrize("width", [80, 120])
def test_the_main_job_on_a_terminal(script: Any, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The history has a line per change, fits the width, and nothing of the live line is left at the end."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out, err = io.StringIO(), Terminal()
    reporter = TerminalReporter(out, err, width=width, clock=lambda: script.at)
    for event in script.whole():
        reporter.report(event)
    assert "\x1b[32m" in err.getvalue()
    seen = screen(err.getvalue())
    assert all(len(line) <= width for line in seen)
    text = " ".join(" ".join(seen).split())
    assert "pollTrainingJob secondaryStatus: Training 15 s" in text
    assert text.endswith("20 s pollTrainingJob end (trainingTerminal) succeeded in 20 s")
    assert text.count("secondaryStatus: Training") == 1
    assert out.getvalue().splitlines()[1] == "trainingJobStatus: Completed"


def test_no_colour_when_it_is_not_wanted(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR is obeyed."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    err = Terminal()
    reporter = TerminalReporter(io.StringIO(), err, width=80)
    for event in script.whole():
        reporter.report(event)
    assert not re.search(r"\x1b\[3\d", err.getvalue())


def test_no_terminal_no_live_line(script: Any) -> None:
    """Without a terminal behind it the reporter writes plain text."""
    err = io.StringIO()
    reporter = TerminalReporter(io.StringIO(), err, width=80)
    for event in script.whole():
        reporter.report(event)
    assert "\x1b" not in err.getvalue()


def test_json_lines_are_the_events_and_the_last_is_the_result(script: Any) -> None:
    """Every line decodes to its event again."""
    out = io.StringIO()
    happened = list(script.whole())
    reporter = JsonLinesReporter(out, io.StringIO())
    for event in happened:
        reporter.report(event)
    lines = out.getvalue().splitlines()
    assert [decode(line.encode()) for line in lines] == happened
    assert isinstance(decode(lines[-1].encode()), RunFinished)
    assert msgspec.json.decode(lines[-1])["event"] == "RunFinished"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def screen(written: str) -> list[str]:
    """Play what was written to a terminal, as far as rich's live view needs it; give the lines that remain."""
    lines, row = [""], 0
    for part in re.findall(r"\x1b\[[?\d;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written):
        if part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\x1b[2K":
            lines[row] = ""
        elif match := re.fullmatch(r"\x1b\[(\d+)A", part):
            row -= int(match[1])
        elif not part.startswith(("\x1b", "\r")):
            lines[row] += part
    return [line.rstrip() for line in lines if line.strip()]
