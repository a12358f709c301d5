"""What is shipped: the public names, the layers, the entry point, the pins."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import treadle

PUBLIC = ["Document", "Result", "Run", "RunError", "Workflow", "__version__", "load", "run"]
MODULES = [
    ".".join(path.relative_to("src").with_suffix("").parts).removesuffix(".__init__")
    for path in (
        each.relative_to(Path(__file__).parents[1]) for each in Path(__file__).parents[1].glob("src/treadle/**/*.py")
    )
    if path.name not in {"__main__.py", "_version.py"}
]


def test_the_public_names() -> None:
    """The list is short, sorted, and everything in it is there."""
    assert treadle.__all__ == PUBLIC == sorted(PUBLIC)
    assert all(hasattr(treadle, name) for name in PUBLIC)


def test_import_layers(root: Path) -> None:
    """Who may import whom is as pyproject.toml says: the layers, and the modules that only decide."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("name", sorted(MODULES))
def test_what_a_module_offers_is_there(name: str) -> None:
    """Every module says what it is for; its `__all__` is sorted and true."""
    if name == "treadle.launchers.ray.clerk":
        pytest.importorskip("ray", reason="Ray is not installed here")
    module = importlib.import_module(name)
    assert module.__doc__
    offered = getattr(module, "__all__", [])
    assert [each for each in offered if not hasattr(module, each)] == []
    assert len(set(offered)) == len(offered)


def test_the_entry_point() -> None:
    """`treadle` is what `python -m treadle` is."""
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="treadle")
    assert entry.value == "treadle.__main__:main"
    assert callable(entry.load())


def test_the_pytest_plugin() -> None:
    """pytest finds `treadle.pytest_plugin`."""
    (entry,) = importlib.metadata.entry_points(group="pytest11", name="treadle")
    assert entry.value == "treadle.pytest_plugin"


def test_the_version_is_said_once() -> None:
    """The installed version is that of the package."""
    assert importlib.metadata.version("treadle") == treadle.__version__


def test_every_dependency_is_pinned(root: Path) -> None:
    """constraints.txt has names and versions only, and all that pyproject.toml asks for but Ray."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    asked = [
        *project["dependencies"],
        *(each for extra, some in project["optional-dependencies"].items() if extra != "ray" for each in some),
    ]
    names = {_name(each) for each in asked if "!= 'linux'" not in each}
    lines = (root / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+-]+", line) for line in lines)
    assert names - {_name(line) for line in lines} == set()


def _name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def test_types_are_shipped() -> None:
    """Type checkers of others may trust the annotations."""
    assert (Path(treadle.__file__).parent / "py.typed").is_file()


def test_python_m_treadle_is_treadle() -> None:
    """Who types the module gets the command."""
    done = subprocess.run(
        [sys.executable, "-m", "treadle", "--version"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == f"treadle {treadle.__version__}\n"
