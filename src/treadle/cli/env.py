"""`treadle env`: what a shell must export so that boto3, the AWS CLI and the SDKs talk to the training service.

The SageMaker SDKs look their default bucket up, and report how they are used, at addresses that no setting of AWS
changes. Both can be settled in a configuration file. It is named as the administrator's, so that the user's own counts
more.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from treadle.cli import local
from treadle.cli.options import examples, json_option
from treadle.errors import UsageError
from treadle.home import Endpoint, Home, write_whole

__all__ = ["NAMES", "env"]

NAMES: Final = (
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
)
_SDK: Final = "SAGEMAKER_ADMIN_CONFIG_OVERRIDE"
_SDK_FILE: Final = "sagemaker-sdk.yaml"
_SDK_SETTINGS: Final = """\
SchemaVersion: '1.0'
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
      Session:
        DefaultS3Bucket: sagemaker-{region}-{account}
"""
# A session token left over from real AWS would be sent along, and refused.
_UNWANTED: Final = "AWS_SESSION_TOKEN"


def _checked_profile(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if value and not re.fullmatch(r"[A-Za-z0-9_.@+-]+", value):
        raise click.BadParameter(f"'{value}' cannot be the name of a profile.")
    return value


@click.command(
    epilog=examples(
        'eval "$(treadle env)"                  # bash, zsh',
        "treadle env --shell fish | source      # fish",
        'eval "$(treadle env --unset)"          # back to AWS',
        "treadle env --profile treadle >> ~/.aws/config    # aws --profile treadle …",
    )
)
@click.option(
    "--shell",
    type=click.Choice(["sh", "fish"]),
    default="sh",
    show_default=True,
    help="The shell that reads it; sh is right for bash and zsh.",
)
@click.option(
    "--profile",
    metavar="NAME",
    default="",
    callback=_checked_profile,
    help="Print a profile for ~/.aws/config instead: the shell and its other profiles stay with AWS.",
)
@click.option("--unset", is_flag=True, help="Print what takes the settings back.")
@json_option
def env(shell: str, profile: str, unset: bool, as_json: bool) -> None:
    """Print settings that point boto3, the AWS CLI and the SageMaker SDK at the training service.

    The service is started in the background when it does not run, and stays until treadle serve --stop.
    """
    if profile:
        if unset or as_json:
            raise click.UsageError("--profile stands alone.")
        click.echo("\n".join(_profile(profile)))
        return
    if unset:
        ours = (_SDK,) if _sdk_is_ours() else ()
        click.echo("\n".join(_unset(shell, name) for name in (*NAMES, *ours, _UNWANTED)))
        return
    settings = _settings()
    if as_json:
        click.echo(json.dumps(settings, indent=2))
        return
    for line in (_unset(shell, _UNWANTED), *(_set(shell, name, value) for name, value in settings.items())):
        click.echo(line)
    click.echo(f"# Take it back with:  {_undo(shell)}")
    click.echo("# The service stays until:  treadle serve --stop")


def _profile(name: str) -> list[str]:
    """Give a section of AWS's configuration file. Clients read its `endpoint_url` since the middle of 2023.

    An empty line comes first: the last one of the file may have no end. Raises `UsageError`.
    """
    heading = "[default]" if name == "default" else f"[profile {name}]"
    _check_not_there(heading)
    endpoint = local.stay()
    key, secret = Home.find().credentials()
    return [
        "",
        heading,
        f"region = {endpoint.region}",
        f"endpoint_url = {endpoint.url}",
        f"aws_access_key_id = {key}",
        f"aws_secret_access_key = {secret}",
    ]


def _check_not_there(heading: str) -> None:
    """Refuse a section that AWS's configuration file has already: with two of a name its clients read nothing of it."""
    path = Path(os.environ.get("AWS_CONFIG_FILE") or "~/.aws/config").expanduser()
    with contextlib.suppress(OSError):
        if heading in (line.strip() for line in path.read_text(errors="replace").splitlines()):
            raise UsageError(f"{path} has {heading} already.", hint="Take that out first, or choose another name.")


def _settings() -> Mapping[str, str]:
    endpoint = local.stay()
    key, secret = Home.find().credentials()
    values = (endpoint.url, key, secret, endpoint.region, endpoint.region)
    return dict(zip(NAMES, values, strict=True)) | _sdk(endpoint)


def _sdk(endpoint: Endpoint) -> dict[str, str]:
    """Write the SDKs' configuration, and give the variable that names it; none where it names another one already."""
    if os.environ.get(_SDK) and not _sdk_is_ours():
        return {}
    path = Home.find().root / _SDK_FILE
    write_whole(path, _SDK_SETTINGS.format(region=endpoint.region, account=endpoint.account).encode())
    return {_SDK: str(path)}


def _sdk_is_ours() -> bool:
    return os.environ.get(_SDK) == str(Home.find().root / _SDK_FILE)


def _set(shell: str, name: str, value: str) -> str:
    return f"set -gx {name} {shlex.quote(value)};" if shell == "fish" else f"export {name}={shlex.quote(value)}"


def _unset(shell: str, name: str) -> str:
    return f"set -e {name};" if shell == "fish" else f"unset {name}"


def _undo(shell: str) -> str:
    return "treadle env --shell fish --unset | source" if shell == "fish" else 'eval "$(treadle env --unset)"'
