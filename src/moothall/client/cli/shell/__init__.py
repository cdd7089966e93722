"""`moothall shell`: the menus that a person expects, from the first contact with a hall on.

How it is made, and the rules for whoever edits it:

- A menu is data. A :class:`~.menu.Screen` has a title, lines, and choices; a choice has a letter
  or a number, a word, what it does, and whether it is offered now. Screens are made by pure
  functions from what was loaded: by level and permission, so that only what may be done is offered.
- A :class:`~.engine.Place` loads what it shows and makes the screen of it. Places lie on a stack:
  going in puts one on it, `b` takes one off.
- The engine reads a choice by letter, number or word, in either case: `b` back, `q` quit, `?` help,
  `r` refresh, `n` and `p` for pages; an empty line shows the screen again. Ctrl-C goes back and
  asks at the top whether to quit; Ctrl-D quits.
- A call that fails, whatever the reason, is told with its remedy as every command tells it, and
  the person stays where they were. A hall that dies and comes back costs nothing but an `r`.
- No deed is done here: a deed is one call of an action, or a command of the program (such as
  `server add`) with words that a form asked for. What is refused is refused by the hall.
- Forms show a summary before they send, dangerous deeds ask, and `--yes` does not answer here.
- A list is loaded by the page; what comes from others passes :mod:`..text`; a secret is typed
  without echo and never shown.
- Plain lines of at most 78 columns, no colours, nothing drawn twice: for screen readers and pipes.
- All lines that are typed pass one buffer (:mod:`.keyboard`), because who reads a line owns it.
"""

import sys

import click

from moothall.client.cli.groups import LocalCommand
from moothall.client.cli.state import state_of

_HELP = """Do everything by menus: servers, signing in, boards, scores, proofs, members.

Each screen lists what may be done there. ? explains it, b goes back, q quits.
"""


def shell_command() -> click.Command:
    """Return the command."""
    return LocalCommand("shell", params=[], callback=_run, help=_HELP)


def _run() -> int:
    # Only the shell needs its screens; every other command starts without them.
    from moothall.client.cli.shell.engine import Shell  # noqa: PLC0415
    from moothall.client.cli.shell.start import StartPlace  # noqa: PLC0415

    context = click.get_current_context()
    state = state_of(context)
    if state.settings.json:
        raise click.UsageError("the shell is for people; every command of it takes --json itself")
    root = context.find_root().command
    with Shell(state, root, sys.stdin) as shell:
        return shell.run(StartPlace())
