"""How an error ends the command line: a message, a hint, an exit code. Never a traceback, unless it is asked for."""

from __future__ import annotations

import errno
import os
from typing import Any, Final

import click

from treadle.errors import TreadleError

__all__ = ["INTERRUPTED", "problem", "styled", "tell"]

INTERRUPTED: Final = 130

# What a machine refuses whoever asks: no mistake of ours, and no traceback would help.
_OF_THE_MACHINE: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)

# Older versions of click print the help themselves.
_NO_COMMAND: Final[Any] = getattr(click.exceptions, "NoArgsIsHelpError", ())


def tell(error: BaseException) -> int:
    """Say on standard error what went wrong; give the exit code."""
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return tell(error.exceptions[0])
    if isinstance(error, TreadleError):
        return _known(error)
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, _NO_COMMAND):
        click.echo(str(error), err=True)  # the help, which says all there is to say
        return 2
    if isinstance(error, click.ClickException):
        return _usage(error)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
        where = f"{error.filename}: " if error.filename else ""
        problem(f"{where}{error.strerror}.")
        return 1
    return _unexpected(error)


def styled(text: str, **style: Any) -> str:
    """Give the text in colour, unless NO_COLOR is set; where there is no terminal click takes it out again."""
    return text if os.environ.get("NO_COLOR") else click.style(text, **style)


def problem(message: str, hint: str = "") -> None:
    """Write `error: …` and the hint, in colour on a terminal."""
    click.echo(f"{styled('error:', fg='red', bold=True)} {message}", err=True)
    if hint:
        click.echo(f"{styled('hint:', fg='cyan')} {hint}", err=True)


def _known(error: TreadleError) -> int:
    if _debugging():
        _printed(error)
    diagnostics = getattr(error, "diagnostics", ())
    if diagnostics:
        # Each finding says `error:` itself, after the place, in the form that editors understand.
        for each in diagnostics:
            click.echo(each.render(), err=True)
        if error.hint:
            click.echo(f"{styled('hint:', fg='cyan')} {error.hint}", err=True)
    else:
        problem(str(error), error.hint)
    return error.exit_code


def _usage(error: click.ClickException) -> int:
    context = getattr(error, "ctx", None)
    hint = f"{context.command_path} --help shows what it takes." if context is not None else ""
    problem(error.format_message(), hint)
    return error.exit_code if error.exit_code != 1 else 2


def _unexpected(error: BaseException) -> int:
    if _debugging():
        _printed(error)
        return 1
    told = f"{type(error).__name__}: {error}".splitlines()[0]
    where = _written(error)
    problem(
        f"a mistake in Treadle itself: {told}",
        f"the details are in {where}" if where else "TREADLE_DEBUG=1 shows the details.",
    )
    return 1


def _printed(error: BaseException) -> None:
    import traceback  # with what it needs it takes milliseconds, and most commands end well

    traceback.print_exception(error)


def _written(error: BaseException) -> str:
    """Write the traceback to a file of the home, for its user alone; give its path, or "" where that cannot be done."""
    import traceback  # as above

    from treadle.home import Home  # it is needed only now

    try:
        home = Home.find()
        home.prepare()
        path = home.root / f"error-{os.getpid()}.txt"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write("".join(traceback.format_exception(error)))
    except (OSError, TreadleError):
        return ""
    return str(path)


def _debugging() -> bool:
    return os.environ.get("TREADLE_DEBUG", "") not in {"", "0"}
