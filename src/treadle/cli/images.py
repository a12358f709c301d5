"""`treadle images`: directories registered as training images."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from treadle.cli.options import examples, json_option
from treadle.errors import LaunchError
from treadle.home import Home
from treadle.reporters.text import plain, table
from treadle.training.image_toml import LocalImage
from treadle.training.images import ImageRegistry

__all__ = ["images"]


def _registry() -> ImageRegistry:
    return ImageRegistry(Home.find().images_file)


def _runs(image: LocalImage) -> str:
    """Say what an image runs; "" when that is not known, because there is something wrong with it."""
    command = plain(shlex.join(image.command))
    if not image.script_mode:
        return command
    return f"the scripts of its jobs with {command or 'the Python of Treadle'}"


@click.group(epilog=examples("treadle images add ./my-image", "treadle images ls", "treadle images rm my-image"))
def images() -> None:
    """Register local training images: directories with an image.toml (name, command, environment)."""


@images.command("add", epilog=examples("treadle images add examples/sagemaker/image"))
@click.argument("directories", metavar="DIRECTORY...", nargs=-1, required=True, type=click.Path(path_type=Path))
def add(directories: tuple[Path, ...]) -> None:
    """Register the image in a directory. The directory is not copied: changes to it hold from the next job on."""
    Home.find().prepare()
    for directory in directories:
        image = _registry().add(directory)
        click.echo(f"{image.name} runs {_runs(image)} in {plain(image.directory)}")


@images.command("ls")
@json_option
def ls(as_json: bool) -> None:
    """List the registered images."""
    found = _registry().list()
    if as_json:
        import msgspec  # what imports it has imported it already, but this is the only use here

        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    elif not found:
        click.echo("No images. `treadle images add DIRECTORY` registers one.", err=True)
    else:
        rows = [(each.name, _runs(each) or "-", plain(each.directory)) for each in found]
        for line in table(("NAME", "COMMAND", "DIRECTORY"), rows):
            click.echo(line)
        for each in found:
            if each.problem:
                click.echo(f"warning: {each.problem}", err=True)
    if not as_json:
        click.echo(_others(), err=True)


def _others() -> str:
    """Say what becomes of other names."""
    from treadle.launchers.engine import Engine  # only `ls` asks for one

    try:
        return f"Other names are images for {Engine.find().name}."
    except LaunchError:
        return (
            "Other images need Docker or Podman, and neither answers; scripts for AWS's images of frameworks run with "
            "Treadle's own Python."
        )


@images.command("rm")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def rm(names: tuple[str, ...]) -> None:
    """Forget a registered image. Its directory stays."""
    for name in names:
        _registry().remove(name)
        click.echo(f"{name} is forgotten; its directory stays.")
