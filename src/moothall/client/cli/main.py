"""The program: its commands, and the way from an error to an exit code."""

import contextlib
import os
import sys
from collections.abc import Sequence

import click

from moothall import __version__
from moothall.client.cli.account import account_commands
from moothall.client.cli.audit import audit_group
from moothall.client.cli.credentials import credentials_group
from moothall.client.cli.entries import entry_group
from moothall.client.cli.exits import FAILED, INTERRUPTED, OK, USAGE, exit_code
from moothall.client.cli.export import account_group, member_group
from moothall.client.cli.failures import tell, tell_usage
from moothall.client.cli.follow import feed_group
from moothall.client.cli.groups import Root
from moothall.client.cli.proofs import proof_group
from moothall.client.cli.raw import call_command
from moothall.client.cli.render import say
from moothall.client.cli.servers import server_group
from moothall.client.cli.settings import add_global_options, scan
from moothall.client.cli.shell import shell_command
from moothall.client.cli.state import State
from moothall.client.errors import ClientError
from moothall.client.world import World
from moothall.core.errors import MoothallError


def build_cli() -> click.Group:
    """Return the program's commands; the caller may add more."""
    version = click.Option(
        ["--version"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_print_version,
        help="Print the version.",
    )
    root = Root(
        "moothall",
        params=add_global_options([version], is_shown=True),
        help="A house for a community: people, messages, leaderboards, records, accounts.",
        epilog="These options may stand before or after the words of every command.",
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    groups = (
        server_group(),
        entry_group(),
        audit_group(),
        account_group(),
        member_group(),
        credentials_group(),
        feed_group(),
        proof_group(),
    )
    for command in (*account_commands(), call_command(), shell_command(), *groups):
        root.add_command(command)
    return root


def run(
    argv: Sequence[str] | None = None,
    *,
    cli: click.Group | None = None,
    world: World | None = None,
) -> int:
    """Carry out one command line and return its exit code.

    Args:
        argv: Words after the program's name; those of this process by default.
        cli: The commands; those of :func:`build_cli` by default.
        world: Time, chance and network; tests bring their own.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    state = State(scan(words), world)
    try:
        code = _carry_out(cli or build_cli(), words, state)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    finally:
        with contextlib.suppress(ClientError):
            state.close()


def _carry_out(cli: click.Group, words: list[str], state: State) -> int:
    try:
        result = cli.main(args=words, prog_name="moothall", standalone_mode=False, obj=state)
    except click.Abort:
        say("stopped; nothing more was done")
        return INTERRUPTED
    except click.ClickException as error:
        tell_usage(error, as_json=state.settings.json)
        return USAGE
    except ClientError as error:
        tell(error, as_json=state.settings.json)
        return exit_code(error)
    except MoothallError as error:
        say(f"moothall: {error}")
        return FAILED
    return result if isinstance(result, int) else OK


def _print_version(context: click.Context, _param: click.Parameter, value: object) -> None:
    if value:
        click.echo(f"moothall {__version__}")
        context.exit()
