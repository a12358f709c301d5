"""What every built-in algorithm is as a program: where its files are, how it speaks, and how it ends when it fails.

AWS has two families of algorithms, and each speaks in its own way. `OPEN` is that of the container that AWS publishes
(aws/sagemaker-xgboost-container): there a user's mistake ends the program with 1, and the job's FailureReason begins
with `AlgorithmError`. `CLOSED` is that of the others (K-Means, Linear Learner and so on): a user's mistake ends them
with 2, which makes it a `ClientError`. In both the failure file holds the text after `Customer Error: `; the open
container writes a traceback there instead, whose last line is the text.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["CLOSED", "OPEN", "AlgorithmError", "Directories", "UserError", "Voice", "log", "run"]

_LONGEST_REASON: Final = 1024
"""Characters of the failure file that become the FailureReason."""


class UserError(Exception):
    """The user's mistake: hyperparameters, channels or data. Its text is the job's FailureReason."""


class AlgorithmError(Exception):
    """The algorithm failed, and not visibly by the user's mistake."""


@dataclass(frozen=True, slots=True)
class Directories:
    """The contract's directories. `SAGEMAKER_BASE_DIR` is where they are when they cannot be at /opt/ml."""

    base: Path

    @classmethod
    def find(cls, environment: Mapping[str, str] = os.environ) -> Directories:
        """Give those of this process."""
        return cls(Path(environment.get("SAGEMAKER_BASE_DIR") or "/opt/ml"))

    @property
    def model(self) -> Path:
        """What becomes model.tar.gz."""
        return self.base / "model"

    @property
    def output(self) -> Path:
        """What becomes output.tar.gz."""
        return self.base / "output" / "data"

    def channel(self, name: str) -> Path:
        """Give the data of a channel; in Pipe mode there is a FIFO of this name and `_<epoch>` behind it."""
        return self.base / "input" / "data" / name

    def config(self, name: str) -> Any:
        """Read one of the JSON files in input/config; {} where there is none. Raises `AlgorithmError`."""
        path = self.base / "input" / "config" / f"{name}.json"
        try:
            return json.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise AlgorithmError(f"{path} is not JSON: {error}") from error

    def located(self, path: str) -> Path:
        """Give the place of a path below /opt/ml that a configuration file names."""
        return self.base / path.removeprefix("/opt/ml").lstrip("/") if path.startswith("/opt/ml") else Path(path)


@dataclass(frozen=True, slots=True)
class Voice:
    """How a family of algorithms speaks: the shape of its log lines, and its exit code for a user's mistake."""

    line: Callable[[str, str], str]
    mistake: int


def _open_line(text: str, level: str) -> str:
    return f"[{time.strftime('%Y-%m-%d:%H:%M:%S')}:{level}] {text}"


def _closed_line(text: str, level: str) -> str:
    return f"[{time.strftime('%m/%d/%Y %H:%M:%S')} {level} {threading.get_ident()}] {text}"


OPEN: Final = Voice(_open_line, 1)
CLOSED: Final = Voice(_closed_line, 2)


def log(text: str, level: str = "INFO", voice: Voice = OPEN) -> None:
    """Print a line as AWS's algorithms do."""
    print(voice.line(text, level), flush=True)


def run(program: Callable[[Directories], None], arguments: Sequence[str], voice: Voice = OPEN) -> int:
    """Run a training program to its exit code; what goes wrong is told in the log and in output/failure."""
    if list(arguments) != ["train"]:
        print(f"usage: {sys.argv[0]} train", file=sys.stderr)
        return 2
    directories = Directories.find()
    try:
        program(directories)
    except UserError as error:
        return _failed(directories, f"Customer Error: {error}", voice, voice.mistake)
    except AlgorithmError as error:
        return _failed(directories, str(error), voice)
    except MemoryError as error:
        return _failed(directories, f"There is not enough memory: {error}", voice)
    except Exception as error:  # noqa: BLE001  (the one place where everything unexpected ends; the log has all of it)
        traceback.print_exc()
        return _failed(directories, f"Unexpected error: {type(error).__name__}: {error}", voice)
    return 0


def _failed(directories: Directories, reason: str, voice: Voice, code: int = 1) -> int:
    log(reason, "ERROR", voice)
    path = directories.base / "output" / "failure"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(reason[:_LONGEST_REASON], encoding="utf-8")
    except OSError as error:
        log(f"{path} cannot be written: {error.strerror}", "ERROR", voice)
    return code
