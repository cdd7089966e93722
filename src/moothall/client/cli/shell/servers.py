"""The halls that this machine knows: choosing, adding, changing and forgetting them."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from moothall.client.cli.shell.engine import Place, Shell
from moothall.client.cli.shell.menu import Choice, Screen, Step, facts, table
from moothall.client.cli.shell.pages import PAGE_ROWS, OffsetPages, number_rows
from moothall.client.wallet import Server

_PLAIN = ("http://", "ws://", "ndjson+plain://")


def servers_screen(servers: Mapping[str, Server], current: str, pages: OffsetPages) -> Screen:
    """Return a page of the known servers, with where their sessions are opened."""
    names = list(servers)[pages.offset : pages.offset + PAGE_ROWS]
    rows = [
        (
            str(at),
            "*" if name == current else "",
            name,
            servers[name].url,
            servers[name].identity or "itself",
        )
        for at, name in enumerate(names, start=pages.offset + 1)
    ]
    numbers = number_rows([partial(_enter, name=name) for name in names], pages.offset)
    return Screen(
        "Servers",
        (*table(("no", "", "name", "address", "session of"), rows), "", "* is the current one."),
        (*numbers, Choice("a", "add", "add a server", add_server), *pages.choices()),
        rows="one server",
    )


class ServersPlace:
    """All servers of the wallet."""

    title = "Servers"

    def __init__(self) -> None:
        self._pages = OffsetPages()

    def look(self, shell: Shell) -> Screen:
        """Read the wallet."""
        known = shell.state.wallet.read()
        self._pages.note(len(known.servers))
        return servers_screen(known.servers, current_name(shell), self._pages)


def server_screen(name: str, server: Server, *, is_current: bool, name_in: str) -> Screen:
    """Return the screen of one server.

    Args:
        name: Its name here.
        server: What the wallet knows of it.
        is_current: Whether it is the one spoken to.
        name_in: Who is signed in there; '' for nobody.
    """
    is_resource = server.identity is not None
    lines = facts(
        (
            ("Address", server.url),
            ("Known by", server.as_trust().fingerprint or server.trust),
            ("Session of", server.identity or "itself"),
            ("Signed in as", name_in or "nobody"),
            ("Current", "yes" if is_current else "no"),
        )
    )
    return Screen(
        f"Server {name}",
        tuple(lines),
        (
            Choice(
                "u",
                "use",
                "use this server",
                partial(_use, name=name),
                not is_current,
                help="speak to this one from now on, in the shell and outside",
            ),
            Choice("e", "rename", "give it another name here", partial(_rename, name=name)),
            Choice("a", "address", "change its address", partial(_move, name=name)),
            Choice(
                "c",
                "certificate",
                "trust another certificate",
                partial(_pin, name=name),
                help="by the fingerprint that its operator tells you",
            ),
            Choice(
                "i",
                "identity",
                "use another session",
                partial(_tie, name=name),
                is_resource,
                help="another identity server whose tokens it takes: another account",
            ),
            Choice(
                "d",
                "remove",
                "forget it",
                partial(_remove, name=name),
                help="and the session there; on the server nothing is removed",
            ),
        ),
    )


class ServerPlace:
    """One server of the wallet."""

    def __init__(self, name: str) -> None:
        self.title = f"Server {name}"
        self._name = name

    def look(self, shell: Shell) -> Screen:
        """Read what the wallet knows of it."""
        wallet = shell.state.wallet
        _, server = wallet.get_server(self._name)
        session = wallet.load_session(wallet.identity_of(self._name)[0])
        return server_screen(
            self._name,
            server,
            is_current=self._name == current_name(shell),
            name_in="" if session is None else session.name,
        )


def current_name(shell: Shell) -> str:
    """Return the name of the server that is spoken to, or ''."""
    return shell.state.settings.server or shell.state.wallet.read().current or ""


def add_server(shell: Shell) -> Place | Step:
    """Add a server, as `moothall server add` does, and speak to it from now on."""
    name = shell.ask("Name of the server, as you like to call it")
    url = shell.ask("Address, such as https://hall.example:8443") if name else ""
    if not url:
        return Step.KEEP
    shown = shell.ask("Fingerprint of its certificate (nothing: it is shown and asked about)")
    words = ["--fingerprint", shown] if shown else []
    if len(shell.state.wallet.read().servers) > 1:
        identity = shell.ask("Server whose session is used there (nothing: it is found)")
        words += ["--identity", identity] if identity else []
    if url.casefold().startswith(_PLAIN):
        if not shell.confirm("This is plain text, which only this machine may speak. Go on?"):
            return Step.KEEP
        words.append("--insecure")
    if not shell.carry_out("server", "add", *words, "--", name, url):
        return Step.KEEP
    return _use(shell, name=name)


def _enter(_shell: Shell, *, name: str) -> Place | Step:
    return ServerPlace(name)


def _use(shell: Shell, *, name: str) -> Place | Step:
    if not shell.carry_out("server", "use", "--", name):
        return Step.KEEP
    # A server that was named at the start gives way too.
    shell.state.settings = replace(shell.state.settings, server=name)
    return Step.STAY


def _rename(shell: Shell, *, name: str) -> Place | Step:
    wanted = shell.ask("New name here")
    if not wanted or _edit(shell, name, "--rename", wanted) is Step.KEEP:
        return Step.KEEP
    if shell.state.settings.server == name:
        shell.state.settings = replace(shell.state.settings, server=wanted)
    return Step.BACK


def _move(shell: Shell, *, name: str) -> Place | Step:
    url = shell.ask("New address")
    if not url or not shell.confirm("Another address ends the session there. Go on?"):
        return Step.KEEP
    words = ["--insecure"] if url.casefold().startswith(_PLAIN) else []
    return _edit(shell, name, *words, "--url", url)


def _pin(shell: Shell, *, name: str) -> Place | Step:
    shown = shell.ask("Fingerprint that the operator told you (sha256:...)")
    if not shown:
        return Step.KEEP
    return _edit(shell, name, "--fingerprint", shown)


def _tie(shell: Shell, *, name: str) -> Place | Step:
    identity = shell.ask("Server whose session is to be used")
    return _edit(shell, name, "--identity", identity) if identity else Step.KEEP


def _edit(shell: Shell, name: str, *words: str) -> Place | Step:
    """Change a server; what was open to it as it was is closed."""
    if not shell.carry_out("server", "edit", *words, "--", name):
        return Step.KEEP
    shell.state.reopen()
    return Step.STAY


def _remove(shell: Shell, *, name: str) -> Place | Step:
    shell.state.wallet.check_removal(name)
    if not shell.confirm(f"Forget {name} and the session there?"):
        return Step.KEEP
    if not shell.carry_out("server", "remove", "--yes", "--", name):
        return Step.KEEP
    shell.state.reopen()
    if shell.state.settings.server == name:
        shell.state.settings = replace(shell.state.settings, server=None)
    return Step.BACK
