"""What a program may change for itself, as it may change a container: its image, and what its Python has installed.

Where the kernel has overlays, changes go into layers of the job's own over both directories. Where it has none, for
the system's Python, whose directory is not Python's alone, and for another user's, the program finds another Python
first: a virtual environment of the job (PEP 405) that shows the packages of the one beneath. pip installs into it; a
package that is in both is the job's, and pip does not remove the other ("outside environment"). The one beneath is not
written to. Its console scripts are there once more, because they name their interpreter.

An image is what it is where there are no overlays: read-only in a `namespace`, and itself in `plain`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from treadle.agent import facts
from treadle.agent.sandbox.enter import OWN
from treadle.seams import SandboxCommand, Unlayered

__all__ = ["Interpreter", "beside", "program_of", "with_own"]

_JOBS = "/.python"
"""Below `/opt/ml`: the environment of the job."""

# A Python there is not alone in its directory.
_SYSTEM = {Path("/"), Path("/usr"), Path("/usr/local")}
_NAMES = re.compile(r"python(\d+(\.\d+)?)?")
_OURS = ("-m", "treadle.")
_SCRIPTS = "treadle.training.algorithms.script"
_PATIENCE = 30.0
# The first line of a script, and what stands for it where the path would be too long for the kernel (distlib).
_FIRST = re.compile(rb"#!(?:/bin/sh\n'''exec' \"?(?P<long>/[^\"\n]+?)\"? \"\$0\"| ?(?P<plain>/\S+))")
_ENOUGH = 1024
_RUN = ".run"
_RUN_TEXT = """#!/bin/sh
exec "$(dirname "$0")/python" {scripts}/"$(basename "$0")" "$@"
"""


class Interpreter(msgspec.Struct, frozen=True):
    """A Python, as `facts` tells of it."""

    executable: str
    prefix: str
    base: str
    version: str
    scripts: str
    sites: list[str]
    system: bool


def with_own(command: SandboxCommand, changes: Path, image: Sequence[Path], *, covering: bool) -> SandboxCommand:
    """Give the command with what it may change; `changes` is where that goes. Blocks.

    `covering` says whether the sandbox can show directories over others.
    """
    python = program_of(command, covering=covering)
    prefix = None if python is None or not _layered(python) else Path(python.prefix)
    own = ({*image} | ({prefix} if prefix else set())) - _SYSTEM if covering else set()
    outermost = sorted(each for each in own if own.isdisjoint(each.parents))
    command = replace(command, layers=tuple((each, changes / str(number)) for number, each in enumerate(outermost)))
    if python is None:
        return command
    instead = _instead(command, python, ("/opt/ml" if covering else str(command.ml)) + _JOBS)
    if layer := next((each for each in outermost if prefix and each in (prefix, *prefix.parents)), None):
        return replace(command, unlayered=replace(instead, layer=layer))
    return replace(command, unlayered=instead)


def _layered(python: Interpreter) -> bool:
    """Tell whether a layer over its directory lets pip install: it needs the right to write there all the same."""
    return Path(python.prefix) not in _SYSTEM and os.access(python.prefix, os.W_OK)


def _instead(command: SandboxCommand, python: Interpreter, environment: str) -> Unlayered:
    files, links = beside(python, environment)
    argv = tuple(
        f"{environment}/bin/python" if each == python.executable and not _ours(command.argv[at:]) else each
        for at, each in enumerate(command.argv)
    )
    path = f"{environment}/bin:{command.environment.get('PATH', '')}"
    return Unlayered(argv, {**command.environment, "PATH": path, "VIRTUAL_ENV": environment}, files, links)


def program_of(command: SandboxCommand, *, covering: bool) -> Interpreter | None:
    """Give the Python that the program finds; None where it needs none, or it does not run.

    That is one of the command's own words, else the first of its PATH that it sees. Treadle's own programs need none,
    but the one that runs scripts.
    """
    words = [Path(each) for at, each in enumerate(command.argv) if not _ours(command.argv[at:])]
    if _ours(command.argv) and command.argv[2] != _SCRIPTS:
        return None
    covered = (*command.hidden, *map(Path, OWN)) if covering else ()
    seen = [
        each
        for each in command.environment.get("PATH", "").split(":")
        if _within(each, command.readable) or not _within(each, covered)
    ]
    path = ":".join(seen)
    named = next((str(each) for each in words if each.is_absolute() and _NAMES.fullmatch(each.name)), None)
    found = named or shutil.which("python", path=path) or shutil.which("python3", path=path)
    return None if found is None else _known(found)


def _within(path: str, directories: Iterable[Path]) -> bool:
    return any(Path(path).is_relative_to(each) for each in directories)


def _ours(argv: Sequence[str]) -> bool:
    return " ".join(argv[1:3]).startswith(" ".join(_OURS))


def _known(executable: str) -> Interpreter | None:
    if Path(executable).parent == Path(sys.executable).parent:
        told = facts.facts()
    else:
        command = [executable, "-I", facts.__file__]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=True, stdin=subprocess.DEVNULL)
            told = msgspec.json.decode(done.stdout)
        except (OSError, subprocess.SubprocessError, msgspec.DecodeError):
            return None  # whatever is wrong with it, the program will say so
    return msgspec.convert({**told, "executable": executable}, Interpreter)


def beside(python: Interpreter, directory: str) -> tuple[dict[str, str], dict[str, str]]:
    """Give the files of the environment with their texts, and its links with what they lead to."""
    programs, sites = f"{directory}/bin", f"{directory}/lib/python{python.version}/site-packages"
    files = {
        f"{directory}/pyvenv.cfg": f"home = {Path(python.base).parent}\n"
        f"include-system-site-packages = {str(python.system).lower()}\nversion = {python.version}\n",
        # Their own .pth files count, too: of packages that are installed in place, for example.
        f"{sites}/_beneath.pth": "import site; "
        + "; ".join(f"site.addsitedir({each!r})" for each in python.sites if Path(each).is_dir()),
        f"{programs}/{_RUN}": _RUN_TEXT.format(scripts=shlex.quote(python.scripts)),
    }
    # As `venv` does: there are Pythons that keep what is compiled apart.
    links = {f"{directory}/lib64": "lib"}
    links |= {f"{programs}/{each}": python.base for each in ("python", "python3", f"python{python.version}")}
    return files, links | {f"{programs}/{each}": _RUN for each in _scripts(python)}


def _scripts(python: Interpreter) -> list[str]:
    """Give the names of the console scripts beneath; of the distribution there is only pip."""
    distributions = Path(python.prefix) == Path("/usr")
    with contextlib.suppress(OSError), os.scandir(python.scripts) as entries:
        return [
            each.name
            for each in entries
            if (not distributions or each.name.startswith("pip")) and _is_script(each, python.scripts)
        ]
    return []


def _is_script(entry: os.DirEntry[str], scripts: str) -> bool:
    """Tell whether it is a script of an interpreter beside it."""
    with contextlib.suppress(OSError):
        if entry.is_file() and (match := _FIRST.match(_beginning(entry.path))):
            named = Path(os.fsdecode(match["plain"] or match["long"]))
            return str(named.parent) in {scripts, os.path.realpath(scripts)} and bool(_NAMES.fullmatch(named.name))
    return False


def _beginning(path: str) -> bytes:
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(opened, _ENOUGH)
    finally:
        os.close(opened)
