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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from treadle.agent.sandbox.enter import OWN
from treadle.seams import SandboxCommand, Unlayered

__all__ = ["Interpreter", "beside", "known", "program_of", "with_own"]

_JOBS = "/.python"
"""Below `/opt/ml`: the environment of the job."""

# A Python there is not alone in its directory.
_SYSTEM = {Path("/"), Path("/usr"), Path("/usr/local")}
_NAMES = re.compile(r"python(\d+(\.\d+)?)?")
_VERSION = re.compile(r"\d+\.\d+")
_OURS = ("-m", "treadle.")
_SCRIPTS = "treadle.training.algorithms.script"
# The first line of a script, and what stands for it where the path would be too long for the kernel (distlib).
_FIRST = re.compile(rb"#!(?:/bin/sh\n'''exec' \"?(?P<long>/[^\"\n]+?)\"? \"\$0\"| ?(?P<plain>/\S+))")
_ENOUGH = 4096
_RUN = ".run"
_RUN_TEXT = """#!/bin/sh
exec "$(dirname "$0")/python" {scripts}/"$(basename "$0")" "$@"
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python: what it is called, where it is, the program behind it, its version, its scripts.

    Of a virtual environment `sites` have its packages; `system` says whether those of the Python beneath are shown.
    """

    executable: str
    prefix: Path
    base: Path
    version: str
    scripts: Path
    sites: tuple[Path, ...]
    system: bool


def with_own(command: SandboxCommand, changes: Path, image: Sequence[Path], *, covering: bool) -> SandboxCommand:
    """Give the command with what it may change; `changes` is where that goes. Blocks.

    `covering` says whether the sandbox can show directories over others.
    """
    python = program_of(command, covering=covering)
    prefix = None if python is None or not _layered(python) else python.prefix
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
    return python.prefix not in _SYSTEM and os.access(python.prefix, os.W_OK)


def _instead(command: SandboxCommand, python: Interpreter, environment: str) -> Unlayered:
    files, links = beside(python, environment)
    argv = tuple(
        f"{environment}/bin/python" if each == python.executable and not _ours(command.argv[at:]) else each
        for at, each in enumerate(command.argv)
    )
    path = f"{environment}/bin:{command.environment.get('PATH', '')}"
    return Unlayered(argv, {**command.environment, "PATH": path, "VIRTUAL_ENV": environment}, files, links)


def program_of(command: SandboxCommand, *, covering: bool) -> Interpreter | None:
    """Give the Python that the program finds; None where it needs none, or there is none.

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
    return None if found is None else known(Path(found))


def _within(path: str, directories: Iterable[Path]) -> bool:
    return any(Path(path).is_relative_to(each) for each in directories)


def _ours(argv: Sequence[str]) -> bool:
    return " ".join(argv[1:3]).startswith(" ".join(_OURS))


def known(executable: Path) -> Interpreter | None:
    """Tell of a Python by its files; None where it is none. It is not run: this process is in no sandbox."""
    real, above = executable.resolve(), executable.parent.parent
    settings = _settings(above / "pyvenv.cfg")
    if not _is_program(real):
        return None
    prefix = above if settings else real.parent.parent
    home = Path(settings.get("home", real.parent))
    told = settings.get("version_info") or settings.get("version") or real.name
    if not (match := _VERSION.search(told)):
        return None
    version = match[0]
    named = [each for each in (home / f"python{version}", home / "python3") if each.exists()]
    return Interpreter(
        executable=str(executable),
        prefix=prefix,
        base=named[0] if named else real,
        version=version,
        scripts=executable.parent if settings else real.parent,
        sites=tuple(_sites(prefix, version)) if settings else (),
        system=not settings or settings.get("include-system-site-packages", "").lower() == "true",
    )


def _sites(prefix: Path, version: str) -> Iterator[Path]:
    """Give where the packages of a virtual environment are; some Pythons keep what is compiled apart."""
    for each in ("lib", "lib64"):
        site = prefix / each / f"python{version}/site-packages"
        if site.is_dir() and not (prefix / each).is_symlink():
            yield site


def _settings(path: Path) -> dict[str, str]:
    """Read a pyvenv.cfg (PEP 405); {} where there is none."""
    try:
        lines = _beginning(os.fspath(path)).decode(errors="replace").splitlines()
    except OSError:
        return {}
    return {name.strip().lower(): value.strip() for name, _, value in (each.partition("=") for each in lines)}


def _is_program(path: Path) -> bool:
    """Tell whether it is a program of the machine, and not a script that looks for one (pyenv's shims)."""
    try:
        return _beginning(os.fspath(path)).startswith(b"\x7fELF")
    except OSError:
        return False


def beside(python: Interpreter, directory: str) -> tuple[dict[str, str], dict[str, str]]:
    """Give the files of the environment with their texts, and its links with what they lead to."""
    programs, sites = f"{directory}/bin", f"{directory}/lib/python{python.version}/site-packages"
    files = {
        f"{directory}/pyvenv.cfg": f"home = {python.base.parent}\n"
        f"include-system-site-packages = {str(python.system).lower()}\nversion = {python.version}\n",
        # Their own .pth files count, too: of packages that are installed in place, for example.
        f"{sites}/_beneath.pth": "import site; "
        + "; ".join(f"site.addsitedir({str(each)!r})" for each in python.sites),
        f"{programs}/{_RUN}": _RUN_TEXT.format(scripts=shlex.quote(str(python.scripts))),
    }
    # As `venv` does, for those same Pythons.
    links = {f"{directory}/lib64": "lib"}
    links |= {f"{programs}/{each}": str(python.base) for each in ("python", "python3", f"python{python.version}")}
    return files, links | {f"{programs}/{each}": _RUN for each in _scripts(python)}


def _scripts(python: Interpreter) -> list[str]:
    """Give the names of the console scripts beneath; of the distribution there is only pip."""
    distributions = python.prefix == Path("/usr")
    with contextlib.suppress(OSError), os.scandir(python.scripts) as entries:
        return [
            each.name
            for each in entries
            if (not distributions or each.name.startswith("pip")) and _is_script(each, str(python.scripts))
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
    """Read a little of whatever it is; of a pipe nothing is waited for."""
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.read(opened, _ENOUGH)
    finally:
        os.close(opened)
