"""Asking a person: for secrets without echo, and whether they mean it.

A secret is never an argument or in the environment, where other programs could read it.
It comes from the terminal, or from standard input where that is asked for.
"""

import getpass
import sys

import click

from moothall.client.cli.render import say
from moothall.client.cli.state import State, is_interactive

_SECRET_LENGTH_MAX = 4_096


def read_secret(name: str, *, from_stdin: bool, is_new: bool = False) -> str:
    """Return a secret.

    Args:
        name: What it is, in words.
        from_stdin: Take one line of standard input.
        is_new: Ask twice, because nobody can see a typing error.

    Raises:
        UsageError: There is no terminal to ask at, it is empty, or the two differ.
    """
    if from_stdin:
        secret = sys.stdin.readline(_SECRET_LENGTH_MAX).removesuffix("\n").removesuffix("\r")
    else:
        secret = _ask_secret(name)
        if is_new and _ask_secret(f"{name} again") != secret:
            raise click.UsageError("the two differ; nothing was done")
    if not secret:
        raise click.UsageError(f"the {name} is empty")
    return secret


def _ask_secret(name: str) -> str:
    if not is_interactive():
        raise click.UsageError(
            f"there is no terminal to ask for the {name}; give it on standard input"
            f" with --{name.replace(' ', '-')}-stdin"
        )
    try:
        return getpass.getpass(f"{name.capitalize()}: ", stream=None)
    except EOFError:
        raise click.Abort from None


def confirm(state: State, question: str) -> None:
    """Ask whether to go on; ``--yes`` answers it.

    Raises:
        UsageError: There is nobody to ask.
        Abort: The answer is no.
    """
    if state.settings.yes:
        return
    if not is_interactive():
        raise click.UsageError(f"{question} Nobody can be asked; say --yes to go on")
    if not click.confirm(question, err=True):
        say("nothing was done")
        raise click.Abort
