"""The code blocks of the documentation, and how they are run.

* ` ```python ` blocks of one file share their names, in order, as a reader would type them; they see the variables that
  the commands above them export.
* ` ```console ` blocks: a line `$ command` is run by bash in the file's own directory (with `examples/` in it) and a home
  of its own; variables that a command exports stay. The lines below it are what it prints, compared without regard to
  white space; `...` stands for anything. A command that is meant to fail ends in `# exit N`.
* A block after `<!-- not run: reason -->` is not run, for that reason.
* A block of any language after `<!-- file: name -->` is written to that file, as a reader would save it.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]

_FENCE = re.compile(r"^(`{3,})\s*(\w+)[^\n]*$")
_NOT_RUN = re.compile(r"<!--\s*not run:\s*(.+?)\s*-->")
_FILE = re.compile(r"<!--\s*file:\s*(\S+)\s*-->")
_EXIT = re.compile(r"#\s*exit (\d+)\s*$")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; `line` is that of its first line of code, counted from 1."""

    path: Path
    line: int
    language: str
    text: str
    skipped: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a console block, what it prints, and its exit code."""

    line: int
    text: str
    want: str
    exit_code: int = 0


def blocks(path: Path) -> Iterator[Block]:
    """Give the python and console blocks of a Markdown file, and those that are to be saved."""
    lines = path.read_text("utf-8").splitlines()
    at, reason, file = 0, "", ""
    while at < len(lines):
        fence = _FENCE.match(lines[at].strip())
        if fence is None:
            found, named = _NOT_RUN.search(lines[at]), _FILE.search(lines[at])
            reason = found[1] if found else reason if not lines[at].strip() else ""
            file = named[1] if named else file if not lines[at].strip() else ""
            at += 1
            continue
        start = at + 1
        at = next((n for n in range(start, len(lines)) if lines[n].strip() == fence[1]), len(lines))
        indent = len(lines[start - 1]) - len(lines[start - 1].lstrip())
        if fence[2] in {"python", "console"} or file:
            text = "\n".join(line[indent:] for line in lines[start:at])
            yield Block(path, start + 1, fence[2], text, reason, file)
        at, reason, file = at + 1, "", ""


def commands(block: Block) -> Iterator[Command]:
    """Give the commands of a console block."""
    lines = block.text.splitlines()
    at = 0
    while at < len(lines):
        start = at
        assert lines[at].startswith("$ "), f"{block.path.name}:{block.line + at}: no command: {lines[at]!r}"
        text = lines[at][2:]
        while text.endswith("\\"):
            at += 1
            text += "\n" + lines[at].removeprefix("> ")
        at += 1
        end = next((n for n in range(at, len(lines)) if lines[n].startswith("$ ")), len(lines))
        code = _EXIT.search(text)
        yield Command(block.line + start, text, "\n".join(lines[at:end]).strip(), int(code[1]) if code else 0)
        at = end


def matches(want: str, got: str) -> bool:
    """Compare without regard to white space; `...` stands for anything.

    Each part between dots is looked for after the one before it, so a long output that does not match costs no more
    than one that does; a pattern of many `.*` would try every way of sharing it out.
    """
    first, *rest = [" ".join(part.split()) for part in want.split("...")]
    text = " ".join(got.split())
    if not rest:
        return first == text
    if not text.startswith(first):
        return False
    *middle, last = rest
    at = len(first)
    for part in middle:
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return len(text) - len(last) >= at and text.endswith(last)


def run_python(block: Block, names: dict[str, Any]) -> None:
    """Run a python block; tracebacks point into the Markdown file."""
    code = compile("\n" * (block.line - 1) + block.text, str(block.path), "exec")
    exec(code, names)  # noqa: S102  (it is our own documentation)


def run_console(block: Block, directory: Path, environment: Mapping[str, str]) -> None:
    """Run the commands of a console block one after the other. Raises `AssertionError` where one does not do as said."""
    kept = directory / ".exported"
    for command in commands(block):
        script = f'test -f "{kept}" && . "{kept}"\n{command.text}\ncode=$?\nexport -p > "{kept}"\nenv -0 > "{kept}.raw"\nexit $code'
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
            check=False,
        )
        where = f"{block.path.name}:{command.line}: $ {command.text}"
        assert done.returncode == command.exit_code, f"{where}\nexit code {done.returncode}:\n{done.stdout}"
        if command.want:
            assert matches(command.want, done.stdout), f"{where}\nsaid:\n{done.stdout}\ninstead of:\n{command.want}"


def exported(directory: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Give the environment as the last command of the page has left it."""
    raw = directory / ".exported.raw"
    if not raw.exists():
        return dict(environment)
    pairs = (line.partition("=") for line in raw.read_text("utf-8").split("\0") if line)
    return {name: value for name, _, value in pairs}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_the_documentation_shows_is_true(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]
) -> None:
    """Every block runs, and every command prints what stands below it."""
    directory = tmp_path / "reader"
    directory.mkdir()
    (directory / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(directory)
    boto3.DEFAULT_SESSION = None  # to the reader of a page Python is new: there are no credentials of another page yet
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(path):
        if block.skipped:
            continue
        if block.file:
            place = directory / block.file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(block.text + "\n", "utf-8")
        elif block.language == "python":
            with monkeypatch.context() as patched:
                for name, value in exported(directory, environment).items():
                    patched.setenv(name, value)
                run_python(block, names)
        else:
            run_console(block, directory, environment)


EXAMPLE = """\
# A page

```console
$ echo one two
one   two
$ export X=3 && \\
> false  # exit 1
$ echo "a $X c"; ls
a ... c
...
```

<!-- not run: needs an AWS account -->
```console
$ aws s3 ls
```

```yaml
not: run
```

<!-- file: a/b.yaml -->
```yaml
kept: true
```

```python
x = 1
```

    ```python
"""


def test_the_harness_reads_blocks_as_a_person_does(tmp_path: Path) -> None:
    """Languages, reasons, line numbers, continued commands, exit codes."""
    page = tmp_path / "page.md"
    page.write_text(EXAMPLE)
    found = list(blocks(page))
    assert [(each.language, each.line, each.skipped, each.file) for each in found[:4]] == [
        ("console", 4, "", ""),
        ("console", 15, "needs an AWS account", ""),
        ("yaml", 24, "", "a/b.yaml"),
        ("python", 28, "", ""),
    ]
    assert [(each.line, each.text, each.want, each.exit_code) for each in commands(found[0])] == [
        (4, "echo one two", "one   two", 0),
        (6, "export X=3 && \\\nfalse  # exit 1", "", 1),
        (8, 'echo "a $X c"; ls', "a ... c\n...", 0),
    ]


def test_the_harness_notices_what_is_not_true(tmp_path: Path) -> None:
    """A wrong output and a wrong exit code fail with the line; variables live on from command to command."""
    page = tmp_path / "page.md"
    page.write_text(EXAMPLE)
    first = next(blocks(page))
    run_console(first, tmp_path, {"PATH": "/usr/bin:/bin"})
    with pytest.raises(AssertionError, match=r"page.md:4: \$ echo one two"):
        run_console(replace(first, text="$ echo one two\none three"), tmp_path, {"PATH": "/usr/bin:/bin"})
    with pytest.raises(AssertionError, match="exit code 1"):
        run_console(replace(first, text="$ false"), tmp_path, {"PATH": "/usr/bin:/bin"})


@pytest.mark.parametrize(
    ("want", "got", "same"),
    [
        ("a b", "a   b\n", True),
        ("a ... z", "a\nq\nz", True),
        ("a", "b", False),
        ("a", "a b", False),
        ("x...y", "x12y", True),
        ("(a.b)", "(aXb)", False),
        ("a...c", "abc b", False),
        ("ab...ba", "aba", False),
        ("a ... b ... c", "a b b b c", True),
        ("...x " * 30 + "y", "x " * 3000, False),
    ],
)
def test_outputs_are_compared_loosely(want: str, got: str, same: bool) -> None:
    """White space does not count, three dots are anything, everything else is itself."""
    assert matches(want, got) is same
