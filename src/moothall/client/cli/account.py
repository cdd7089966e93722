"""`register`, `login`, `logout`, `whoami`: the member at this machine."""

import click

from moothall.client.cli.ask import read_secret
from moothall.client.cli.derive import call
from moothall.client.cli.groups import LocalCommand
from moothall.client.cli.render import print_result, say
from moothall.client.cli.state import State, state_of
from moothall.client.errors import HallUnreachableError
from moothall.client.retry import Effect
from moothall.client.store import Session


def account_commands() -> list[click.Command]:
    """Return the commands."""
    return [
        LocalCommand(
            "register",
            params=[_name(), _stdin()],
            callback=_register,
            help="Make an account at the hall and sign in.",
        ),
        LocalCommand(
            "login",
            params=[_name(), _stdin()],
            callback=_login,
            help="Sign in. The session stays open until logout.",
        ),
        LocalCommand("logout", params=[], callback=_logout, help="End the session."),
        LocalCommand("whoami", params=[], callback=_whoami, help="Tell who is signed in."),
    ]


def _name() -> click.Argument:
    return click.Argument(["name"], help="Name of the member.")


def _stdin() -> click.Option:
    text = "Read the password from standard input, one line. Without this it is asked for."
    return click.Option(["--password-stdin"], is_flag=True, help=text)


def _register(*, name: str, password_stdin: bool) -> None:
    state = state_of(click.get_current_context())
    state.server()  # First: nobody should think of a password for nothing.
    password = read_secret("password", from_stdin=password_stdin, is_new=True)
    state.run(state.hall().register(name, password))
    _open(state, name, password)


def _login(*, name: str, password_stdin: bool) -> None:
    state = state_of(click.get_current_context())
    state.server()
    _open(state, name, read_secret("password", from_stdin=password_stdin))


def _open(state: State, name: str, password: str) -> None:
    session = state.run(state.hall().sign_in(name, password))
    _print_session(state, session)


def _print_session(state: State, session: Session) -> None:
    server, data = state.server()
    if state.settings.json:
        shown = {
            "name": session.name,
            "member_id": session.member_id,
            "session_id": session.session_id,
            "server": server,
            "url": data.url,
        }
        print_result(shown, as_json=True)
    else:
        say(f"signed in to {server} as {session.name}")


def _logout() -> None:
    state = state_of(click.get_current_context())
    server, _ = state.server()
    hall = state.hall()
    if hall.session is None:
        say(f"nobody is signed in to {server}")
        return
    name = hall.session.name
    try:
        state.run(hall.sign_out())
    except HallUnreachableError as error:
        say(f"{name} is signed out here; {server} was not told: {error}")
        raise
    if state.settings.json:
        print_result({"name": name, "server": server}, as_json=True)
    else:
        say(f"signed out from {server}")


def _whoami() -> None:
    state = state_of(click.get_current_context())
    result = call(state, "identity.get_self", {}, effect=Effect.READ)
    print_result(result, as_json=state.settings.json)
