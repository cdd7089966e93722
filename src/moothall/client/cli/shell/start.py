"""The first screen: which hall, who is signed in, and where one can go. It needs no network."""

from dataclasses import dataclass

from moothall.client.cli.shell.account import AccountPlace, recover, register, sign_in, sign_out
from moothall.client.cli.shell.boards import BoardsPlace
from moothall.client.cli.shell.engine import Shell
from moothall.client.cli.shell.members import MembersPlace
from moothall.client.cli.shell.menu import Choice, Screen, facts
from moothall.client.cli.shell.servers import ServersPlace, add_server
from moothall.client.errors import WalletError


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is known before anything is asked of a hall.

    Attributes:
        is_first: Whether the wallet knows no server at all.
        server: Name of the current one; '' where there is none.
        url: Its address.
        name: Who is signed in there; '' for nobody.
        identity: Name of the server whose session is used there, if it is another one.
    """

    is_first: bool = False
    server: str = ""
    url: str = ""
    name: str = ""
    identity: str = ""


def start_screen(arrival: Arrival) -> Screen:
    """Return the first screen."""
    has_server, is_in = bool(arrival.server), bool(arrival.name)
    where = f"{arrival.server} ({arrival.url})" if has_server else "choose one"
    lines = facts(
        (
            ("Server", "none yet: add one" if arrival.is_first else where),
            ("Session of", arrival.identity),
            ("Signed in as", (arrival.name or "nobody") if has_server else ""),
        )
    )
    return Screen(
        "Moothall",
        tuple(lines),
        (
            Choice("l", "boards", "leaderboards", lambda _: BoardsPlace(), is_in),
            Choice("m", "members", "members", lambda _: MembersPlace(), is_in),
            Choice("a", "account", "your account", lambda _: AccountPlace(), is_in),
            Choice(
                "i",
                "login",
                "sign in",
                sign_in,
                has_server and not is_in,
                help="with name and password; an open hall offers an account to whoever is new",
            ),
            Choice("g", "register", "register", register, has_server and not is_in),
            Choice(
                "f",
                "forgot",
                "forgotten password",
                recover,
                has_server and not is_in,
                help="a new one, with a code that is sent, or of an administrator",
            ),
            Choice("o", "logout", "sign out", sign_out, is_in),
            Choice(
                "s",
                "servers",
                "servers",
                lambda _: ServersPlace(),
                not arrival.is_first,
                help="choose, add, change and forget servers",
            ),
            Choice("s", "add", "add a server", add_server, arrival.is_first),
        ),
    )


class StartPlace:
    """Where the shell begins."""

    title = "Moothall"

    def look(self, shell: Shell) -> Screen:
        """Return the first screen."""
        return start_screen(_arrive(shell))


def _arrive(shell: Shell) -> Arrival:
    if not shell.state.wallet.read().servers:
        return Arrival(is_first=True)
    try:
        name, server = shell.state.server()
    except WalletError:
        return Arrival()  # There is none of that name, or no more.
    return Arrival(
        server=name,
        url=server.url,
        name=shell.signed_in_as(),
        identity=server.identity or "",
    )
