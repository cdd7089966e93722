"""What the wallet's files hold."""

import re
from typing import Literal

import msgspec

from moothall.client.store import Session
from moothall.client.trust import Trust
from moothall.client.wallet.files import FORMAT

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")


def is_server_name(text: str) -> bool:
    """Tell whether a server may be called so: the name also stands in names of files."""
    return _NAME.match(text) is not None


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A hall that the wallet knows.

    Attributes:
        url: Its address.
        trust: What proves that it is the one meant; see :class:`Trust`.
        certificate_pem: The pinned certificate.
    """

    url: str
    trust: Literal["pinned", "system", "insecure"]
    certificate_pem: str | None = None

    def as_trust(self) -> Trust:
        """Return what proves that it is the one meant."""
        return Trust(self.trust, self.certificate_pem)


class ServersFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``servers.json``: no secrets."""

    format: int = FORMAT
    current: str | None = None
    servers: dict[str, Server] = {}


class SessionsFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``sessions.json``: secrets, by the name of the server."""

    format: int = FORMAT
    sessions: dict[str, Session] = {}
