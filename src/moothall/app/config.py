"""Settings: defaults < ``moothall.toml`` < ``MOOTHALL_*`` < flags.

Each setting is a field of :class:`Settings` with its default and unit, or a field of a table
that a room brings along (``[lockout] attempts_max = 5``, ``MOOTHALL_LOCKOUT__ATTEMPTS_MAX``,
``--set lockout.attempts_max=5``). Unknown keys are refused with near matches, so that a
misspelt bound is not silently no bound at all.
"""

import os
import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

import msgspec
from msgspec import Meta
from platformdirs import user_data_path

from moothall.action.decode import explain
from moothall.action.service import RoomSettings
from moothall.core.errors import ConfigurationError
from moothall.core.names import near_matches
from moothall.senders import TABLES as TABLES_OF_SENDERS
from moothall.transports.settings import TABLES as TABLES_OF_DOORS

PREFIX = "MOOTHALL_"

# Names in the environment that are not settings of the hall.
NOT_SETTINGS = frozenset(
    {"MOOTHALL_CONFIG_DIR", "MOOTHALL_CONFIG", "MOOTHALL_SECRETS", "MOOTHALL_TEST_POSTGRES"}
)

TABLES: Mapping[str, type[RoomSettings]] = {**TABLES_OF_SENDERS, **TABLES_OF_DOORS}
"""The hall's own tables of settings, by their names."""

ANY_ADDRESS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - not bound here
"""Addresses to listen on at which nobody is reached."""

PORT_MAX = 65_535
Port = Annotated[int, Meta(ge=0, le=PORT_MAX)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything an operator can set for one hall."""

    data: str = ""
    """Folder of the hall's data; empty: the user's data folder."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8443
    """Port of HTTPS and WebSocket; 0 takes any that is free."""
    ndjson_port: Port | None = None
    """Port of NDJSON; left out, the one after ``port``; 0 takes any that is free."""
    metrics_host: str = "127.0.0.1"
    """Address at which metrics and readiness are told, in plain text and to whoever asks: this
    machine's own, or one of a network that is yours alone."""
    metrics_port: Annotated[int, Meta(ge=-1, le=PORT_MAX)] | None = None
    """Port of metrics and readiness; left out, the one after ``port`` and that of NDJSON, and none
    if another program has it; 0 takes any that is free; -1: none."""
    drain_seconds: Annotated[int, Meta(ge=0, le=600)] = 0
    """How long calls are still answered after the hall was told to stop, while ``/readyz`` says
    so, for a balancer that sends none any more when it has seen that. A second signal cuts it
    short."""
    certificate: str = ""
    """PEM file of one's own certificate (with its chain); empty: a self-made one."""
    key: str = ""
    """PEM file of the certificate's key."""
    insecure: bool = False
    """Plain HTTP; on loopback, or for ``trusted_proxies`` and nobody else."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks of proxies, as ``10.0.0.0/8``; only they are believed whom they
    speak for (``X-Forwarded-For``, ``proxy_protocol``), and ``connections_per_source_max`` does not
    hold for them."""
    proxy_protocol: bool = False
    """Trusted proxies name their client at the beginning of each connection, by HAProxy's PROXY
    protocol (version 1 or 2), at every door; nobody else may connect then."""
    database: str = ""
    """Address of a PostgreSQL database (``postgresql://user@host/name``) that several nodes share;
    empty: a file in the data folder, and one process."""
    database_password_file: str = ""
    """File with the password of the database's user; empty: it needs none, or ``PGPASSFILE``
    names it."""
    database_writers_max: Annotated[int, Meta(ge=1, le=1_000)] = 12
    """Connections of this node for writes."""
    database_readers_max: Annotated[int, Meta(ge=1, le=1_000)] = 6
    """Connections of this node for reads."""
    bus: str = ""
    """Address of a NATS server (``nats://host`` or ``tls://host``) that carries hints between
    nodes; empty: nodes see each other's changes twice a second."""
    bus_user: str = ""
    """Name to sign in to the bus with, beside ``bus_password_file``."""
    bus_password_file: str = ""
    """File with the password for the bus."""
    bus_token_file: str = ""
    """File with a token for the bus."""
    bus_credentials_file: str = ""
    """File with credentials for the bus (``.creds``, or a seed of a user's key)."""
    bus_authority: str = ""
    """PEM file of the authority that vouches for the bus; empty: one that this system trusts."""
    functions: tuple[str, ...] = ()
    """Folders of rooms of one's own."""
    rooms: tuple[str, ...] = ()
    """Built-in rooms to serve, and with them what they depend on, and ``access``, ``feeds`` and
    ``hall``; none: all."""
    issuer: str = ""
    """Address of the identity server (``https://...``) whose tokens are taken: this is a resource
    server then. Empty: this hall signs people in itself."""
    issuer_fingerprint: str = ""
    """Of the identity server's certificate (``sha256:...``); empty: an authority that this system
    trusts must vouch for it."""
    public_url: str = ""
    """Where clients reach this hall. On an identity server the name in its tokens (RFC 9068
    ``iss`` and ``aud``); empty: one made from the hall's key. On a resource server its audience;
    empty: ``https://<host>:<port>``."""
    limits_scale: Annotated[float, Meta(ge=0.001, le=1_000_000_000)] = 1.0
    """Every rate limit is multiplied by this; for load tests."""
    connections_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    """Connections in all."""
    connections_per_source_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 256
    """Connections from one client address."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much is logged (to standard error, as JSON lines unless it is a terminal)."""
    tables: dict[str, dict[str, Any]] = {}
    """Tables of the rooms as they were given; see :func:`read_tables`."""

    @property
    def line_port(self) -> int:
        """The port of NDJSON.

        Raises:
            ConfigurationError: It follows from a port that has none after it.
        """
        if self.ndjson_port is not None:
            return self.ndjson_port
        if self.port == PORT_MAX:
            msg = f"ndjson_port: there is no port after {PORT_MAX}; choose one"
            raise ConfigurationError(msg)
        return self.port + 1 if self.port else 0

    @property
    def watch_port(self) -> int | None:
        """The port of metrics and readiness, 0 for any; None: it is not to be opened."""
        if self.metrics_port is not None:
            return None if self.metrics_port < 0 else self.metrics_port
        follows = max(self.port, self.line_port) + 1
        return follows if self.port and follows <= PORT_MAX else 0

    @property
    def is_resource_server(self) -> bool:
        """Whether another hall signs people in."""
        return bool(self.issuer)

    @property
    def audience(self) -> str:
        """The name of a resource server: the origin (RFC 6454) at which clients reach it.

        Raises:
            ConfigurationError: It cannot be told, or is no origin.
        """
        if self.public_url:
            return check_origin(self.public_url, insecure=self.insecure)
        if not self.port or self.host in ANY_ADDRESS:
            missing = "a port" if not self.port else "an address"
            msg = (
                f"public_url: a resource server needs a name that stays, and has not {missing} to "
                "make it of; give --public-url https://..., where clients reach it"
            )
            raise ConfigurationError(msg)
        host = f"[{self.host}]" if ":" in self.host else self.host
        url = f"{'http' if self.insecure else 'https'}://{host}:{self.port}"
        return url.lower().removesuffix(":80" if self.insecure else ":443")

    @property
    def data_path(self) -> Path:
        """The folder of the hall's data."""
        return Path(self.data) if self.data else user_data_path("moothall", appauthor=False)


def read_settings(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    file: Path | None,
    assignments: Iterable[str] = (),
) -> Settings:
    """Return the settings, each from the last place that sets it.

    Args:
        flags: Settings given on the command line; None means not given.
        environment: The process environment; ``MOOTHALL_PORT`` sets ``port``.
        file: A TOML file, or None.
        assignments: ``name=value`` or ``table.name=value``, given on the command line.

    Raises:
        ConfigurationError: A key is unknown or a value is out of its range; names where.
    """
    given: list[tuple[str, dict[str, Any]]] = []
    tables: dict[str, dict[str, Any]] = {}
    if file is not None:
        read = _read_file(file)
        _add_tables(tables, {name: read.pop(name) for name in [*read] if _is_table(read[name])})
        given.append((str(file), _known(read, f"{file}: ")))
    from_environment = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and name not in NOT_SETTINGS
    }
    for name in [name for name in from_environment if "__" in name]:
        table, _, field = name.partition("__")
        _add_tables(tables, {table: {field: from_environment.pop(name)}})
    known = _known(from_environment, f"the environment ({PREFIX}...): ")
    given.append(("the environment", _split_lists(known)))
    assigned: dict[str, Any] = {}
    for assignment in assignments:
        table, name, value = _read_assignment(assignment)
        if table:
            _add_tables(tables, {table: {name: value}})
        else:
            assigned[name] = value
    flags = {name: value for name, value in flags.items() if value is not None}
    given.append(("the command line", _split_lists({**_known(assigned, "--set: "), **flags})))
    found = {name: value for _, values in given for name, value in values.items()}
    found["tables"] = tables
    try:
        # Not strict: values from the environment are text.
        return msgspec.convert(found, Settings, strict=False)
    except msgspec.ValidationError as error:
        field, reason, remedy = explain(str(error), Settings)
        origins = {name: where for where, values in given for name in values}
        where = origins.get(field.partition("[")[0], "settings")
        msg = f"{where}: {field}: {reason}; {remedy}"
        raise ConfigurationError(msg) from None


def read_hall_tables(
    given: Mapping[str, Mapping[str, Any]], of_rooms: Mapping[str, type[RoomSettings]]
) -> dict[type, RoomSettings]:
    """Return the settings of the rooms and those of the hall's own tables, by their types.

    Raises:
        ConfigurationError: A room has a table of a name that is the hall's, a table or a key
            is unknown, or a value is out of its range.
    """
    for table in of_rooms.keys() & TABLES.keys():
        msg = f"a room has the settings [{table}], which are the hall's own"
        raise ConfigurationError(msg)
    return read_tables(given, {**of_rooms, **TABLES})


def read_tables(
    given: Mapping[str, Mapping[str, Any]], known: Mapping[str, type[RoomSettings]]
) -> dict[type, RoomSettings]:
    """Return the settings of the rooms by their types.

    Args:
        given: ``Settings.tables``.
        known: The tables that the rooms have.

    Raises:
        ConfigurationError: A table or a key is unknown, or a value is out of its range.
    """
    for table in given:
        if table not in known:
            near = near_matches(table, known)
            remedy = f"; did you mean {', '.join(near)}?" if near else ""
            msg = f"settings: there is no table [{table}]{remedy}"
            raise ConfigurationError(msg)
    found: dict[type, RoomSettings] = {}
    for table, kind in known.items():
        try:
            # Not strict: values from the environment are text.
            values = _split_words(given.get(table, {}), kind)
            found[kind] = msgspec.convert(values, kind, strict=False)
        except msgspec.ValidationError as error:
            field, reason, remedy = explain(str(error), kind)
            msg = f"settings: {table}.{field}: {reason}; {remedy}"
            raise ConfigurationError(msg) from None
    return found


def _split_words(values: Mapping[str, Any], kind: type[RoomSettings]) -> dict[str, Any]:
    """Let a list that is given as text be split as a shell would: it is a program's arguments.

    Raises:
        ConfigurationError: A quotation mark is not closed.
    """
    lists = {
        field.name for field in msgspec.structs.fields(kind) if get_origin(field.type) is tuple
    }
    found = dict(values)
    for name in lists & values.keys():
        if isinstance(found[name], str):
            try:
                found[name] = shlex.split(found[name])
            except ValueError as error:
                msg = f"settings: {name}: {error}"
                raise ConfigurationError(msg) from None
    return found


def _is_table(value: object) -> bool:
    """Tell whether a value of a TOML file is a table."""
    return isinstance(value, dict)


def _add_tables(tables: dict[str, dict[str, Any]], more: Mapping[str, Mapping[str, Any]]) -> None:
    """Let what was given later win, key by key."""
    for table, values in more.items():
        tables.setdefault(table, {}).update(values)


def _read_assignment(text: str) -> tuple[str, str, str]:
    """Read ``table.name=value``, or ``name=value`` with the table ''."""
    target, is_given, value = text.partition("=")
    table, is_dotted, name = target.strip().rpartition(".")
    if not (is_given and name and bool(table) == bool(is_dotted)):
        msg = f"--set {text!r}: write NAME=VALUE or TABLE.NAME=VALUE, as in lockout.attempts_max=5"
        raise ConfigurationError(msg)
    return table, name, value.strip()


def _read_file(file: Path) -> dict[str, Any]:
    """Read a TOML file."""
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        msg = f"{file}: cannot be read: {error.strerror}"
        raise ConfigurationError(msg) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{file}: {error}"
        raise ConfigurationError(msg) from None


def _known(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Refuse names that are no settings; ``prefix`` says where they stand."""
    names = set(Settings.__struct_fields__) - {"tables"}
    for name in values:
        if name not in names:
            near = near_matches(name, names)
            remedy = f"; did you mean {', '.join(near)}?" if near else ""
            msg = f"{prefix}there is no setting {name!r}{remedy}"
            raise ConfigurationError(msg)
    return dict(values)


_SEPARATORS = {"functions": os.pathsep, "rooms": ",", "trusted_proxies": ","}
"""Between the parts of a list: as between paths on this system, or commas."""


def _split_lists(values: dict[str, Any]) -> dict[str, Any]:
    """Split lists that are given as text, in the environment or as a flag."""
    for name, separator in _SEPARATORS.items():
        if isinstance(values.get(name), str):
            values[name] = [part.strip() for part in values[name].split(separator) if part.strip()]
    return values


def check_resource_server(settings: Settings) -> None:
    """Refuse settings of a resource server that do not fit together.

    Raises:
        ConfigurationError: With the remedy.
    """
    if not settings.is_resource_server:
        if settings.issuer_fingerprint:
            msg = "issuer_fingerprint: it belongs to an issuer; give --issuer too"
            raise ConfigurationError(msg)
        return
    if "identity" in settings.rooms:
        msg = (
            "rooms: a resource server leaves signing in to its issuer; leave out 'identity' (what "
            "is needed of it comes along), or leave out --issuer"
        )
        raise ConfigurationError(msg)
    if settings.issuer.lower().startswith("http://") and not settings.insecure:
        msg = "issuer: keys are fetched by TLS only; give an address https://..."
        raise ConfigurationError(msg)
    if check_origin(settings.issuer, "issuer", insecure=settings.insecure) == settings.audience:
        msg = "issuer: this is the resource server's own address; give the identity server's"
        raise ConfigurationError(msg)
    if settings.issuer_fingerprint and not _FINGERPRINT.fullmatch(settings.issuer_fingerprint):
        msg = (
            "issuer_fingerprint: write sha256: and 64 hexadecimal digits, as the identity server "
            "shows them when it opens"
        )
        raise ConfigurationError(msg)


_FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}", re.IGNORECASE)
_ORIGIN = re.compile(r"(https?)://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(?::([0-9]{1,5}))?")


def check_origin(url: str, setting: str = "public_url", *, insecure: bool = False) -> str:
    """Return the origin of an address as RFC 6454 writes it: lower case, no usual port.

    It is how clients write the address that they connect to, and it compares letter by letter.

    Raises:
        ConfigurationError: It is no address of a hall, or one without TLS.
    """
    match = _ORIGIN.fullmatch(url.strip().lower().removesuffix("/"))
    if match is None or (match[1] == "http" and not insecure):
        remedy = "write https://NAME or https://NAME:PORT, and no path"
        msg = f"{setting}: {url!r} is no address of a hall; {remedy}"
        raise ConfigurationError(msg)
    scheme, host, port = match.groups()
    usual = "443" if scheme == "https" else "80"
    return f"{scheme}://{host}{f':{int(port)}' if port and port != usual else ''}"
