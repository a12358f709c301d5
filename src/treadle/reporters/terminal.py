"""A run on a terminal: a history that only grows when something changed, and below it one line that is always true.

The line below shows step, status, visits, time, and what the run waits for; it is drawn four times a second by
rich's own thread, so `report` never waits for the terminal.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TextIO

from treadle.arazzo.events import Event, RunFinished
from treadle.reporters.ending import ending
from treadle.reporters.story import Line, Now, Story, Tone
from treadle.reporters.text import duration

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live
    from rich.text import Text

__all__ = ["TerminalReporter", "live_text"]

_STYLES: Final[dict[Tone, str]] = {"plain": "", "good": "green", "bad": "bold red", "warn": "yellow", "faint": "dim"}
_SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAMES_PER_SECOND: Final = 8


class TerminalReporter:
    """Shows a run on the terminal behind `err`; the outputs go to `out`. `clock` gives Unix seconds."""

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        *,
        explain: bool = False,
        width: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # rich costs more than the rest of the command line together: only a terminal pays for it.
        from rich.console import Console

        self._out = out
        self._clock = clock
        self._story = Story(explain=explain)
        self._console = Console(file=err, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)
        self._live: Live | None = None

    def report(self, event: Event) -> None:
        """Show what is news, and what goes on now."""
        for line in self._story.tell(event):
            self._console.print(_history(line))
        if isinstance(event, RunFinished):
            self.close()
            self._end(event)
        elif self._live is None and self._console.is_terminal:
            self._live = self._start()

    def _start(self) -> Live:
        from rich.live import Live

        # Above all: leave stdout alone, it may be a pipe that is being read.
        live = Live(
            _Below(self),
            console=self._console,
            transient=True,
            refresh_per_second=_FRAMES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        live.start()
        return live

    def below(self) -> Text:
        """Give the line below the history, as it is now."""
        return live_text(self._story.now, self._clock(), self._story.started_at)

    def _end(self, event: RunFinished) -> None:
        from rich.text import Text

        told = ending(event, event.at - self._story.started_at)
        self._console.print(Text(told.head, style=_STYLES[told.tone]))
        for note in told.notes:
            self._console.print(Text(note))
        if told.outputs:
            self._out.write("\n".join(told.outputs) + "\n")
            self._out.flush()

    def say(self, text: str) -> None:
        """Show a line that is no event."""
        self._console.print(text, style="yellow")

    def close(self) -> None:
        """Take the live line away and give the terminal back as it was."""
        if self._live is not None:
            self._live.stop()
            self._live = None


class _Below:
    """What rich draws again and again: asks for the line each time."""

    def __init__(self, reporter: TerminalReporter) -> None:
        self._reporter = reporter

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._reporter.below()


def _history(line: Line) -> Text:
    from rich.text import Text

    text = Text(f"{duration(line.after):>12}  ", style="dim", end="")
    if line.step:
        text.append(f"{line.step}  ", style="not dim bold")
    text.append(line.text, style=f"not dim {_STYLES[line.tone]}" if line.tone != "faint" else "dim")
    text.end = "\n"
    return text


def live_text(now: Now, at: float, started_at: float) -> Text:
    """Draw the line: a spinner that turns with the time `at`, and whatever matters now, most important first."""
    from rich.text import Text

    spinner = _SPINNER[int(at * _FRAMES_PER_SECOND) % len(_SPINNER)]
    text = Text(f"{spinner} ", style="cyan", no_wrap=True, overflow="ellipsis")
    text.append(now.step or "starting", style="bold")
    text.append(f"  {now.status}" if now.status else "", style="green")
    if now.trouble:
        text.append(f"  {now.trouble}", style="yellow")
    counted = [f"visit {now.visit}"] if now.visit > 1 else []
    counted += [f"attempt {now.attempt}"] if now.attempt > 1 else []
    parts = [*counted, duration(max(0.0, at - (started_at or at))), _waits(now, at)]
    text.append("  " + "  ".join(part for part in parts if part), style="dim")
    return text


def _waits(now: Now, at: float) -> str:
    if not now.why:
        return "asking"
    left = duration(max(0.0, now.until - at))
    again = "looks again" if now.why in {"poll", "Retry-After"} else "tries again"
    return f"{again} in {left}" + (" (the server's wish)" if now.why == "Retry-After" else "")
