"""Which Python a program finds, and the environment over it that is its job's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from treadle.agent import packages
from treadle.agent.packages import Interpreter
from treadle.seams import SandboxCommand

OURS = str(Path(sys.executable).parent)
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
SCRIPT = ("-m", "treadle.training.algorithms.script")


def command(
    *argv: str, path: str = f"{OURS}:/usr/bin:/bin", hidden: Sequence[Path] = (), readable: Sequence[Path] = ()
) -> SandboxCommand:
    return SandboxCommand(
        argv=argv,
        environment={"PATH": path},
        directory="/",
        ml=Path("/ml"),
        host="algo-1",
        hosts={},
        hidden=tuple(hidden),
        readable=(Path(OURS).parent, *readable),  # as the agent has it, wherever Treadle is installed: below /tmp, too
    )


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the directory of another Python's programs, an environment without pip."""
    directory = tmp_path_factory.mktemp("other")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
    return directory / "bin"


def found(sent: SandboxCommand, *, covering: bool = False) -> str:
    python = packages.program_of(sent, covering=covering)
    return "" if python is None else python.executable


def test_the_python_that_a_program_finds(other: Path) -> None:
    """It is named, or the first of the PATH; Treadle's own programs have none but what they run."""
    first = f"{other}:{OURS}:/bin"
    assert found(command("python", "train.py")) == f"{OURS}/python"
    assert found(command("./train", path=first)) == f"{other}/python"
    assert found(command("/bin/sh", "train.sh", path=f"/nowhere:{first}")) == f"{other}/python"
    assert found(command(f"{other}/python3", "train.py")) == f"{other}/python3"
    assert found(command(sys.executable, "-m", "treadle.training.algorithms.kmeans", "train")) == ""
    assert found(command(sys.executable, *SCRIPT, "train", path=first)) == f"{other}/python"
    assert found(command(sys.executable, *SCRIPT, f"{other}/python3", "train")) == f"{other}/python3"
    assert found(command("./train", path="/nowhere")) == ""
    python = packages.program_of(command("./train", path=first), covering=False)
    assert python is not None
    base = Path(sys.executable).resolve()
    assert python == Interpreter(
        executable=f"{other}/python",
        prefix=other.parent,
        base=base.with_name(f"python{VERSION}"),
        version=VERSION,
        scripts=other,
        sites=(other.parent / f"lib/python{VERSION}/site-packages",),
        system=False,
    )
    python = packages.known(base)
    assert python is not None
    assert (python.prefix, python.base, python.sites, python.system) == (base.parents[1], base, (), True)


def test_what_a_program_does_not_see_is_not_what_it_finds(other: Path) -> None:
    """Its /tmp is its own, and some directories are hidden from it; that holds in `namespace` alone."""
    hidden = other.parents[1]
    sent = command("python", "train.py", path=f"{other}:{OURS}", hidden=[hidden])
    assert found(sent) == f"{other}/python"
    assert found(sent, covering=True) == f"{OURS}/python"
    sent = command("python", "train.py", path=f"{other}:{OURS}", hidden=[hidden], readable=[other.parent])
    assert found(sent, covering=True) == f"{other}/python"
    in_tmp = command("python", "train.py", path=f"/tmp/bin:{OURS}")
    assert found(in_tmp, covering=True) == f"{OURS}/python"


def test_a_python_that_is_a_script(tmp_path: Path) -> None:
    """It is not run to find out what it is: whoever sends a request may have chosen the PATH."""
    shim = tmp_path / "python"
    shim.write_text(f"#!/bin/sh\ntouch {tmp_path}/run\n")
    shim.chmod(0o755)
    sent = command("python", "train.py", path=str(tmp_path))
    assert found(sent) == ""
    assert packages.with_own(sent, tmp_path / "changes", [tmp_path], covering=True).unlayered is None
    assert not (tmp_path / "run").exists()
    shim.unlink()
    os.mkfifo(shim, 0o755)
    assert found(sent) == ""


def test_layers_are_over_what_is_not_the_systems(tmp_path: Path, other: Path) -> None:
    """The image and the Python, the outermost of them; the system's Python has another beside it."""
    image, changes = tmp_path / "image", tmp_path / "changes"
    sent = packages.with_own(
        command("python", "train.py", path=f"{other}:/bin", readable=[other.parent]), changes, [image], covering=True
    )
    assert {each for each, _ in sent.layers} == {image, other.parent}
    assert len({above for _, above in sent.layers}) == 2
    assert sent.unlayered is not None
    assert (sent.unlayered.layer, sent.argv) == (other.parent, ("python", "train.py"))
    assert sent.unlayered.environment["PATH"] == f"/opt/ml/.python/bin:{other}:/bin"
    within = packages.with_own(
        command(f"{other}/python", "train.py", readable=[other.parent]), changes, [other.parents[1]], covering=True
    )
    assert [each for each, _ in within.layers] == [other.parents[1]]
    assert within.unlayered is not None
    assert (within.unlayered.layer, within.unlayered.argv[0]) == (other.parents[1], "/opt/ml/.python/bin/python")
    plain = packages.with_own(command("python", path=f"{other}:/bin"), changes, [image], covering=False)
    assert plain.layers == ()
    assert plain.unlayered is not None
    assert (plain.unlayered.layer, plain.unlayered.environment["VIRTUAL_ENV"]) == (None, "/ml/.python")


def script(path: Path, first: str) -> None:
    path.write_text(f"{first}\nprint()\n")
    path.chmod(0o755)


def test_the_scripts_beneath(tmp_path: Path) -> None:
    """Those of an interpreter beside them, whatever their first line's form; of the distribution only pip's."""
    programs = tmp_path / "a long way/bin"
    programs.mkdir(parents=True)
    script(programs / "plain", f"#!{programs}/python3.11")
    (tmp_path / "short").symlink_to(programs)
    script(programs / "linked", f"#!{tmp_path}/short/python -E")
    script(programs / "pip", f"#!/bin/sh\n'''exec' \"{programs}/python\" \"$0\" \"$@\"\n' '''")
    script(programs / "pip3", f"#!/bin/sh\n'''exec' {programs}/python \"$0\" \"$@\"\n' '''")
    script(programs / "others", "#!/usr/bin/python3")
    script(programs / "shell", "#!/bin/sh")
    (programs / "binary").write_bytes(b"\x7fELF")
    (programs / "directory").mkdir()

    def names(prefix: Path, scripts: Path) -> set[str]:
        python = Interpreter("", prefix, Path("/usr/bin/python3"), "3.11", scripts, (), system=True)
        _, links = packages.beside(python, "/own")
        return {os.path.basename(each) for each, to in links.items() if to == ".run"}  # noqa: PTH119

    assert names(programs.parent, programs) == {"pip", "pip3"}  # a space ends the plain form
    short = tmp_path / "bin"
    short.symlink_to(programs)
    script(programs / "plain", f"#!{short}/python3.11")
    assert names(tmp_path, short) == {"plain", "pip", "pip3"}
    assert names(Path("/usr"), short) == {"pip", "pip3"}
    assert names(Path("/usr"), tmp_path / "absent") == set()
