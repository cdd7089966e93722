"""What an operator can set for sending."""

from typing import Annotated, Literal

from msgspec import Meta

from moothall.action.service import RoomSettings
from moothall.core.units import MINUTE_MS, SECOND_MS

TimeoutMs = Annotated[int, Meta(ge=100, le=MINUTE_MS)]


class MailSettings(RoomSettings):
    """Table ``[mail]``: how e-mail leaves the hall; by SMTP, or through a program."""

    host: str = ""
    """Mail server that takes messages for delivery; empty: no SMTP."""
    port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    """Its port; 0: the usual one, which is 465 with ``tls``, 587 with ``starttls``, else 25."""
    security: Literal["tls", "starttls", "none"] = "tls"
    """TLS from the first byte, TLS after STARTTLS (refused without it), or none; without TLS
    everybody on the way reads the codes, so that is for a server on this machine only."""
    authority: str = ""
    """PEM file of the authority that vouches for the server; empty: those of the system."""
    username: str = ""
    """Name to sign in to the server with; empty: without signing in."""
    password_file: str = ""
    """File whose first line is the password of ``username``."""
    sender: str = ""
    """Address that messages come from; needed with ``host``."""
    command: tuple[str, ...] = ()
    """Program and its arguments instead of SMTP; it reads one JSON object with ``address``,
    ``subject`` and ``text`` from its standard input, and exits with 0 if it took the message."""
    timeout_ms: TimeoutMs = 10 * SECOND_MS
    """How long handing one message over may take, in milliseconds."""


class PhoneSettings(RoomSettings):
    """Table ``[phone]``: how text messages leave the hall, through a program."""

    command: tuple[str, ...] = ()
    """Program and its arguments; it reads one JSON object with ``address``, ``subject`` and
    ``text`` from its standard input, and exits with 0 if it took the message."""
    timeout_ms: TimeoutMs = 10 * SECOND_MS
    """How long handing one message over may take, in milliseconds."""
