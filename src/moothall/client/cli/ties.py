"""Which identity server a resource server belongs to, and whether it may be one at all.

A server says of which kind it is, whose tokens it takes, and for which audience. It is believed no
further than it could do harm: tokens are asked for the address that the person gave. A server that
takes itself for another one is refused when it is added: it could be passing on what it is sent,
and its calls would fail anyhow.
"""

from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from moothall.client.cli.render import say
from moothall.client.cli.state import State
from moothall.client.errors import ClientError, ServerUntrustedError, WalletError
from moothall.client.wallet import Server

if TYPE_CHECKING:
    from moothall.client.description import Description


def tie(state: State, server: Server, identity: str | None) -> Server:
    """Ask a server of what kind it is, and return it as that, tied to its identity server.

    Args:
        state: The run.
        server: Where it is, and what proves that it is the one meant.
        identity: Name of the identity server, where the person said which.

    Raises:
        ServerUntrustedError: It takes itself for another server.
        WalletError: Its identity server is not known here, or several would do.
        HallUnreachableError: It did not answer.
    """
    told = state.describe(server)
    if told is None or told.is_issuer:
        if identity is not None:
            raise click.UsageError(f"{server.url} opens sessions itself: leave out --identity")
        issuer = None if told is None else told.issuer
        return replace(server, kind="identity", issuer=issuer, identity=None)
    origin = server.address.origin
    if told.audience != origin:
        raise ServerUntrustedError(
            f"{origin} says that it is {told.audience}",
            f"add it as {told.audience}, or ask its operator to set public_url = {origin}",
            address=origin,
            audience=told.audience,
        )
    name = _choose(state, server, told, identity)
    return replace(server, kind="resource", issuer=told.issuer, identity=name)


def _choose(state: State, server: Server, told: "Description", identity: str | None) -> str:
    """Return the name of the identity server whose tokens a resource server takes."""
    _learn_issuers(state)
    known = state.wallet.read().servers
    fitting = [name for name, one in known.items() if _is_issuer(one, told.issuer)]
    if identity is not None:
        _, chosen = state.wallet.get_server(identity)
        if identity not in fitting:
            raise WalletError(
                f"{server.url} takes tokens of {told.issuer}, and {identity} gives those of"
                f" {chosen.issuer}",
                _how_to_add(told) if not fitting else f"say --identity {fitting[0]}",
            )
        return identity
    if len(fitting) > 1:
        current = state.wallet.identity_of()[0] if state.wallet.read().current else None
        if current not in fitting:
            raise WalletError(
                f"several servers here give tokens of {told.issuer}: {', '.join(fitting)}",
                "say whose session is meant: --identity NAME",
            )
        return current
    if not fitting:
        raise WalletError(
            f"{server.url} takes tokens of {told.issuer}, which is not known here",
            _how_to_add(told),
        )
    return fitting[0]


def _is_issuer(server: Server, issuer: str) -> bool:
    return server.kind == "identity" and server.issuer == issuer


def _how_to_add(told: "Description") -> str:
    return f"add its identity server first: moothall server add NAME {told.issuer_url or 'URL'}"


def _learn_issuers(state: State) -> None:
    """Ask identity servers for their names in tokens that were added before names mattered."""
    for name, server in state.wallet.read().servers.items():
        if server.kind == "identity" and server.issuer is None:
            try:
                told = state.describe(server)
            except ClientError as error:
                say(f"{name} could not be asked for its name: {error}")
                continue
            if told is not None and told.is_issuer:
                state.wallet.edit_server(name, replace(server, issuer=told.issuer))
