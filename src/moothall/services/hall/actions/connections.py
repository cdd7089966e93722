"""Who is connected, ending a connection, and stopping the hall."""

from typing import Annotated

from msgspec import Meta

from moothall.action import (
    FLOW,
    READ,
    Context,
    PerActor,
    Request,
    Result,
    Signed,
    action,
    next_cursor,
)
from moothall.action.connections import CloseReason, Connection, Connections
from moothall.ports.shutdown import Shutdown
from moothall.services.hall.errors import ConnectionNotFoundError

ConnectionId = Annotated[str, Meta(max_length=32)]


class ListConnections(Request):
    """A page of connections, oldest first; ``after`` is the ``next`` of the page before."""

    after: ConnectionId = ""
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class ConnectionView(Result):
    """One open connection. Times are UTC epoch milliseconds."""

    connection_id: str
    door: str
    """``websocket``, ``ndjson``, or ``events`` for a stream of server-sent events."""
    source: str
    member_id: str
    """Empty until somebody signs in on it."""
    session_id: str
    opened_at_ms: int
    feeds: list[str]
    queued_bytes: int
    """What was sent and waits to be read by the client."""


class ConnectionPage(Result):
    """A page of connections; ``next`` is None on the last one."""

    connections: list[ConnectionView]
    next: str | None
    open: int
    """How many there are in all."""


class CloseConnection(Request):
    """Which connection."""

    connection_id: ConnectionId


class ConnectionClosed(Result):
    """A connection that was told to go."""

    connection_id: str


class ShutDown(Request):
    """Asks for nothing; the hall stops."""


class ShuttingDown(Result):
    """The hall stops: clients are told, running calls end, everything is saved."""

    open_connections: int


@action(
    access=Signed("connections:read"),
    effect=READ,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(),
    is_protected=True,
)
async def list_connections(ctx: Context, request: ListConnections) -> ConnectionPage:
    """List the open connections of this process, by pages. Single requests are none.

    Where several nodes are one hall, each lists its own.
    """
    connections = ctx.use(Connections)
    found = sorted(
        (each for each in connections if each.connection_id > request.after),
        key=lambda each: each.connection_id,
    )[: request.limit]
    return ConnectionPage(
        connections=[_view(each) for each in found],
        next=next_cursor(found, request.limit, lambda last: last.connection_id),
        open=len(connections),
    )


@action(
    access=Signed("connections:close"),
    effect=FLOW,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(ConnectionNotFoundError,),
)
async def close_connection(ctx: Context, request: CloseConnection) -> ConnectionClosed:
    """Close one connection of this process; its session goes on, so the client may come back.

    Where several nodes are one hall, only the node that lists a connection closes it. To end what
    somebody has open on all nodes, end their sessions.

    Raises:
        ConnectionNotFoundError: not_found. It is gone already, or it is another node's.
    """
    connection = ctx.use(Connections).find(request.connection_id)
    if connection is None:
        raise ConnectionNotFoundError(f"there is no connection {request.connection_id!r}")
    connection.end(CloseReason.ADMINISTRATOR)
    return ConnectionClosed(connection_id=request.connection_id)


@action(
    access=Signed("hall:shutdown"),
    effect=FLOW,
    limit=PerActor(calls=5, window_ms=60_000),
    raises=(),
    command="hall shutdown",
)
async def shutdown(ctx: Context, request: ShutDown) -> ShuttingDown:  # noqa: ARG001 - asks for nothing
    """Stop the hall: tell clients, let running calls end, save, exit."""
    open_connections = len(ctx.use(Connections))
    ctx.use(Shutdown).begin()
    return ShuttingDown(open_connections=open_connections)


def _view(connection: Connection) -> ConnectionView:
    claims = connection.claims
    return ConnectionView(
        connection_id=connection.connection_id,
        door=connection.door,
        source=connection.source,
        member_id="" if claims is None else claims.member_id,
        session_id="" if claims is None else claims.session_id,
        opened_at_ms=connection.opened_at_ms,
        feeds=sorted(connection.subscriptions),
        queued_bytes=connection.sink.queued_bytes,
    )
