"""`treadle file-systems`: directories that stand for EFS and FSx file systems."""

from __future__ import annotations

from pathlib import Path

import click

from treadle.cli.options import examples, json_option
from treadle.home import Home
from treadle.reporters.text import plain, table
from treadle.training.file_systems import FileSystems

__all__ = ["file_systems"]


def _registry() -> FileSystems:
    return FileSystems(Home.find().file_systems)


@click.group(
    "file-systems",
    epilog=examples("treadle file-systems add fs-0123456789abcdef0 /mnt/datasets", "treadle file-systems ls"),
)
def file_systems() -> None:
    """Let directories of this machine stand for the EFS and FSx file systems that jobs name as channels."""


@file_systems.command("add", epilog=examples("treadle file-systems add fs-0123456789abcdef0 /mnt/datasets"))
@click.argument("file_system_id", metavar="FILE_SYSTEM_ID")
@click.argument("directory", metavar="DIRECTORY", type=click.Path(path_type=Path))
def add(file_system_id: str, directory: Path) -> None:
    """Let a directory stand for a file system. It is not copied; a channel's DirectoryPath is below it."""
    Home.find().prepare()
    target = _registry().add(file_system_id, directory)
    click.echo(f"{file_system_id} is {plain(str(target))}")


@file_systems.command("ls")
@json_option
def ls(as_json: bool) -> None:
    """List the file systems and their directories."""
    found = _registry().all()
    if as_json:
        import msgspec  # what imports it has imported it already, but this is the only use here

        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    elif not found:
        click.echo("No file systems. `treadle file-systems add FILE_SYSTEM_ID DIRECTORY` adds one.", err=True)
    else:
        for line in table(("FILE SYSTEM", "DIRECTORY"), [(name, plain(where)) for name, where in found.items()]):
            click.echo(line)


@file_systems.command("rm")
@click.argument("file_system_ids", metavar="FILE_SYSTEM_ID...", nargs=-1, required=True)
def rm(file_system_ids: tuple[str, ...]) -> None:
    """Forget a file system. Its directory stays."""
    for each in file_system_ids:
        _registry().remove(each)
        click.echo(f"{each} is forgotten; its directory stays.")
