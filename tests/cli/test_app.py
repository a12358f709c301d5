"""The command itself: help, start-up, errors and exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from treadle.cli import app, errors
from treadle.cli.options import TIME_LIMIT, Duration, Pair
from treadle.errors import DescriptionError, Diagnostic, Place, TransportError, TreadleError, UsageError

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_every_command_of_the_table_exists_and_explains_itself() -> None:
    """Each has a help text of its own, with examples; the table tells of it in one line."""
    runner = CliRunner()
    for entry in app.COMMANDS:
        result = runner.invoke(app.cli, [entry.name, "--help"], prog_name="treadle")
        assert result.exit_code == 0, result.output
        assert f"Usage: treadle {entry.name}" in result.output
        assert "Examples:" in result.output, f"{entry.name} shows no example"
        assert len(entry.help) <= 60


def test_every_option_says_what_it_does() -> None:
    """No option of any command is without help."""
    silent = [
        f"{path} {parameter.opts[0]}"
        for path, command in walk()
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.help and not parameter.hidden
    ]
    assert not silent


def test_lines_of_help_fit_a_terminal() -> None:
    """Nothing is wider than 80 columns in a terminal of 80, but for examples, which are not broken."""
    runner = CliRunner()
    for path, _ in walk():
        output = runner.invoke(app.cli, [*path.split(), "--help"], prog_name="treadle", terminal_width=80).output
        text, _, shown = output.partition("Examples:")
        assert [line for line in text.splitlines() if len(line) > 80] == [], path
        assert [line for line in shown.splitlines() if len(line) > 100] == [], path
        assert not [line for line in text.splitlines() if line.endswith("...") and path not in line], path


def walk() -> Iterator[tuple[str, click.Command]]:
    """Give every command with the words that call it."""
    context = click.Context(app.cli)
    for name in app.cli.list_commands(context):
        command = app.cli.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {each}", below) for each, below in command.commands.items())


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str], environment: dict[str, str]) -> None:
    """The help itself and nothing else: whoever types only `treadle` has made no mistake worth a word."""
    del environment
    for args in ([], ["jobs"]):
        assert app.run(args) == 2
        assert capsys.readouterr().err.startswith(f"Usage: treadle {' '.join(args)}".rstrip())


def test_help_imports_nothing_heavy() -> None:
    """`treadle --help` pays for no command: no engine, no HTTP, no database, no rich."""
    code = "import sys; from treadle.cli import app; app.run(['--help']); print(*sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(done.stderr.split())
    heavy = {
        "aiohttp",
        "jsonschema_rs",
        "rich",
        "botocore",
        "uvicorn",
        "yaml",
        "asyncio",
        "msgspec",
        "sqlite3",
        "uvloop",
    }
    assert not loaded & heavy
    assert "Workflows:" in done.stdout


WRONG = [
    pytest.param(["rnu"], "error: There is no command rnu. Did you mean run?", id="unknown command"),
    pytest.param(["xyzzy"], "error: There is no command xyzzy.\n", id="nothing like it"),
    pytest.param(["--hlep"], "error: No such option", id="unknown option"),
    pytest.param(["jobs", "sotp"], "Did you mean 'stop'?", id="unknown subcommand"),
    pytest.param(["jobs", "logs"], "Missing argument 'NAME'", id="missing argument"),
    pytest.param(["jobs", "ls", "-n", "x"], "'x' is not a valid integer range", id="wrong type"),
    pytest.param(["completion", "tcsh"], "'tcsh' is not one of 'bash', 'zsh', 'fish'", id="wrong choice"),
]


@pytest.mark.parametrize(("args", "said"), WRONG)
def test_wrong_usage_ends_with_2_and_a_hint(
    args: list[str], said: str, capsys: pytest.CaptureFixture[str], environment: dict[str, str]
) -> None:
    """What is wrong, and what shows the right way; nothing on standard output."""
    del environment
    assert app.run(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "--help shows what it takes" in err


PLACE = Place("w.yml", "/workflows", 3, 5, "  - workflowID: x", 10)
ENDS = [
    pytest.param(UsageError("No.", hint="Do."), 2, "error: No.\nhint: Do.\n", id="usage"),
    pytest.param(TreadleError("It broke."), 1, "error: It broke.\n", id="failed"),
    pytest.param(
        DescriptionError([Diagnostic("r", "m", PLACE, hint="h")]),
        2,
        "w.yml:3:5: error: m [r]\n  3 |   - workflowID: x\n    |     ^^^^^^^^^^\n  hint: h\n",
        id="description: place, caret, hint",
    ),
    pytest.param(
        TransportError("refused", "h refuses.", sent=False, hint="Is it up?"),
        1,
        "error: h refuses.\nhint: Is it up?\n",
        id="transport",
    ),
    pytest.param(KeyboardInterrupt(), 130, "interrupted\n", id="interrupted"),
    pytest.param(ExceptionGroup("g", [UsageError("One.")]), 2, "error: One.\n", id="a group of one"),
]


@pytest.mark.parametrize(("error", "code", "said"), ENDS)
def test_how_errors_end(error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Message, hint, exit code."""
    assert errors.tell(error) == code
    assert capsys.readouterr().err == said


def test_a_mistake_of_ours_is_one_line_and_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback on the screen; it is in a file that only its owner can read."""
    monkeypatch.setenv("TREADLE_HOME", str(tmp_path / "home"))
    assert errors.tell(ZeroDivisionError("by zero")) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: a mistake in Treadle itself: ZeroDivisionError: by zero\nhint: the details are in ")
    written = Path(said.strip().rpartition(" ")[2])
    assert "ZeroDivisionError" in written.read_text()
    assert written.stat().st_mode & 0o777 == 0o600


def test_a_mistake_of_ours_with_debugging(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """TREADLE_DEBUG=1 shows the traceback."""
    monkeypatch.setenv("TREADLE_DEBUG", "1")
    assert errors.tell(ZeroDivisionError("by zero")) == 1
    assert "ZeroDivisionError: by zero" in capsys.readouterr().err


INTERRUPTED_AT = """
import importlib.abc, os, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run where it is ignored

class Interrupts(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {at!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
sys.argv = ["treadle", "check", "nowhere.yaml"]
from treadle.__main__ import main
main()
"""


@pytest.mark.parametrize("at", ["treadle.cli.app", "click.core", "treadle.errors", "treadle.cli.check"])
def test_an_interruption_at_the_start_is_quiet(at: str, environment: dict[str, str]) -> None:
    """Ctrl-C while the command line is being imported: 130, and not where in Python's imports it was."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_AT.format(at=at)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_reader_that_leaves_is_no_error(environment: dict[str, str]) -> None:
    """`treadle … | head` says nothing about a broken pipe."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "treadle.cli", "completion", "fish"],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=environment,
        check=False,
        timeout=60,
    )
    os.close(writer)
    assert done.stderr == b""
    assert done.returncode == 1


@dataclass(frozen=True, slots=True)
class Deaf:
    """Standard streams that take nothing, as a shell makes them, and what comes of a command that writes to them."""

    redirection: str
    said: str
    code: int


DEAF = [
    pytest.param(Deaf(">/dev/full", "error: No space left on device.\n", 1), id="a full disk"),
    pytest.param(Deaf(">&-", "", 0), id="standard output closed"),
    pytest.param(Deaf("2>&-", "", 0), id="standard error closed"),
    pytest.param(Deaf(">/dev/full 2>/dev/full", "", 1), id="nobody can be told"),
]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("case", DEAF)
def test_streams_that_take_nothing(case: Deaf, environment: dict[str, str]) -> None:
    """A result that cannot be written is an error, said if it can be said; there is no traceback either way."""
    command = f'"$0" -m treadle.cli --version {case.redirection}'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (case.code, case.said)


@pytest.mark.parametrize(("shell", "sign"), [("zsh", "#compdef treadle"), ("fish", "function _treadle_completion")])
def test_completion_scripts(shell: str, sign: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The script names the command, and the command answers what the script asks."""
    assert app.run(["completion", shell]) == 0
    assert sign in capsys.readouterr().out


def test_completion_knows_commands_and_options(treadle: Run) -> None:
    """What a shell asks for is answered without importing more than the command in question."""
    asked = {"_TREADLE_COMPLETE": "fish_complete", "COMP_WORDS": "treadle jobs ", "COMP_CWORD": ""}
    done = treadle(**asked)
    offered = {line.split("\t")[0] for line in done.stdout.splitlines()}
    assert offered >= {"plain,logs", "plain,ls", "plain,show", "plain,stop"}


DURATIONS = [
    ("30s", 30),
    ("30", 30),
    ("1.5", 1.5),
    ("10m", 600),
    ("2h", 7200),
    ("1d", 86400),
    ("1h30m", 5400),
    (" 2 D ", 172800),
    ("0", 0),
]


@pytest.mark.parametrize(("text", "seconds"), DURATIONS)
def test_durations(text: str, seconds: float) -> None:
    """Seconds, minutes, hours, days, and sums of them."""
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "x", "-1s", "1w", "1h 30", "h", "1e5", "١s"])
def test_no_durations(text: str) -> None:
    """Everything else is refused with the forms that are right."""
    with pytest.raises(click.BadParameter, match="30s, 10m, 1h30m or 2d"):
        Duration().convert(text, None, None)


def test_a_limit_of_no_time_is_no_limit() -> None:
    """It would not mean "for ever", as somebody may think, but that a request is sent and its answer not awaited."""
    with pytest.raises(click.BadParameter, match="longer than nothing"):
        TIME_LIMIT.convert("0s", None, None)


def test_pairs() -> None:
    """Split at the first `=`; a name must be there, a value may be empty."""
    kind = Pair("a=1", "NAME=VALUE")
    assert kind.convert("a=b=c", None, None) == ("a", "b=c")
    assert kind.convert("a=", None, None) == ("a", "")
    for wrong in ("a", "=b"):
        with pytest.raises(click.BadParameter, match="NAME=VALUE"):
            kind.convert(wrong, None, None)
