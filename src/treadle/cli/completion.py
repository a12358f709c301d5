"""`treadle completion`: shells complete commands, options and files."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]


@click.command(
    epilog="""\b
Examples:
  treadle completion bash >> ~/.bashrc
  treadle completion zsh > "${fpath[1]}/_treadle"
  treadle completion fish > ~/.config/fish/completions/treadle.fish
"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that lets SHELL complete treadle's commands, options and files."""
    maker = get_completion_class(shell)
    if maker is None:  # pragma: no cover  (click knows all three)
        raise click.UsageError(f"{shell} is not known")
    root = context.find_root()
    click.echo(maker(root.command, {}, "treadle", "_TREADLE_COMPLETE").source())
