"""Standard output and error as commands use them: what happens when nobody reads them any longer.

A log that nobody follows, a terminal that was closed, a full disk behind `2>log`: none of them may end a run, whose
work goes on elsewhere. So remarks (standard error) are lost silently where they cannot be written. A result (standard
output) is not: the command that prints it ends, or, where it is a run, goes on and says at its end that it was lost.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO, cast

__all__ = ["Listener", "listened", "lost", "standard_streams"]


class Listener:
    """A text stream whose reader may go away: from then on nothing is written, and nothing fails; `gone` says why."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.gone: OSError | None = None

    def write(self, text: str) -> int:
        """Write, or do nothing."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts, or do nothing."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Flush, or do nothing."""
        self._try(self._stream.flush)

    def _try(self, doing: Callable[[], object]) -> None:
        if self.gone is None:
            try:
                doing()
            except OSError as error:
                self.gone = error

    def __getattr__(self, name: str) -> Any:
        """Be the stream in everything else: its encoding, its file descriptor, whether it is a terminal."""
        return getattr(self._stream, name)


def listened(stream: TextIO) -> TextIO:
    """Give the stream as one whose reader may go away."""
    return cast("TextIO", Listener(stream))


def lost(stream: TextIO) -> OSError | None:
    """Give why a stream of `listened` took no more; None where it did, and where only its reader has left."""
    gone = stream.gone if isinstance(stream, Listener) else None
    return None if isinstance(gone, BrokenPipeError) else gone


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Make the standard streams fit for a command, and leave nothing in them that could fail at the very end."""
    with contextlib.ExitStack() as stack:
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:  # closed by the caller (`>&-`)
                setattr(sys, name, stack.enter_context(open(os.devnull, "w", encoding="utf-8")))  # noqa: PTH123
                stack.callback(setattr, sys, name, None)
        for stream in (sys.stdout, sys.stderr):
            # A log file in a C locale must not end a run because a message holds an arrow.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        stack.callback(setattr, sys, "stderr", sys.stderr)
        sys.stderr = listened(sys.stderr)
        try:
            yield
        finally:
            _emptied(sys.stdout)


def _emptied(stream: TextIO) -> None:
    """Write out what a stream still holds; what cannot be written must not fail again when the interpreter ends."""
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
