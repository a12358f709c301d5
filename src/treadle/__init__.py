"""Treadle runs Arazzo workflows against real APIs, durably, and answers like the SageMaker training API.

In a program: `treadle.load` reads a document, `treadle.run` runs one of its workflows. Errors are in `treadle.errors`.
"""

from __future__ import annotations

from treadle._version import __version__

TYPE_CHECKING = False  # type checkers know this name; importing it would be half the way to the command line
if TYPE_CHECKING:
    from treadle.library import Document, Result, Run, RunError, Workflow, load, run

__all__ = ["Document", "Result", "Run", "RunError", "Workflow", "__version__", "load", "run"]

if not TYPE_CHECKING:  # type checkers would believe that every name is there

    def __getattr__(name: str) -> object:
        """Give a public name. The engine behind them is imported for those who use it, not for `treadle --help`."""
        if name not in __all__:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        from treadle import library

        return getattr(library, name)


def __dir__() -> list[str]:
    return __all__
