"""`moothall server`: which servers the wallet knows, and what proves that they are the ones."""

import sys
from dataclasses import replace
from typing import Any

import click

from moothall.client.address import Address, parse_address
from moothall.client.cli.ask import confirm
from moothall.client.cli.groups import LocalCommand, NounGroup
from moothall.client.cli.render import print_result, say
from moothall.client.cli.state import State, state_of
from moothall.client.cli.ties import tie
from moothall.client.errors import ClientError
from moothall.client.trust import (
    Trust,
    check_fingerprint,
    fetch_certificate,
    fingerprint_of,
    is_certified,
)
from moothall.client.wallet import Server


def server_group() -> click.Group:
    """Return the group."""
    name = click.Argument(["name"], help="Its name here.")
    own = (
        LocalCommand("add", params=[name, *_place()], callback=_add, help=_ADD),
        LocalCommand(
            "edit",
            params=[
                name,
                click.Option(["--url"], help="Its new address."),
                click.Option(["--rename"], metavar="NAME", help="Its new name."),
                *_options(),
            ],
            callback=_edit,
            help="Change a server. Another address or certificate ends the session here.",
        ),
        LocalCommand("list", params=[], callback=_list, help="List all servers."),
        LocalCommand(
            "show",
            params=[click.Argument(["name"], required=False, help="Its name; else the current.")],
            callback=_show,
            help="Show one server, its fingerprint, and who is signed in.",
        ),
        LocalCommand("current", params=[], callback=_tell_current, help="Tell which one is used."),
        LocalCommand("use", params=[name], callback=_use, help="Make a server the current one."),
        LocalCommand(
            "remove", params=[name], callback=_remove, help="Forget a server and the session there."
        ),
    )
    return NounGroup(
        "server",
        own={command.name or "": command for command in own},
        help="The servers that this machine knows.",
    )


_ADD = """Add a server: one that opens sessions, or one that takes tokens of such a server.

A server tells of which kind it is. Add the identity server first; one login there is enough for all
servers that take its tokens. The same address may be added twice, for two accounts.
"""


def _place() -> list[click.Parameter]:
    return [
        click.Argument(["url"], help="Its address, such as https://hall.example:8443."),
        *_options(),
    ]


def _options() -> list[click.Parameter]:
    return [
        click.Option(
            ["--identity"],
            metavar="NAME",
            help="Use the session at this identity server; needed only if several would do.",
        ),
        click.Option(
            ["--fingerprint"],
            metavar="sha256:...",
            help="Trust the certificate with this fingerprint and no other.",
        ),
        click.Option(["--insecure"], is_flag=True, help="Allow http:// (to this machine only)."),
    ]


def _add(
    *, name: str, url: str, identity: str | None, fingerprint: str | None, insecure: bool
) -> None:
    state = state_of(click.get_current_context())
    if name in state.wallet.read().servers:
        msg = f"there is a server called {name!r} already; change it: moothall server edit {name}"
        raise click.UsageError(f"{msg} --fingerprint sha256:...")
    address = parse_address(url, insecure=insecure)
    server = tie(state, _meet(state, address, fingerprint), identity)
    state.wallet.add_server(name, server)
    _greet(state, name, server)


def _edit(
    *,
    name: str,
    url: str | None,
    rename: str | None,
    identity: str | None,
    fingerprint: str | None,
    insecure: bool,
) -> None:
    state = state_of(click.get_current_context())
    _, server = state.wallet.get_server(name)
    if url is not None or fingerprint is not None:
        insecure = insecure or (url is None and server.trust == "insecure")
        address = parse_address(url or server.url, insecure=insecure)
        server = tie(state, _meet(state, address, fingerprint), identity or server.identity)
    elif identity is not None:
        server = tie(state, server, identity)
    elif rename is None:
        raise click.UsageError("say what to change: --url, --fingerprint, --identity or --rename")
    state.wallet.edit_server(name, server, new_name=rename)
    _tell(state, rename or name, "changed")


def _meet(state: State, address: Address, fingerprint: str | None) -> Server:
    """Return the server at an address, once it is known to be the one meant."""
    if not address.is_tls:
        return Server(url=address.url, trust="insecure")
    if fingerprint is None and state.run(is_certified(address)):
        return Server(url=address.url, trust="system")
    shown = state.run(fetch_certificate(address))
    if fingerprint is not None:
        check_fingerprint(address, fingerprint, shown)
    else:
        say(f"No authority vouches for {address.url}. It shows this certificate:")
        say(f"  {fingerprint_of(shown)}")
        confirm(state, "Is this the fingerprint that the hall printed at its start?")
    return Server(url=address.url, trust="pinned", certificate_pem=shown)


def _greet(state: State, name: str, server: Server) -> None:
    """Learn what the new server offers, and tell that it is known."""
    state.settings = replace(state.settings, server=name)
    _tell(state, name, "added")
    if server.identity is not None and not state.settings.json:
        say(f"it takes tokens of {server.identity}: who is signed in there is signed in here")
    try:
        state.catalog()
        state.identity_catalog()
    except ClientError as error:
        say(f"its commands could not be read yet: {error}")


def _list() -> None:
    state = state_of(click.get_current_context())
    known = state.wallet.read()
    rows = [_view(name, server, name == known.current) for name, server in known.servers.items()]
    for row in rows:
        row.pop("issuer")
    print_result(rows, state.settings)


def _show(*, name: str | None) -> None:
    state = state_of(click.get_current_context())
    name, _ = state.wallet.get_server(name or state.settings.server)
    view = _view(name, *_current(state, name))
    session = state.wallet.load_session(state.wallet.identity_of(name)[0])
    view["signed_in_as"] = None if session is None else session.name
    print_result(view, state.settings)


def _tell_current() -> None:
    state = state_of(click.get_current_context())
    name, _ = state.server()
    if state.settings.prints_data:
        print_result(_view(name, *_current(state, name)), state.settings)
    else:
        sys.stdout.write(f"{name}\n")


def _use(*, name: str) -> None:
    state = state_of(click.get_current_context())
    state.wallet.use_server(name)
    _tell(state, name, "using")


def _remove(*, name: str) -> None:
    state = state_of(click.get_current_context())
    state.wallet.check_removal(name)
    confirm(state, f"Forget {name} and the session there?")
    state.wallet.remove_server(name)
    if state.settings.prints_data:
        print_result({"name": name}, state.settings)
    else:
        say(f"removed {name}")


def _tell(state: State, name: str, done: str) -> None:
    if state.settings.prints_data:
        print_result(_view(name, *_current(state, name)), state.settings)
    else:
        say(f"{done} {name}")


def _current(state: State, name: str) -> tuple[Server, bool]:
    known = state.wallet.read()
    return known.servers[name], name == known.current


def _view(name: str, server: Server, is_current: bool) -> dict[str, Any]:  # noqa: FBT001
    return {
        "name": name,
        "kind": server.kind,
        "url": server.url,
        "current": is_current,
        "identity": server.identity,
        "issuer": server.issuer,
        "trust": server.trust,
        "fingerprint": Trust(server.trust, server.certificate_pem).fingerprint,
    }
