"""The command `treadle`: its table of commands, and how a command ends.

A command's module is imported when the command is used, so `treadle --help` pays for none of them. The table below
therefore holds what the help shows. Exit codes: 0 success, 1 failed, 2 wrong usage or description (nothing was sent),
130 interrupted.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import click

from treadle._version import __version__
from treadle.cli import errors
from treadle.cli.streams import standard_streams

__all__ = ["COMMANDS", "Entry", "cli", "main"]


class Entry(NamedTuple):
    """A line of the help, and where its command is found: `module:attribute`."""

    section: str
    name: str
    where: str
    help: str


COMMANDS: Final = (
    Entry("Workflows", "run", "treadle.cli.run:run", "Run a workflow of an Arazzo document."),
    Entry("Workflows", "resume", "treadle.cli.run:resume", "Go on with a run that was interrupted."),
    Entry("Workflows", "runs", "treadle.cli.runs:runs", "List runs, or show one."),
    Entry("Workflows", "check", "treadle.cli.check:check", "Find the mistakes in documents. Sends nothing."),
    Entry("Workflows", "plan", "treadle.cli.plan:plan", "Show what a run would send. Sends nothing."),
    Entry("Workflows", "mock", "treadle.cli.mock:mock", "Serve what documents call, to try them offline."),
    Entry("Training", "jobs", "treadle.cli.jobs:jobs", "List, show and stop training jobs, read their logs."),
    Entry("Training", "data", "treadle.cli.data:data", "Move files to and from s3:// URIs."),
    Entry("Training", "images", "treadle.cli.images:images", "Register local training images."),
    Entry("Training", "file-systems", "treadle.cli.file_systems:file_systems", "Directories for EFS and FSx channels."),
    Entry("Training", "serve", "treadle.cli.serve:serve", "Run the training service in the foreground."),
    Entry("Training", "env", "treadle.cli.env:env", "Point boto3 and the AWS CLI at the training service."),
    Entry("Shell", "completion", "treadle.cli.completion:completion", "Print the completion script for a shell."),
)

_EXAMPLES: Final = (
    ("treadle check workflow.yml", "is it right?"),
    ("treadle run workflow.yml -i name=value --on local", "run it on this machine"),
    ("treadle jobs logs -f JOB", "watch a training job"),
)


class _Commands(click.Group):
    """Finds commands by the table, imports them when they are used, and shows them in sections."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return [entry.name for entry in COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        entry = next((each for each in COMMANDS if each.name == cmd_name), None)
        if entry is None:
            return None
        module, _, attribute = entry.where.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant; say which one may have been, where there is none."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            import difflib  # only for those who misspell

            close = difflib.get_close_matches(name, self.list_commands(ctx), n=1, cutoff=0.5)
            meant = f" Did you mean {close[0]}?" if close else ""
            raise click.UsageError(f"There is no command {name}.{meant}", ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        for section in dict.fromkeys(entry.section for entry in COMMANDS):
            with formatter.section(section):
                formatter.write_dl([(entry.name, entry.help) for entry in COMMANDS if entry.section == section])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Examples"):
            formatter.write_dl(list(_EXAMPLES), col_max=60)
        formatter.write_paragraph()
        formatter.write_text("treadle COMMAND --help says more. State is kept in TREADLE_HOME.")


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    invoke_without_command=False,
)
@click.version_option(__version__, "--version", message="treadle %(version)s", help="Show the version.")
def cli() -> None:
    """Run Arazzo workflows against real APIs, and train like on SageMaker, on this machine."""


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit. `args` without the program's name; those of the process by default."""
    sys.exit(run(sys.argv[1:] if args is None else list(args)))


def run(args: list[str]) -> int:
    """Run the command line; give the exit code. Errors are told on standard error, never as a traceback."""
    with standard_streams():
        try:
            result: Any = cli.main(args, prog_name="treadle", standalone_mode=False)
            sys.stdout.flush()
        except BrokenPipeError:
            return 1  # whoever read our output has gone: there is nobody to tell
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  (the one place where every error ends)
            return errors.tell(error)
        return result if isinstance(result, int) else 0
