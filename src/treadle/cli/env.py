"""`treadle env`: what a shell must export so that boto3 and the AWS CLI talk to the training service."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Final

import click

from treadle.cli import local
from treadle.cli.options import examples, json_option
from treadle.home import Home

__all__ = ["NAMES", "env"]

NAMES: Final = (
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
)
# A session token left over from real AWS would be sent along, and refused.
_UNWANTED: Final = "AWS_SESSION_TOKEN"


@click.command(
    epilog=examples(
        'eval "$(treadle env)"                  # bash, zsh',
        "treadle env --shell fish | source      # fish",
        'eval "$(treadle env --unset)"          # back to AWS',
    )
)
@click.option(
    "--shell",
    type=click.Choice(["sh", "fish"]),
    default="sh",
    show_default=True,
    help="The shell that reads it; sh is right for bash and zsh.",
)
@click.option("--unset", is_flag=True, help="Print what takes the settings back.")
@json_option
def env(shell: str, unset: bool, as_json: bool) -> None:
    """Print settings that point boto3, the AWS CLI and the SageMaker SDK at the training service.

    The service is started in the background when it does not run, and stays until treadle serve --stop.
    """
    if unset:
        click.echo("\n".join(_unset(shell, name) for name in (*NAMES, _UNWANTED)))
        return
    settings = _settings()
    if as_json:
        click.echo(json.dumps(settings, indent=2))
        return
    for line in (_unset(shell, _UNWANTED), *(_set(shell, name, value) for name, value in settings.items())):
        click.echo(line)
    click.echo(f"# Take it back with:  {_undo(shell)}")
    click.echo("# The service stays until:  treadle serve --stop")


def _settings() -> Mapping[str, str]:
    endpoint = local.stay()
    key, secret = Home.find().credentials()
    values = (endpoint.url, key, secret, endpoint.region, endpoint.region)
    return dict(zip(NAMES, values, strict=True))


def _set(shell: str, name: str, value: str) -> str:
    return f"set -gx {name} {shlex.quote(value)};" if shell == "fish" else f"export {name}={shlex.quote(value)}"


def _unset(shell: str, name: str) -> str:
    return f"set -e {name};" if shell == "fish" else f"unset {name}"


def _undo(shell: str) -> str:
    return "treadle env --shell fish --unset | source" if shell == "fish" else 'eval "$(treadle env --unset)"'
