"""The command `treadle`, and `python -m treadle`: an interruption is quiet from the first moment on."""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line of the process and exit.

    Until the command can answer an interruption itself, and when it is done, Ctrl-C ends the process with 130 and no
    word: Python would print where in its imports it was. Where it is ignored (`nohup`) it stays so.
    """
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, _leave)
    from treadle.cli import app  # only now: importing it is most of the time in question

    try:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = app.run(sys.argv[1:])
    except KeyboardInterrupt:  # in the gap between the two
        code = _INTERRUPTED
    if ours:
        signal.signal(signal.SIGINT, _leave)
    sys.exit(code)


_INTERRUPTED = 130


def _leave(*_: object) -> None:
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
