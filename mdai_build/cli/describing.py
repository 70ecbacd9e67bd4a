"""The commands `schema` and `completion`: what editors, other programs and shells are told of this one."""

from __future__ import annotations

import difflib

import click
from click.shell_completion import ShellComplete, get_completion_class

from mdai_build.cli.completing import schema_names

COMPLETE_VARIABLE = "_MDAI_BUILD_COMPLETE"
"""By this variable of the environment a shell asks for completions."""


@click.command("schema")
@click.argument("name", required=False, shell_complete=schema_names)
def schema_command(name: str | None) -> None:
    """Print a JSON schema: of config.yaml, smoke.yaml, or what a command prints with --json. Without NAME, list them.

    For an editor: mdai-build schema config > config.schema.json
    """
    from mdai_build.report.schemas import NAMES, schema_text

    if name is None:
        click.echo("\n".join(NAMES))
        return
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        meant = f"Did you mean {near[0]!r}?" if near else "`mdai-build schema` lists them."
        raise click.BadParameter(f"there is no schema {name!r}. {meant}", param_hint="NAME")
    click.echo(schema_text(name), nl=False)


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(context: click.Context, shell: str) -> None:
    """Print a script that teaches a shell to complete this command.

    \b
    bash, in ~/.bashrc:  eval "$(mdai-build completion bash)"
    zsh, in ~/.zshrc:    eval "$(mdai-build completion zsh)"
    fish:  mdai-build completion fish > ~/.config/fish/completions/mdai-build.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None  # click knows these three
    made = kind(context.find_root().command, {}, "mdai-build", COMPLETE_VARIABLE)
    # Not the method of bash's own class, which starts a bash to ask for its version.
    click.echo(ShellComplete.source(made))
