"""Where a NATS server is, and how a hall signs in to it. Secrets come from files only."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from moothall.bus.nkey import UserKey, read_credentials
from moothall.core.errors import ConfigurationError
from moothall.core.operator_files import read_secret, read_secret_line

DEFAULT_PORT = 4222

_SCHEMES = ("nats", "tls")
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,255}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BusAccess:
    """How to sign in: with user and password, a token, or credentials; or not at all.

    Attributes:
        user: Name that goes with ``password_file``.
        password_file: File whose first line is the password.
        token_file: File whose first line is the token.
        credentials_file: A ``.creds`` file, or one that holds a user's seed (``SU...``) alone.
        authority: PEM file of the authority that vouches for the server; empty: those of the
            system.
    """

    user: str = ""
    password_file: str = ""
    token_file: str = ""
    credentials_file: str = ""
    authority: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class SignIn:
    """What is shown to the server; read anew for each connection, so that it can be renewed."""

    user: str | None = None
    password: str | None = None
    token: str | None = None
    jwt: bytes | None = None
    key: UserKey | None = None


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A server as its URL tells it; holds no secret."""

    host: str
    port: int
    is_encrypted: bool

    @property
    def url(self) -> str:
        """The address as the client library takes it, and as people may read it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.is_encrypted else 'nats'}://{host}:{self.port}"


def read_address(url: str) -> ServerAddress:
    """Return what ``nats://host[:port]`` or ``tls://host[:port]`` means.

    Raises:
        ConfigurationError: It is something else, or it holds a secret.
    """
    if "@" in url:
        # The message must not repeat what the address holds.
        msg = (
            "bus: a name or password in the address could be read by everybody on the machine; "
            "give bus_user and bus_password_file (or bus_token_file), and the address without them"
        )
        raise ConfigurationError(msg)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    is_more = parts.path not in ("", "/") or parts.query or parts.fragment
    if parts.scheme not in _SCHEMES or not _HOST.fullmatch(host) or port == 0 or is_more:
        msg = f"bus: the address is not understood; give nats://host:{DEFAULT_PORT} or tls://..."
        raise ConfigurationError(msg)
    return ServerAddress(host, port or DEFAULT_PORT, parts.scheme == "tls")


def check_access(access: BusAccess, address: ServerAddress) -> None:
    """Refuse settings that contradict each other, or that would show a secret.

    Raises:
        ConfigurationError: They do.
    """
    if bool(access.user) != bool(access.password_file):
        msg = "bus: bus_user and bus_password_file belong together"
        raise ConfigurationError(msg)
    ways = [access.password_file, access.token_file, access.credentials_file]
    if sum(map(bool, ways)) > 1:
        msg = (
            "bus: bus_password_file, bus_token_file and bus_credentials_file are different ways "
            "to sign in; give one of them"
        )
        raise ConfigurationError(msg)
    # Credentials sign what the server sends, and so show nothing.
    sends_secret = access.password_file or access.token_file
    if sends_secret and not address.is_encrypted and not _is_loopback(address.host):
        msg = (
            "bus: nats:// would show the password or token to everybody on the way; give the "
            "address tls://..., or sign in with bus_credentials_file"
        )
        raise ConfigurationError(msg)


def read_sign_in(access: BusAccess) -> SignIn:
    """Read the files that ``access`` names.

    Raises:
        ConfigurationError: One of them cannot be read or is not what it should be.
    """
    if access.password_file:
        password = read_secret_line("bus: bus_password_file", access.password_file)
        return SignIn(user=access.user, password=password)
    if access.token_file:
        return SignIn(token=read_secret_line("bus: bus_token_file", access.token_file))
    if access.credentials_file:
        text = read_secret("bus: bus_credentials_file", access.credentials_file)
        try:
            jwt, key = read_credentials(text)
        except ValueError as error:
            msg = f"bus: bus_credentials_file {access.credentials_file}: {error}"
            raise ConfigurationError(msg) from None
        return SignIn(jwt=jwt, key=key)
    return SignIn()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
