"""Worlds with images for GPUs, on machines that have any; elsewhere the tests say that there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import boxed, namespace_problem, world
from tests.end_to_end.world import World
from tests.gpu import machine

__all__ = ["boxed", "namespace_problem", "world"]

Imaged = Callable[..., None]


@pytest.fixture(scope="session", autouse=True)
def gpus() -> dict[int, str]:
    """Give the UUIDs of the machine's GPUs by number."""
    found = machine.listed()
    if not found:
        pytest.skip("this machine has no NVIDIA GPU that nvidia-smi lists")
    return found


@pytest.fixture(scope="session")
def torch_python() -> str:
    """Give a Python that has PyTorch for CUDA: $TREADLE_TEST_TORCH, the one of these tests, or the first of the PATH."""
    named = os.environ.get("TREADLE_TEST_TORCH")
    for python in [named] if named else [sys.executable, shutil.which("python3")]:
        asked = [python or "python3", "-c", "import torch; assert torch.cuda.is_available()"]
        if subprocess.run(asked, capture_output=True, check=False).returncode == 0:
            return str(python)
    pytest.skip("no Python here has PyTorch for CUDA; TREADLE_TEST_TORCH=/path/to/python names one")


@pytest.fixture
def imaged(boxed: World) -> Imaged:
    """Give a way to register an image whose program has `driver`, or the Python of PyTorch."""

    def register(name: str, program: str, python: str = "") -> None:
        directory = boxed.image(name, program, **({"PATH": str(Path(python).parent)} if python else {}))
        shutil.copy(Path(__file__).with_name("driver.py"), directory)

    return register
