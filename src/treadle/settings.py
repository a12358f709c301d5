"""`treadle.toml`: what holds for all documents of a directory and of those below it.

::

    on = "local"                      # where requests go without --on: local, aws, a URL, or a target of this file
    poll = 2                          # seconds between two visits of a loop; without it polls are paced
    strict = false                    # true: take documents by the letter
    others = "local"                  # which Arazzo documents behind one are checked with it: local, all, none
    documents = ["./shared"]          # files and directories whose descriptions references may mean by their $self
    hosts = ["*.example.com"]         # the only hosts that steps may call

    [sources]                         # read a source description from elsewhere; relative to this file
    petstore = "./openapi.yml"
    [servers]                         # the server of a source description
    petstore = "http://127.0.0.1:8080"
    [credentials.petstore]            # security scheme → where its secret is: env:NAME or file:PATH
    api_key = "env:PETSTORE_KEY"

    [targets.staging]                 # what --on staging means
    url = "https://staging.example.com"
    servers = { petstore = "https://pets.staging.example.com" }
    [targets.staging.credentials.petstore]
    api_key = "file:~/.staging-key"

    [rules]                           # what findings are: "off", "note", "warning", or "error", which keeps from a run
    unused-input = "off"
    [dialect]                         # what is taken as it is meant: false means that it is an error
    jsonpath-comparison = false

The command line outranks the file. Secrets themselves may not stand in it. A file that is found beside a document, and
not in the working directory or above it, may have come with the document: what would send secrets or requests elsewhere
is then refused, unless `--config` names the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, TypeAlias, cast, get_args

import msgspec

from treadle.errors import DescriptionError, Diagnostic, Place, Severity
from treadle.toml import NotToml, Toml

__all__ = ["NAME", "Level", "Others", "Settings", "TargetSettings", "find_settings", "read_settings", "weighed"]

NAME: Final = "treadle.toml"
_RULE: Final = "treadle-toml"
_LARGEST: Final = 1024 * 1024
_LEVELS: Final = ("off", "note", "warning", "error")

Level = str
"""`off` or a severity."""

Others: TypeAlias = Literal["local", "all", "none"]
"""Which Arazzo documents behind one are checked with it: those in files, those from the network, too, or none."""


class TargetSettings(msgspec.Struct, frozen=True):
    """What `--on NAME` means: a URL (or `local`, `aws`), servers and credentials of single sources."""

    url: str | None = None
    servers: Mapping[str, str] = {}
    credentials: Mapping[str, Mapping[str, str]] = {}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a `treadle.toml` says; as it is made here, nothing. `poll` in seconds; paths are absolute."""

    path: Path | None = None
    on: str | None = None
    poll: float | None = None
    strict: bool = False
    others: Others = "local"
    """Which Arazzo documents behind a document `check` looks at, too."""
    documents: Sequence[str] = ()
    hosts: Sequence[str] = ()
    """The only hosts that steps may call; none listed: any."""
    servers: Mapping[str, str] = {}
    sources: Mapping[str, str] = {}
    credentials: Mapping[str, Mapping[str, str]] = {}
    targets: Mapping[str, TargetSettings] = {}
    rules: Mapping[str, Level] = {}
    dialect: Mapping[str, bool] = {}

    @property
    def refused(self) -> frozenset[str]:
        """The dialect rules that are switched off."""
        return frozenset(name for name, allowed in self.dialect.items() if not allowed)


def weighed(found: Iterable[Diagnostic], rules: Mapping[str, Level]) -> list[Diagnostic]:
    """Give the findings with the severities that `rules` has for them, without those that are off."""
    switched = ((each, rules.get(each.rule, each.severity)) for each in found)
    return [replace(each, severity=cast("Severity", level)) for each, level in switched if level != "off"]


def find_settings(document: str, *, above: Path | None = None) -> Path | None:
    """Find the file that holds for a document: in its directory, or the nearest one above it.

    For a document from the network it is that of the working directory, `above`. Raises `DescriptionError` where the
    file belongs to somebody else: in a shared directory anybody could have put it there.
    """
    start = Path.cwd() if above is None else above
    if "://" not in document:
        start = Path(os.path.abspath(document)).parent  # noqa: PTH100  (links stay: the path is what the user sees)
    for directory in (start, *start.parents):
        path = directory / NAME
        try:
            found = path.stat()
        except OSError:
            continue
        if hasattr(os, "getuid") and found.st_uid not in {os.getuid(), 0}:
            message = f"{path} belongs to another user, and is not used"
            hint = "name it with --config if it is meant"
            raise DescriptionError([Diagnostic(_RULE, message, Place(str(path)), hint=hint)])
        return path
    return None


def read_settings(
    path: Path, *, rules: Collection[str], dialect: Collection[str], trusted: bool = True, label: str = ""
) -> Settings:
    """Read a `treadle.toml`. `rules` and `dialect` are the names that there are.

    Raises `DescriptionError` with everything that is wrong, each with its line and column.
    """
    label = label or str(path)
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        _fail(f"it cannot be read: {(error.strerror or str(error)).lower()}", Place(label))
    if len(data) > _LARGEST:
        _fail(f"it has more than {_LARGEST:,} bytes", Place(label))
    reader = _Reader(data.decode("utf-8", "replace"), label, path.parent, set(rules), set(dialect))
    settings = reader.settings(path, trusted=trusted)
    if reader.found:
        raise DescriptionError(reader.found)
    return settings


def _fail(message: str, place: Place) -> NoReturn:
    raise DescriptionError([Diagnostic(_RULE, message, place)])


_MEMBERS: Final = (
    "on",
    "poll",
    "strict",
    "others",
    "documents",
    "hosts",
    "sources",
    "servers",
    "credentials",
    "targets",
    "rules",
    "dialect",
)
_OF_TARGETS: Final = ("url", "servers", "credentials")
_REFERENCE: Final = re.compile(r"(?:env:[A-Za-z_][A-Za-z0-9_]*|file:.+)\Z", re.DOTALL)


class _Reader:
    """Reads one file and collects what is wrong; what is wrong is left out."""

    def __init__(self, text: str, label: str, base: Path, rules: set[str], dialect: set[str]) -> None:
        self.toml = Toml(text, label)
        self.base = base
        self.known_rules = rules
        self.known_dialect = dialect
        self.found: list[Diagnostic] = []

    def settings(self, path: Path, *, trusted: bool) -> Settings:
        """Read all of it."""
        value = self.parsed()
        self.known(value, _MEMBERS, ())
        settings = Settings(
            path=path,
            on=self.string(value, "on"),
            poll=self.seconds(value, "poll"),
            strict=self.truth(value, "strict"),
            others=self.others(value),
            documents=tuple(self.located(each) for each in self.texts(value, "documents", "paths")),
            hosts=tuple(self.texts(value, "hosts", "hosts")),
            servers=self.strings(value, ("servers",)),
            sources={name: self.located(each) for name, each in self.strings(value, ("sources",)).items()},
            credentials=self.credentials(value, ("credentials",)),
            targets={name: self.target(value, name) for name in self.table(value, ("targets",))},
            rules=self.levels(value),
            dialect=self.switches(value),
        )
        if not trusted:
            self.untrusted(settings)
        return settings

    def parsed(self) -> dict[str, Any]:
        """Parse TOML. Raises `DescriptionError`."""
        try:
            return self.toml.parsed()
        except NotToml as error:
            _fail(f"this is not TOML: {error.message[:1].lower()}{error.message[1:]}", error.place)

    def untrusted(self, settings: Settings) -> None:
        """Refuse what must not come with somebody else's document."""
        for name in ("on", "servers", "credentials", "targets"):
            if getattr(settings, name):
                self.report(
                    f"`{name}` decides where requests or secrets go, and this file is neither in the working directory "
                    "nor above it: it may have come with the document",
                    (name,),
                    hint=f"if it is meant: --config {self.toml.label}",
                )

    # -- members ------------------------------------------------------------------------------------------------------

    def known(self, value: Mapping[str, Any], names: Sequence[str], at: tuple[str, ...]) -> None:
        """Report members that there are not."""
        for name in value:
            if name not in names:
                self.unknown(name, names, (*at, name), "there is no setting")

    def unknown(self, name: str, names: Collection[str], at: tuple[str, ...], what: str) -> None:
        """Report a name that there is not, with the one that may have been meant."""
        import difflib  # only on the way to a finding

        close = difflib.get_close_matches(name[:200], sorted(names), n=1, cutoff=0.6)
        others = f"there are {', '.join(names)}" if len(names) < 12 else "treadle check --list-rules shows all"
        self.report(f"{what} `{name}`", at, hint=f"did you mean `{close[0]}`?" if close else others)

    def table(self, value: Mapping[str, Any], at: tuple[str, ...]) -> Mapping[str, Any]:
        """Give a table, empty where there is none."""
        found: Any = value
        for name in at:
            found = found.get(name, {}) if isinstance(found, dict) else {}
        if isinstance(found, dict):
            return found
        self.report(f"`{at[-1]}` must be a table: [{'.'.join(at)}]", at)
        return {}

    def string(self, value: Mapping[str, Any], name: str, at: tuple[str, ...] = ()) -> str | None:
        """Give a text, None where there is none."""
        found = value.get(name)
        if found is None or (isinstance(found, str) and found):
            return found
        self.report(f"`{name}` must be a text", (*at, name))
        return None

    def strings(self, value: Mapping[str, Any], at: tuple[str, ...]) -> dict[str, str]:
        """Give a table of texts."""
        table = self.table(value, at)
        return {name: text for name in table if (text := self.string(table, name, at)) is not None}

    def texts(self, value: Mapping[str, Any], name: str, what: str) -> list[str]:
        """Give a list of texts."""
        found: Any = value.get(name, [])
        if isinstance(found, list) and all(isinstance(each, str) and each for each in found):
            return found
        self.report(f"`{name}` must be a list of {what}", (name,))
        return []

    def others(self, value: Mapping[str, Any]) -> Others:
        """Give which other documents are checked."""
        found: Any = value.get("others", "local")
        if found in get_args(Others):
            return found  # type: ignore[no-any-return]
        self.report(f"`others` is one of local, all, none, not {found!r}", ("others",))
        return "local"

    def seconds(self, value: Mapping[str, Any], name: str) -> float | None:
        """Give a number of seconds, None where there is none."""
        found = value.get(name)
        if found is None:
            return None
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < float("inf"):
            self.report(f"`{name}` must be a number of seconds", (name,))
            return None
        return float(found)

    def truth(self, value: Mapping[str, Any], name: str) -> bool:
        """Give true or false."""
        found = value.get(name, False)
        if not isinstance(found, bool):
            self.report(f"`{name}` must be true or false", (name,))
        return found is True

    def located(self, where: str) -> str:
        """Give a path relative to this file as an absolute one; URLs stay."""
        return where if "://" in where else str((self.base / Path(where).expanduser()).absolute())

    def credentials(self, value: Mapping[str, Any], at: tuple[str, ...]) -> dict[str, dict[str, str]]:
        """Give references to secrets by source and security scheme; a secret itself is refused, and not repeated."""
        found: dict[str, dict[str, str]] = {}
        for source in self.table(value, at):
            here = (*at, source)
            references = self.strings(value, here)
            for scheme, reference in references.items():
                if not _REFERENCE.match(reference):
                    message = f"the credential `{scheme}` must be a reference to a secret, not the secret itself"
                    hint = "write env:NAME for an environment variable, or file:PATH"
                    self.report(message, (*here, scheme), hint=hint, quiet=True)
            found[source] = {name: self.absolute(each) for name, each in references.items() if _REFERENCE.match(each)}
        return found

    def absolute(self, reference: str) -> str:
        """Give a reference with its path from the root, since a run may be resumed from anywhere."""
        kind, _, path = reference.partition(":")
        return f"file:{self.located(path)}" if kind == "file" else reference

    def target(self, value: Mapping[str, Any], name: str) -> TargetSettings:
        """Read a target."""
        at = ("targets", name)
        table = self.table(value, at)
        self.known(table, _OF_TARGETS, at)
        if name in {"local", "aws"}:
            self.report(f"`{name}` means something already, and cannot be the name of a target", at)
        return TargetSettings(
            self.string(table, "url", at),
            self.strings(value, (*at, "servers")),
            self.credentials(value, (*at, "credentials")),
        )

    def levels(self, value: Mapping[str, Any]) -> dict[str, str]:
        """Read `[rules]`."""
        levels = self.strings(value, ("rules",))
        for name, level in levels.items():
            if name not in self.known_rules:
                self.unknown(name, self.known_rules, ("rules", name), "there is no rule")
            elif level not in _LEVELS:
                quoted = ", ".join(f'"{each}"' for each in _LEVELS)
                self.report(f"the level of a rule is one of {quoted}, not {level!r}", ("rules", name))
        return levels

    def switches(self, value: Mapping[str, Any]) -> dict[str, bool]:
        """Read `[dialect]`."""
        table = self.table(value, ("dialect",))
        for name, switch in table.items():
            if name not in self.known_dialect:
                self.unknown(name, self.known_dialect, ("dialect", name), "there is no dialect rule")
            elif not isinstance(switch, bool):
                message = f"`{name}` must be true (taken as it is meant) or false (an error)"
                self.report(message, ("dialect", name))
        return {name: switch for name, switch in table.items() if isinstance(switch, bool)}

    # -- places -------------------------------------------------------------------------------------------------------

    def report(self, message: str, at: tuple[str, ...], *, hint: str = "", quiet: bool = False) -> None:
        """Keep a finding; `quiet` leaves the line itself out of it, since it holds a secret."""
        self.found.append(Diagnostic(_RULE, message, self.toml.place(at, quiet=quiet), hint=hint))
