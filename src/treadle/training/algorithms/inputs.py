"""The channels of a job as an algorithm sees them: their content types, and the files or FIFOs that hold the data.

In File mode (and FastFile, which looks the same) an epoch of a channel is all its files; in Pipe mode it is one FIFO,
`<channel>_<epoch>`, and each epoch has the next (§1.6). Readers take paths and do not see the difference.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from treadle.training.algorithms.program import AlgorithmError, Directories, UserError, log

__all__ = ["Input", "content_type", "data_files"]

_PATIENCE: Final = 60.0
_PAUSE: Final = 0.01


def content_type(text: str) -> tuple[str, dict[str, str]]:
    """Take a ContentType apart, in lower case.

    >>> content_type("text/csv; label_size=0;charset=utf8")
    ('text/csv', {'label_size': '0', 'charset': 'utf8'})
    """
    kind, *rest = (part.strip() for part in text.lower().split(";"))
    pairs = (part.partition("=") for part in rest if part)
    return kind, {name.strip(): value.strip().strip('"') for name, _, value in pairs}


@dataclass(slots=True)
class Input:
    """A channel of this host: the format of its data in the algorithm's words, the parameters of its content type."""

    name: str
    path: Path
    format: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    piped: bool = False
    depth: int | None = None
    """How many directories deep files are looked for; None for all."""
    _epoch: int = 0

    @classmethod
    def of(
        cls, name: str, channel: Mapping[str, str], directories: Directories, kind: str, depth: int | None = None
    ) -> Input:
        """Give the channel as inputdataconfig.json has it, with its data in the format `kind`."""
        return cls(
            name,
            directories.channel(name),
            kind,
            content_type(channel.get("ContentType", ""))[1],
            piped=channel.get("TrainingInputMode") == "Pipe",
            depth=depth,
        )

    def epoch(self) -> list[Path]:
        """Give what holds the data of the next epoch; in File mode it is the same each time. Raises `UserError`."""
        if not self.piped:
            return data_files(self.path, self.depth)
        fifo = self.path.with_name(f"{self.path.name}_{self._epoch}")
        deadline = time.monotonic() + _PATIENCE
        while not fifo.exists():
            if time.monotonic() > deadline:
                raise AlgorithmError(f"The FIFO {fifo} did not appear within {_PATIENCE:g} s")
            time.sleep(_PAUSE)
        self._epoch += 1
        return [fifo]


def data_files(directory: Path, depth: int | None = None) -> list[Path]:
    """Give the data files of a directory, sorted.

    As in AWS's XGBoost container, a file whose name starts with "." is an error, and one that starts with "_" is none.
    """
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    if any(path.name.startswith(".") for path in files):
        raise UserError("Hidden file found in the data path! Remove that before training.")
    near = [path for path in files if depth is None or len(path.relative_to(directory).parts) <= depth]
    if len(near) < len(files):
        log(
            f"The depth of folder {directory} exceed the limit {depth}. Files in deeper sub dirs won't be loaded. "
            "Please adjust the folder structure accordingly.",
            "WARNING",
        )
    return [path for path in near if not path.name.startswith("_")]
