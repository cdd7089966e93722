"""`register`, `login`, `logout`, `whoami`: the member at this machine."""

from collections.abc import Coroutine
from typing import Any

import click

from moothall.client.cli.ask import confirm, read_secret
from moothall.client.cli.groups import LocalCommand
from moothall.client.cli.render import print_result, say
from moothall.client.cli.state import State, is_interactive, state_of
from moothall.client.cli.text import neutralise
from moothall.client.device import LABEL_LENGTH_MAX, describe_device, is_device_label
from moothall.client.errors import CallError, ClientError, HallUnreachableError
from moothall.client.retry import Effect
from moothall.client.store import Session
from moothall.client.wallet.secrets import VARIABLE, Place

_HOW_TO_JOIN = {
    "open": "moothall register NAME",
    "invite": "moothall register NAME --invitation (accounts are made by invitation)",
    "contact": "moothall register NAME --contact ADDRESS (accounts need a verified address)",
    "closed": "ask an administrator of the hall to add you",
}


def account_commands() -> list[click.Command]:
    """Return the commands."""
    return [
        LocalCommand(
            "register",
            params=[_name(), _invitation(), _contact(), _device(), _stdin()],
            callback=_register,
            help="Make an account at the hall and sign in. Asks for what the hall needs.",
        ),
        LocalCommand(
            "login",
            params=[_name(is_required=False), _guest(), _device(), _stdin()],
            callback=_login,
            help="Sign in. The session stays open until logout. An open hall offers an account"
            " to whoever it does not know.",
        ),
        LocalCommand("logout", params=[], callback=_logout, help="End the session."),
        LocalCommand("whoami", params=[], callback=_whoami, help="Tell who is signed in."),
    ]


def _name(*, is_required: bool = True) -> click.Argument:
    return click.Argument(["name"], required=is_required, help="Name of the member.")


def _stdin() -> click.Option:
    text = (
        "Read the password from standard input, one line; in lines before it an invitation, or"
        " the code that was sent to a contact. Without this they are asked for."
    )
    return click.Option(["--password-stdin"], is_flag=True, help=text)


def _invitation() -> click.Option:
    text = "Ask for the code of an invitation, also where the hall does not."
    return click.Option(["--invitation"], is_flag=True, help=text)


def _contact() -> click.Option:
    text = "E-mail address or phone number; a code is sent there and asked for."
    return click.Option(["--contact"], metavar="ADDRESS", default="", help=text)


def _guest() -> click.Option:
    text = "Come in without name and password, if the hall has guests."
    return click.Option(["--guest"], is_flag=True, help=text)


def _device() -> click.Option:
    text = (
        "What this machine is called in `moothall session list`, at most"
        f" {LABEL_LENGTH_MAX} characters; empty: nothing.  [default: its name and system]"
    )
    return click.Option(
        ["--device"], metavar="LABEL", default=None, callback=_choose_device, help=text
    )


def _choose_device(_context: click.Context, _option: click.Parameter, label: str | None) -> str:
    """Return the label for a new session; refuse one before anything is asked for."""
    if label is None:
        return describe_device()
    if not is_device_label(label):
        raise click.BadParameter(
            f"a label has at most {LABEL_LENGTH_MAX} printable characters, on one line"
        )
    return label


def _register(
    *, name: str, invitation: bool, contact: str, device: str, password_stdin: bool
) -> None:
    state = state_of(click.get_current_context())
    _check_place(state)
    needed = state.run(state.identity_hall().get_registration(name))
    if needed["is_name_free"] is False or needed["mode"] == "closed":
        # The hall says why, before anybody thinks of a password or looks for a code.
        state.run(state.identity_hall().register(name, "-"))
    needs = {*needed["needs"], *(["invitation"] if invitation else [])}
    proofs = _read_proofs(state, needs, contact, from_stdin=password_stdin)
    _join(state, name, proofs, device, from_stdin=password_stdin)


def _read_proofs(
    state: State, needs: set[str], contact: str, *, from_stdin: bool
) -> dict[str, str]:
    """Return what the hall asks a newcomer for, besides name and password."""
    is_more = bool(contact or needs)
    if is_more and not from_stdin and not is_interactive():
        raise click.UsageError(
            "there is no terminal to ask at; give invitation or code, and then the password, on"
            " standard input with --password-stdin, each in a line"
        )
    proofs = {}
    if "invitation" in needs:
        proofs["invitation"] = read_secret("invitation", from_stdin=from_stdin)
    if "contact" in needs and not contact:
        if from_stdin:
            raise click.UsageError("this hall asks for a contact: --contact ADDRESS")
        contact = click.prompt("E-mail address or phone number", err=True)
    if contact:
        if not from_stdin:
            sent = state.run(state.identity_hall().request_contact(contact))
            say(f"a message was sent to {sent['contact']}")
        proofs |= {"contact": contact, "code": read_secret("code", from_stdin=from_stdin)}
    return proofs


def _join(
    state: State, name: str, proofs: dict[str, str], device: str, *, from_stdin: bool
) -> None:
    """Make the account and sign in."""
    password = read_secret("password", from_stdin=from_stdin, is_new=True)
    state.run(state.identity_hall().register(name, password, **proofs))
    _open(state, name, password, device)


def _login(*, name: str | None, guest: bool, device: str, password_stdin: bool) -> None:
    state = state_of(click.get_current_context())
    server = _check_place(state)
    if guest == (name is not None):
        raise click.UsageError("give a name, or --guest")
    if name is None:
        _sign_in(state, state.identity_hall().sign_in_guest(device=device))
        return
    may_ask = is_interactive() and not password_stdin
    if (may_ask or state.settings.yes) and _is_free(state, name):
        confirm(state, f"{server} has no member {neutralise(name)}. Make an account?")
        _join(state, name, {}, device, from_stdin=password_stdin)
        return
    password = read_secret("password", from_stdin=password_stdin)
    try:
        _open(state, name, password, device)
    except CallError as error:
        if error.error_name == "wrong_credentials" and not error.remedy:
            error.remedy = _how_to_join(state)
        raise


def _is_free(state: State, name: str) -> bool:
    """Tell whether an open hall would make an account of this name."""
    try:
        return state.run(state.identity_hall().get_registration(name))["is_name_free"] is True
    except CallError:
        return False  # nobody can have it; signing in will tell


def _how_to_join(state: State) -> str:
    """Return how whoever may be new here gets an account, or ''."""
    try:
        mode = state.run(state.identity_hall().get_registration())["mode"]
    except ClientError:
        return ""
    return f"or, if you are new here: {_HOW_TO_JOIN[mode]}"


def _open(state: State, name: str, password: str, device: str) -> None:
    _sign_in(state, state.identity_hall().sign_in(name, password, device=device))


def _sign_in(state: State, deed: Coroutine[Any, Any, Session]) -> None:
    is_first = state.wallet.sessions.is_new
    _print_session(state, state.run(deed))
    if is_first and not state.settings.json:
        _tell_where_it_rests(state)


def _check_place(state: State) -> str:
    """Return where a session would be opened; nobody should think of a password for nothing.

    Raises:
        WalletError: It could not be kept.
    """
    name, _ = state.identity_server()
    state.wallet.vault.check()
    state.wallet.sessions.read()
    return name


def _describe_place(state: State) -> str:
    """Return where sessions are opened, and for which server, if that is another one."""
    identity, name = state.identity_server()[0], state.server()[0]
    return identity if identity == name else f"{identity}, the identity server of {name}"


def _print_session(state: State, session: Session) -> None:
    server, data = state.identity_server()
    if state.settings.prints_data:
        shown = {
            "name": session.name,
            "member_id": session.member_id,
            "session_id": session.session_id,
            "server": server,
            "url": data.url,
        }
        print_result(shown, state.settings)
    else:
        say(f"signed in to {_describe_place(state)} as {session.name}")


def _tell_where_it_rests(state: State) -> None:
    """Say that the session rests in a file, where nobody chose that."""
    if state.wallet.vault.place is Place.AUTO and not state.wallet.sessions.read().keyring:
        say(
            f"no keyring works here: the session is kept in {state.wallet.folder}, which only you"
            f" can read ({VARIABLE}=file says that this is meant)"
        )


def _logout() -> None:
    state = state_of(click.get_current_context())
    server = _describe_place(state)
    hall = state.identity_hall()
    if hall.session is None:
        say(f"nobody is signed in to {server}")
        return
    name = hall.session.name
    try:
        state.run(hall.sign_out())
    except HallUnreachableError as error:
        say(f"{name} is signed out here; {server} was not told: {error}")
        raise
    if state.settings.prints_data:
        print_result({"name": name, "server": state.identity_server()[0]}, state.settings)
    else:
        say(f"signed out from {server}")


def _whoami() -> None:
    state = state_of(click.get_current_context())
    hall = state.identity_hall()
    if state.server() != state.identity_server() and not state.settings.json:
        say(f"at {_describe_place(state)}:")
    result = state.run(hall.call("identity.get_self", {}, effect=Effect.READ))
    print_result(result, state.settings)
