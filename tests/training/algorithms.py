"""Jobs of built-in algorithms without a service: what the platform lays out, in a directory of each host's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "Ended",
    "booster",
    "channel",
    "ended_hosts",
    "failure",
    "lay",
    "run_hosts",
    "start",
    "start_hosts",
    "until_line",
]


def channel(
    content_type: str = "text/csv", mode: str = "File", distribution: str = "FullyReplicated"
) -> dict[str, str]:
    """A channel of inputdataconfig.json."""
    told = {"TrainingInputMode": mode, "S3DistributionType": distribution, "RecordWrapperType": "None"}
    return {"ContentType": content_type, **told} if content_type else told


def lay(
    ml: Path,
    hyperparameters: Mapping[str, str],
    data: Mapping[str, str | bytes | Mapping[str, str | bytes]],
    content_type: str = "text/csv",
    **config: Any,
) -> None:
    """Lay out what the platform puts before a program: of each channel one file, or several by name."""
    (ml / "input/config").mkdir(parents=True, exist_ok=True)
    for name, content in data.items():
        place = ml / "input/data" / name
        place.mkdir(parents=True, exist_ok=True)
        for file, text in ({"part-1": content} if isinstance(content, str | bytes) else content).items():
            if text:
                (place / file).write_bytes(text.encode() if isinstance(text, str) else text)
    channels = {name: channel(content_type) for name in data}
    for name, value in {"hyperparameters": hyperparameters, "inputdataconfig": channels, **config}.items():
        (ml / f"input/config/{name}.json").write_text(json.dumps(value))


@dataclass(frozen=True)
class Ended:
    """How the program of a host has ended."""

    ml: Path
    code: int
    log: str

    @property
    def failure(self) -> str:
        """Its failure file."""
        path = self.ml / "output/failure"
        return path.read_text() if path.exists() else ""


def start(algorithm: str, ml: Path, **environment: str) -> subprocess.Popen[str]:
    """Start the program of a host: of a built-in algorithm, or one whose text is given."""
    built_in = ["-m", f"treadle.training.algorithms.{algorithm}"]
    return subprocess.Popen(
        [sys.executable, "-u", *(["-c", algorithm] if "\n" in algorithm else built_in), "train"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "SAGEMAKER_BASE_DIR": str(ml), **environment},
    )


def hosts_config(names: list[str], current: str) -> dict[str, Any]:
    """Give resourceconfig.json, as far as algorithms look at it."""
    return {"current_host": current, "hosts": sorted(names), "network_interface_name": "eth0"}


def start_hosts(
    algorithm: str, directories: Mapping[str, Path], **environment: str
) -> dict[str, subprocess.Popen[str]]:
    """Start the programs of all hosts; their secret is this test's own."""
    names = list(directories)
    for name, ml in directories.items():
        (ml / "input/config/resourceconfig.json").write_text(json.dumps(hosts_config(names, name)))
    secret = {"AWS_SECRET_ACCESS_KEY": str(next(iter(directories.values())))}
    return {name: start(algorithm, ml, **secret, **environment) for name, ml in directories.items()}


def ended_hosts(directories: Mapping[str, Path], started: Mapping[str, subprocess.Popen[str]]) -> dict[str, Ended]:
    """Wait until all programs have ended."""
    try:
        said = {name: each.communicate(timeout=60)[0] for name, each in started.items()}
    finally:
        for each in started.values():
            each.kill()
    return {name: Ended(directories[name], each.returncode, said[name]) for name, each in started.items()}


def run_hosts(algorithm: str, directories: Mapping[str, Path], **environment: str) -> dict[str, Ended]:
    """Run the programs of all hosts to their ends."""
    return ended_hosts(directories, start_hosts(algorithm, directories, **environment))


def until_line(process: subprocess.Popen[str], begin: str) -> str:
    """Read the log of a program until a line begins so; give that line."""
    assert process.stdout
    while not (line := process.stdout.readline()).startswith(begin):
        assert line, "the program has ended"
    return line


def failure(ml: Path) -> str:
    """What a program that failed has written for the platform."""
    return (ml / "output/failure").read_text()


def booster(ml: Path) -> Any:
    """The model that XGBoost has left."""
    import xgboost  # only where it is installed

    found = xgboost.Booster()
    found.load_model(bytearray((ml / "model/xgboost-model").read_bytes()))
    return found
