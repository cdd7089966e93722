"""The doors of a hall: which there are, opened together and closed together.

A door is anything that starts, stops, says where it is, and turns bytes into calls of
``hall.pipeline``. Another one is a function in :data:`DOORS`; nothing else knows of it.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import msgspec

from moothall import __version__
from moothall.action.connections import CloseReason, Connections
from moothall.action.cursor import Cursors
from moothall.app.compose import Hall
from moothall.app.config import Settings
from moothall.core.errors import ConfigurationError
from moothall.services.files.model import FileSettings
from moothall.transports.backend import CONNECTION_ACTIONS, FILE_ACTIONS, Backend
from moothall.transports.http.application import Documents
from moothall.transports.http.bounds import HttpBounds
from moothall.transports.http.openapi import build_openapi
from moothall.transports.http.origins import read_origins
from moothall.transports.http.server import HttpServer
from moothall.transports.listener import Endpoint, Listener, ListenerBounds
from moothall.transports.ndjson import NdjsonBounds, NdjsonServer
from moothall.transports.proxies import read_networks
from moothall.transports.settings import WebSettings
from moothall.transports.tls import ServerTls
from moothall.transports.websocket import WebSockets


class Door(Protocol):
    """Lets calls in."""

    @property
    def url(self) -> str:
        """Where it is, once started."""
        ...

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigurationError: The address cannot be had.
        """
        ...

    async def stop(self) -> None:
        """Accept nothing more, let calls in flight end in their time, close."""
        ...


@runtime_checkable
class CountedDoor(Protocol):
    """A door whose connections are counted in the metrics; one that is not has none there."""

    @property
    def name(self) -> str:
        """A fixed word, which stands in metrics."""
        ...

    @property
    def listener(self) -> Listener:
        """What accepts its connections."""
        ...


MakeDoor = Callable[[Hall, Settings, ServerTls | None], Door]


def backend_of(hall: Hall) -> Backend:
    """Return what a door needs of the house."""
    return Backend(
        hall.pipeline.answer,
        hall.house.use(Connections),
        hall.house.clock,
        hall.house.use(Cursors).of,
        hall.pipeline.make_request_id,
        hall.pipeline.charge_source,
    )


def _file_size_of(hall: Hall) -> int:
    """Return how large a file may be; 0 where the room is not served."""
    settings = hall.house.find_port(FileSettings)
    return 0 if settings is None else settings.size_bytes_max


def _endpoint_of(settings: Settings, port: int, tls: ServerTls | None) -> Endpoint:
    """Return where a door listens."""
    return Endpoint(
        host=settings.host,
        port=port,
        context=None if tls is None else tls.context,
        insecure=settings.insecure,
        trusted_proxies=read_networks(settings.trusted_proxies),
        proxy_protocol=settings.proxy_protocol,
    )


def _limit(settings: Settings, bounds: ListenerBounds) -> ListenerBounds:
    """Return bounds of listening with those that are settings."""
    return replace(
        bounds,
        connections_max=settings.connections_max,
        connections_per_source_max=settings.connections_per_source_max,
    )


class WebDoor:
    """HTTPS, and WebSocket on the same port."""

    name = "https"

    def __init__(self, hall: Hall, settings: Settings, tls: ServerTls | None) -> None:
        """Serve ``hall``."""
        backend = backend_of(hall)
        self._scheme = "http" if tls is None else "https"
        self._host = settings.host
        self._sockets = WebSockets(backend)
        self._door = HttpServer(
            backend,
            _endpoint_of(settings, settings.port, tls),
            Documents(
                openapi=lambda: build_openapi(hall.catalog.actions.values()),
                jwks=hall.public_jwks,
                describe=lambda: describe_hall(hall),
            ),
            open_socket=self._sockets.open,
            file_size_bytes_max=_file_size_of(hall),
            origins=read_origins(hall.house.use(WebSettings).origins),
            bounds=HttpBounds(listener=_limit(settings, HttpBounds().listener)),
        )

    @property
    def url(self) -> str:
        """Where it is, once started."""
        return f"{self._scheme}://{host_in_url(self._host)}:{self._door.port}"

    @property
    def listener(self) -> Listener:
        """What accepts its connections."""
        return self._door.listener

    async def start(self) -> None:
        """Listen."""
        await self._door.start()

    async def stop(self) -> None:
        """Close, the WebSockets too."""
        await self._door.stop()
        await self._sockets.stop()


class LineDoor:
    """NDJSON, on the port after HTTPS."""

    name = "ndjson"

    def __init__(self, hall: Hall, settings: Settings, tls: ServerTls | None) -> None:
        """Serve ``hall``."""
        self._scheme = "ndjson+plain" if tls is None else "ndjson"
        self._host = settings.host
        self._door = NdjsonServer(
            backend_of(hall),
            _endpoint_of(settings, settings.line_port, tls),
            bounds=NdjsonBounds(listener=_limit(settings, NdjsonBounds().listener)),
        )

    @property
    def url(self) -> str:
        """Where it is, once started."""
        return f"{self._scheme}://{host_in_url(self._host)}:{self._door.port}"

    @property
    def listener(self) -> Listener:
        """What accepts its connections."""
        return self._door.listener

    async def start(self) -> None:
        """Listen."""
        await self._door.start()

    async def stop(self) -> None:
        """Close."""
        await self._door.stop()


DOORS: tuple[MakeDoor, ...] = (WebDoor, LineDoor)
"""The doors of a hall; what the first one says of itself is the hall's address."""


@dataclass(frozen=True, slots=True)
class OpenDoors:
    """Doors that are open."""

    doors: tuple[Door, ...]
    connections: Connections

    @property
    def urls(self) -> list[str]:
        """Where they are."""
        return [door.url for door in self.doors]

    async def close(self) -> None:
        """Tell clients first, then close all doors at the same time."""
        self.connections.end_all(CloseReason.SHUTDOWN)
        await asyncio.gather(*(door.stop() for door in self.doors))
        self.connections.stop()


async def open_doors(
    hall: Hall, settings: Settings, tls: ServerTls | None, makers: Iterable[MakeDoor] = DOORS
) -> OpenDoors:
    """Open all doors, or none.

    Raises:
        ConfigurationError: An address cannot be had, or no room serves what doors call themselves.
    """
    wanted = CONNECTION_ACTIONS | (FILE_ACTIONS if _file_size_of(hall) else frozenset())
    if missing := sorted(wanted - set(hall.catalog.actions)):
        raise ConfigurationError(
            f"the doors call {', '.join(missing)}, which no room serves; add the room to 'rooms'"
        )
    doors = tuple(make(hall, settings, tls) for make in makers)
    started: list[Door] = []
    try:
        for door in doors:
            await door.start()
            started.append(door)
    except BaseException:
        for door in started:
            await door.stop()
        raise
    connections = hall.house.use(Connections)
    connections.start()
    return OpenDoors(doors, connections)


def describe_hall(hall: Hall) -> bytes:
    """Return what anybody may know of a hall before they sign in: whose tokens it takes.

    An object with ``issuer``, the ``iss`` of the tokens it takes; ``audience``, their ``aud``;
    ``is_issuer``, whether it makes them itself; ``issuer_url``, where it fetches the keys
    otherwise, or null; ``rooms``, the names of what it serves; and ``version``.
    """
    return msgspec.json.encode(
        {
            "issuer": hall.issuer,
            "audience": hall.audience,
            "is_issuer": hall.issuer_url is None,
            "issuer_url": hall.issuer_url,
            "rooms": sorted(hall.catalog.rooms),
            "version": __version__,
        }
    )


def host_in_url(host: str) -> str:
    """Return a host as it stands in a URL (RFC 3986, section 3.2.2)."""
    if host in {"0.0.0.0", "::", ""}:  # noqa: S104 - not bound here, only shown
        return "localhost"
    return f"[{host}]" if ":" in host else host
