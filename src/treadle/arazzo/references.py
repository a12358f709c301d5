"""Secrets given by reference: `env:NAME` and `file:PATH` in place of the value of a secret input.

The reference is what is stored, so a database of runs holds no secret; the value is looked up whenever it is needed,
so one that is renewed in the middle of a long run is used at once. Only what the *user* wrote is ever looked up: a
document that has `env:AWS_SECRET_ACCESS_KEY` as a default or a parameter gets that text and nothing else, because
documents are often written by others. Only inputs that the schema calls secret (`format: password`, `writeOnly`) can
be given so: an ordinary input keeps its text.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from treadle.arazzo.inputs import Inputs
from treadle.errors import Diagnostic, UsageError
from treadle.seams import Json

__all__ = ["References", "prepared", "referring"]

_ENVIRONMENT: Final = "env:"
_FILE: Final = "file:"
_LARGEST: Final = 64 * 1024


class References:
    """Looks references up. `texts` are all secrets that it has given out, so that they can be masked."""

    def __init__(self, references: Iterable[str]) -> None:
        self._read: dict[str, tuple[int, str]] = {}
        self.texts: set[str] = set()
        for each in references:
            self.reveal(each)

    def reveal(self, reference: str) -> str:
        """Give the secret. Raises `UsageError` when there is none, the first time only: then the last one holds."""
        text = self._file(reference) if reference.startswith(_FILE) else self._variable(reference)
        self.texts.add(text)
        return text

    def _variable(self, reference: str) -> str:
        name = reference.removeprefix(_ENVIRONMENT)
        value = os.environ.get(name)
        if value is None:
            raise UsageError(f"the environment variable {name} is not set", hint="an input refers to it as env:" + name)
        return value

    def _file(self, reference: str) -> str:
        path = Path(reference.removeprefix(_FILE))
        known = self._read.get(reference)
        try:
            changed = path.stat().st_mtime_ns
            if known is None or known[0] != changed:
                with path.open(encoding="utf-8") as file:
                    known = self._read[reference] = (changed, file.read(_LARGEST).rstrip("\r\n"))
        except (OSError, ValueError) as error:
            if known is None:
                why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                raise UsageError(f"the secret in {path} cannot be read: {why.lower()}") from None
        return known[1]


def referring(inputs: Inputs, given: Mapping[str, Json]) -> tuple[dict[str, Json], tuple[str, ...]]:
    """Give what a user gave, with the paths of its references absolute, and those references."""
    values, references = dict(given), []
    for name in inputs.secrets:
        value = values.get(name)
        if isinstance(value, str) and value.startswith((_ENVIRONMENT, _FILE)):
            if value.startswith(_FILE):
                # The run may be taken up again from another directory.
                value = _FILE + str(Path(value.removeprefix(_FILE)).expanduser().absolute())
            values[name] = value
            references.append(value)
    return values, tuple(references)


def prepared(
    inputs: Inputs, given: Mapping[str, Json], references: Iterable[str]
) -> tuple[dict[str, Json], list[Diagnostic]]:
    """Give the inputs with their defaults, and what is wrong with them; a reference is judged by what it stands for.

    Raises `UsageError` for a reference to nothing.
    """
    known = set(references)
    kept = {name: value for name, value in given.items() if isinstance(value, str) and value in known}
    reveal = References(known).reveal
    values, found = inputs.prepare({**given, **{name: reveal(value) for name, value in kept.items()}})
    return {**values, **kept}, found
