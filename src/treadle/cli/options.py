"""What several commands take: durations, `name=value`, `--json`, the target. Each says its unit and its default."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

import click

__all__ = [
    "DOCUMENT",
    "DURATION",
    "PAIR",
    "TIME_LIMIT",
    "Duration",
    "Given",
    "Pair",
    "SectionOption",
    "Sectioned",
    "Where",
    "describes",
    "examples",
    "gives_inputs",
    "json_option",
    "option",
]

if TYPE_CHECKING:
    _Seconds = click.ParamType[float]
    _Bytes = click.ParamType[int]
    _TwoTexts = click.ParamType[tuple[str, str]]
else:  # click is generic only in its newest versions
    _Seconds = _Bytes = _TwoTexts = click.ParamType

_Command: TypeAlias = Callable[..., Any]
_F = TypeVar("_F", bound=_Command)

_UNITS: Final = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}
_BYTES: Final = {"MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
_SIZE: Final = re.compile(r"(\d{1,9})\s*([MGT]B)", re.ASCII)
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|)\s*", re.ASCII)


class Duration(_Seconds):
    """A length of time such as `30s`, `10m`, `1h30m` or `2d`; a bare number is seconds. Gives seconds."""

    name = "duration"

    def __init__(self, *, positive: bool = False) -> None:
        self._positive = positive

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the text. Values that are numbers already pass."""
        if isinstance(value, int | float):
            return float(value)
        text = str(value).strip().lower()
        parts = list(_PART.finditer(text))
        if not parts or "".join(part[0] for part in parts) != text or (len(parts) > 1 and not all(p[2] for p in parts)):
            self.fail(f"{value!r} is no duration; write for example 30s, 10m, 1h30m or 2d.", param, ctx)
        seconds = sum(float(part[1]) * _UNITS[part[2]] for part in parts)
        if self._positive and not seconds:
            self.fail("it must be longer than nothing; write for example 30s, 10m, 1h30m or 2d.", param, ctx)
        return seconds


class Size(_Bytes):
    """A size such as `500MB` or `2GB`, in AWS's sense: a GB is 1024³ bytes. Gives bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the text. Values that are numbers already pass."""
        if isinstance(value, int):
            return value
        size = _SIZE.fullmatch(str(value).strip().upper())
        if size is None:
            self.fail(f"{value!r} is no size; write for example 500MB or 2GB.", param, ctx)
        return int(size[1]) * _BYTES[size[2]]


class Pair(_TwoTexts):
    """`name=value`; gives both as a tuple. The value may hold further `=`."""

    def __init__(self, example: str, metavar: str) -> None:
        self.name = metavar
        self._example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Split at the first `=`."""
        if isinstance(value, tuple):
            return value
        name, equals, rest = str(value).partition("=")
        if not equals or not name:
            self.fail(f"{value!r} is not of the form {self.name}; write for example {self._example}.", param, ctx)
        return name, rest

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Show the form itself."""
        del param, ctx
        return self.name


class SectionOption(click.Option):
    """An option that the help shows in a section of its own name."""

    def __init__(self, *args: Any, section: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section

    def get_help_extra(self, ctx: click.Context) -> Any:
        """Give the default; a range such as `x>=0` says less than the help and the unit do."""
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)
        return extra


class Sectioned(click.Command):
    """A command whose help shows its options in sections, in the order in which they first appear."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections, options without one last. Arguments stand in the text above."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                sections.setdefault(getattr(parameter, "section", ""), []).append(record)
        others = sections.pop("", [])
        for title, records in (*sections.items(), ("Other options" if sections else "Options", others)):
            with formatter.section(title):
                formatter.write_dl(records)


def option(section: str, *names: str, **settings: Any) -> Callable[[_F], _F]:
    """Make an option of a section."""
    return click.option(*names, cls=SectionOption, section=section, **settings)


DURATION: Final = Duration()
TIME_LIMIT: Final = Duration(positive=True)
SIZE: Final = Size()
PAIR: Final = Pair("instanceCount=1", "NAME=VALUE")
DOCUMENT: Final = click.Path(path_type=str)


_INPUTS: Final = "Inputs"
_WHERE: Final = "Servers and descriptions"

Pairs: TypeAlias = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Where:
    """What a command line says about where the parts of a description are, and which server is called (`describes`)."""

    on: str | None = None
    servers: Pairs = ()
    sources: Pairs = ()
    config: str | None = None
    strict: bool = False
    hosts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """The inputs that a command line gives (`gives_inputs`): one by one, and the name of a file."""

    pairs: Pairs = ()
    file: str | None = None


def _together(command: _F, name: str, made: type[Where | Given]) -> _F:
    """Give the command one value `name`, made of the options that are the fields of it."""

    @functools.wraps(command)
    def called(**values: Any) -> Any:
        together = made(**{each.name: values.pop(each.name) for each in fields(made)})
        return command(**{name: together}, **values)

    return cast("_F", called)


def json_option(command: _F) -> _F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def examples(*lines: str) -> str:
    """Give the examples as an epilog that click does not wrap again."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def describes(command: _F) -> _F:
    """Add what says where the parts of a description are and which server is called: the command gets a `where`."""
    options = (
        option(
            _WHERE,
            "--on",
            "on",
            metavar="local|aws|mock|URL",
            help="Where to send requests: the training service of this machine (started when it does not run), AWS, "
            "nowhere (what treadle mock would answer), or a server. Default: the servers that the description names.",
        ),
        option(
            _WHERE,
            "--server",
            "servers",
            metavar="NAME=URL",
            type=Pair("sagemakerApi=http://127.0.0.1:4566", "NAME=URL"),
            multiple=True,
            help="The server of one source description. Repeatable.",
        ),
        option(
            _WHERE,
            "--source",
            "sources",
            metavar="NAME=PATH|URL",
            type=Pair("petstore=./openapi.yml", "NAME=PATH|URL"),
            multiple=True,
            help="Read a source description from elsewhere. Repeatable.",
        ),
        option(
            _WHERE,
            "--config",
            metavar="FILE",
            type=click.Path(dir_okay=False),
            help="The treadle.toml to use. Default: the nearest one above the document.",
        ),
        option(
            _WHERE,
            "--allow-host",
            "hosts",
            metavar="HOST",
            multiple=True,
            help="Let steps call this host only: a name, with or without a port, or *.example.com. Repeatable.",
        ),
        option(_WHERE, "--strict", is_flag=True, help="Take documents by the letter: every leniency is an error."),
    )
    command = _together(command, "where", Where)
    for each in reversed(options):
        command = each(command)
    return command


def gives_inputs(command: _F) -> _F:
    """Add what gives the inputs of a workflow: the command gets `inputs`."""
    options = (
        option(
            _INPUTS,
            "-i",
            "--input",
            "pairs",
            metavar="NAME=VALUE",
            type=PAIR,
            multiple=True,
            help="An input; lists and objects as JSON. Repeatable, and stronger than --inputs.",
        ),
        option(
            _INPUTS,
            "--inputs",
            "file",
            metavar="FILE",
            type=click.Path(allow_dash=True),
            help="A JSON or YAML file whose members are inputs; - is standard input.",
        ),
    )
    command = _together(command, "inputs", Given)
    for each in reversed(options):
        command = each(command)
    return command
