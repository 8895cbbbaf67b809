"""``candleactors completion``: scripts for the shells."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that completes candleactors in SHELL.

    \b
      bash   eval "$(candleactors completion bash)"           in ~/.bashrc
      zsh    eval "$(candleactors completion zsh)"            in ~/.zshrc
      fish   candleactors completion fish > ~/.config/fish/completions/candleactors.fish
    """
    found = get_completion_class(shell)
    assert found is not None, shell
    root = click.get_current_context().find_root().command
    click.echo(found(root, {}, "candleactors", "_CANDLEACTORS_COMPLETE").source())
