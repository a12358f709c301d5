"""What a program installs with pip is its job's, with or without overlays: real pip, from a directory of wheels."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end import pretended
from tests.end_to_end.world import World


def wheel(directory: Path, name: str, version: str, code: str, *scripts: str) -> None:
    """Write a wheel of one module, with console scripts that run its `main`."""
    about = f"{name}-{version}.dist-info"
    points = "".join(f"{each} = {name}:main\n" for each in scripts)
    files = {
        f"{name}.py": code,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": f"[console_scripts]\n{points}",
    }
    record = "".join(f"{each},,\n" for each in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(directory / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in (files | {f"{about}/RECORD": record}).items():
            archive.writestr(path, text)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory with two versions of a module, one that is new, and one whose script says what it sees of it."""
    directory = tmp_path_factory.mktemp("wheels")
    for version in ("1.0", "2.0"):
        said = f"version = {version!r}\ndef main():\n    print('demo', version)\n"
        wheel(directory, "demo", version, said, "demo")
    wheel(directory, "fresh", "1.0", "def main():\n    print('fresh')\n", "fresh")
    sees = "def main():\n    import demo\n    print('sees', demo.version)\n"
    wheel(directory, "seer", "1.0", sees, "seer")
    return directory


@pytest.fixture(scope="module")
def python(wheels: Path) -> Iterator[Path]:
    """Give a Python with pip, an older version of the module, and the script: an environment that stays as it is."""
    with tempfile.TemporaryDirectory(prefix="treadle-test-", dir="/var/tmp") as place:
        made = Path(place) / "with a space"
        subprocess.run([sys.executable, "-m", "venv", made], check=True)
        install: list[str | Path] = [made / "bin/python", "-m", "pip", "install", "--quiet", "--no-index"]
        subprocess.run([*install, "--find-links", wheels, "demo==1.0", "seer"], check=True)
        (made / "busy").mkdir()
        yield made / "bin/python"


def content(python: Path) -> dict[str, Any]:
    """Give everything that is in an environment, but what Python compiles."""
    root = python.parents[1]
    found = [each for each in sorted(root.rglob("*")) if "__pycache__" not in each.parts]
    return {str(each): each.read_bytes() if each.is_file() else each.is_dir() for each in found}


PROGRAM = """
import json, shutil
def pip(*words):
    done = subprocess.run([*words, "--no-index", "--find-links", ML / "input/data/wheels"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
def said(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
before = said("demo"), said("seer")
pip("pip", "install", "demo==2.0")
pip(sys.executable, "-m", "pip", "install", "fresh")
pip("python", "-m", "pip", "install", "seer")  # it is there
import demo, fresh
listed = {each["name"]: each["version"] for each in json.loads(said("pip", "list", "--format=json"))}
found = [*before, said("demo"), said("seer"), said("fresh"), demo.version, listed["demo"], listed["fresh"]]
(MODEL / "found.json").write_text(json.dumps(found))
(MODEL / "python").write_text(sys.executable)
"""


@pytest.fixture(params=["namespace", "without overlays", "plain"])
def installing(request: pytest.FixtureRequest, world: World, python: Path, namespace_problem: str) -> World:
    """A world with each sandbox; where something is mounted in the environment, no overlay can be over it."""
    world.sandbox = "plain" if request.param == "plain" else "namespace"
    if world.sandbox == "namespace" and namespace_problem:
        pytest.skip(f"namespaces do not work on this machine: {namespace_problem}")
    if request.param == "without overlays":
        if problem := pretended.missing():
            pytest.skip(problem)
        mounted = f'mount -t tmpfs tmpfs "{python.parents[1]}/busy" && exec "$@"'
        world.within = ("unshare", "--mount", "--propagation", "private", "sh", "-c", mounted, "sh")
    return world


def assert_own(world: World, running: str, python: Path) -> None:
    """Which Python ran: with an overlay over it the one beneath, else one of the job's own."""
    if world.sandbox == "plain":
        assert running.endswith("/algo-1/ml/.python/bin/python")
    else:
        assert running in {"/opt/ml/.python/bin/python"} | ({str(python)} if not world.within else set())


def test_what_is_installed_is_the_jobs(installing: World, python: Path, wheels: Path) -> None:
    """New packages, others' newer versions, and scripts, by every way to call pip; the environment stays as it is."""
    world, before = installing, content(python)
    for each in wheels.iterdir():
        world.put(f"wheels/{each.name}", each.read_bytes())
    world.image("installs", PROGRAM, PATH=f"{python.parent}:/usr/bin:/bin")
    world.serve()
    for job in ("first", "second"):
        world.create(job, "installs", InputDataConfig=[world.channel("wheels/", "wheels")])
        ended = world.ended(job, 60)
        assert (ended["TrainingJobStatus"], ended.get("FailureReason")) == ("Completed", None)
        model = world.model(job)
        assert model is not None
        assert json.loads(model["found.json"]) == [
            *("demo 1.0", "sees 1.0"),
            *("demo 2.0", "sees 2.0", "fresh", "2.0", "2.0", "1.0"),
        ]
        assert_own(world, model["python"].decode(), python)
        world.clean(job)
    assert content(python) == before


def test_an_interpreter_by_its_name(installing: World, python: Path, wheels: Path) -> None:
    """Where the command names the interpreter's file, it is the job's all the same."""
    world, before = installing, content(python)
    world.put("wheels/fresh-1.0-py3-none-any.whl", (wheels / "fresh-1.0-py3-none-any.whl").read_bytes())
    installs = """
command = [sys.executable, "-m", "pip", "install", "--no-index", "--find-links", ML / "input/data/wheels", "fresh"]
subprocess.run(command, check=True)
import fresh
(MODEL / "python").write_text(sys.executable)
"""
    directory = world.image("installs", installs)
    description = directory / "image.toml"
    description.write_text(description.read_text().replace('["python", ', f"[{json.dumps(str(python))}, "))
    world.serve()
    world.create("named", "installs", InputDataConfig=[world.channel("wheels/", "wheels")])
    ended = world.ended("named", 60)
    assert (ended["TrainingJobStatus"], ended.get("FailureReason")) == ("Completed", None)
    assert_own(world, (world.model("named") or {})["python"].decode(), python)
    assert content(python) == before
