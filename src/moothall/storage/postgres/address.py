"""The database's address, as operators write it."""

import dataclasses
from urllib.parse import parse_qsl, urlsplit

from moothall.core.errors import ConfigurationError
from moothall.core.operator_files import read_secret

SCHEMES = ("postgresql", "postgres")
_OPTIONS = frozenset(
    {
        "host", "port", "user", "passfile", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl",
        "ssl_min_protocol_version", "ssl_max_protocol_version", "service",
    }
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """Where the database is, and by which password it is opened."""

    url: str
    """Without a password."""
    password: str | None = dataclasses.field(default=None, repr=False)
    """None where the server asks for none, or the driver finds it (``PGPASSFILE``)."""


def read_address(url: str, password_file: str = "") -> Address:
    """Return the address that a URL tells, with the password from its file.

    Args:
        url: ``postgresql://user@host:port/database``, with options as ``?sslmode=verify-full``.
        password_file: A file that holds the password and nothing else; empty for none.

    Raises:
        ConfigurationError: It is no such URL, it holds a password, or the file cannot be read.
    """
    try:
        parts = urlsplit(url)
        has_password, name = parts.password is not None, parts.path.strip("/")
    except ValueError as error:
        raise _wrong(str(error)) from None
    if parts.scheme not in SCHEMES:
        raise _wrong("it does not begin with postgresql://")
    if has_password:
        msg = (
            "settings: database: a URL shows its password to whoever lists processes; put it into "
            "a file and name that: database_password_file"
        )
        raise ConfigurationError(msg)
    if not name or "/" in name:
        raise _wrong("it names no database")
    for option, _ in parse_qsl(parts.query, keep_blank_values=True):
        if option not in _OPTIONS:
            known = ", ".join(sorted(_OPTIONS))
            raise _wrong(f"there is no option {option!r}; options are {known}")
    return Address(url, _read_password(password_file) if password_file else None)


def _read_password(file: str) -> str:
    """Return what a file holds, without the end of its line."""
    text = read_secret("settings: database_password_file", file).rstrip("\r\n")
    if not text or "\n" in text:
        msg = f"settings: database_password_file {file}: it must hold one line, the password"
        raise ConfigurationError(msg)
    return text


def _wrong(reason: str) -> ConfigurationError:
    """Return the error of an address that cannot be used."""
    return ConfigurationError(
        f"settings: database: {reason}; write postgresql://USER@HOST:5432/DATABASE"
    )
