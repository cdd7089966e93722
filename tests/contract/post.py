"""A mail server of the tests' own: it keeps what it is given."""

import asyncio
import email
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from moothall.senders import MailSettings

USER, PASSWORD = "hall", "a password of the mail server"


class Received(NamedTuple):
    """A message as it arrived."""

    address: str
    subject: str
    text: str


class Mailbox:
    """Takes mail for everybody but ``refused@example.org``."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.recipients: list[str] = []
        self.was_encrypted: list[bool] = []
        self.was_signed_in: list[bool] = []

    async def handle_RCPT(  # noqa: N802 - aiosmtpd finds it by this name
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        if address.startswith("refused"):
            return f"550 no such person {address}"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd finds it by this name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        assert isinstance(envelope.content, bytes)
        self.messages.append(email.message_from_bytes(envelope.content))
        self.recipients += envelope.rcpt_tos
        transport = server.transport
        assert transport is not None
        self.was_encrypted.append(transport.get_extra_info("ssl_object") is not None)
        self.was_signed_in.append(bool(session.authenticated))
        return "250 taken"


class Connections:
    """Those that are open: until they are gone a loop must not be closed under them."""

    def __init__(self) -> None:
        self._open: set[object] = set()
        self._none = asyncio.Event()
        self._none.set()

    def add(self, one: object) -> None:
        self._open.add(one)
        self._none.clear()

    def remove(self, one: object) -> None:
        self._open.discard(one)
        if not self._open:
            self._none.set()

    async def wait_until_gone(self) -> None:
        """Wait for the clients, which have ended or are about to give up."""
        await asyncio.wait_for(self._none.wait(), 10)


class Connection(SMTP):
    """One connection of the mail server, which is counted."""

    def __init__(self, mailbox: Mailbox, connections: Connections, **options: Any) -> None:
        super().__init__(mailbox, **options)
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.remove(self)
        super().connection_lost(error)


class Post:
    """A mail server on a port of this machine, with a certificate of its own authority."""

    def __init__(self, folder: Path) -> None:
        self.mailbox = Mailbox()
        authority = trustme.CA()
        self.authority = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(self.context)
        self.port = 0

    @asynccontextmanager
    async def open(self, security: str, *, with_password: bool = False) -> AsyncIterator[None]:
        loop, connections = asyncio.get_running_loop(), Connections()
        is_right = LoginPassword(USER.encode(), PASSWORD.encode())

        def make() -> SMTP:
            return Connection(
                self.mailbox,
                connections,
                hostname="localhost",
                loop=loop,
                tls_context=self.context if security == "starttls" else None,
                # It knows only of STARTTLS: TLS from the first byte it takes for none.
                auth_required=with_password and security == "starttls",
                auth_require_tls=security == "starttls",
                authenticator=lambda _s, _n, _e, _m, data: AuthResult(
                    success=data == is_right, handled=False
                ),
            )

        context = self.context if security == "tls" else None
        server = await loop.create_server(make, "localhost", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            await server.wait_closed()
            await connections.wait_until_gone()

    def settings(self, security: Any, **more: Any) -> MailSettings:
        return MailSettings(
            **{
                "host": "localhost",
                "port": self.port,
                "security": security,
                "authority": str(self.authority) if security != "none" else "",
                "sender": "hall@example.org",
                "timeout_ms": 5_000,
                **more,
            }
        )

    def received(self) -> list[Received]:
        pairs = zip(self.mailbox.recipients, self.mailbox.messages, strict=True)
        return [
            Received(to, str(one["Subject"]), one.get_payload(decode=True).decode())  # type: ignore[union-attr] # it has one part
            for to, one in pairs
        ]
