"""Sending by SMTP (RFC 5321), with TLS (RFC 8314) unless the operator forbids it."""

import asyncio
import smtplib
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from moothall.core.errors import ConfigurationError
from moothall.core.operator_files import make_trust, read_secret_line
from moothall.ports.sender import SenderUnavailableError
from moothall.senders.settings import MailSettings

THREADS = 4
WAITING_MAX = 64
"""Messages that may be on their way at a time; one more is refused."""

_PORTS = {"tls": 465, "starttls": 587, "none": 25}


class SmtpSender:
    """Opens one connection for each message. Implements the port Sender."""

    def __init__(self, settings: MailSettings) -> None:
        """Read the files that ``settings`` name.

        Raises:
            ConfigurationError: Something is missing, or a file cannot be read.
        """
        if not settings.sender:
            msg = "settings: mail.sender is needed with mail.host: the address messages come from"
            raise ConfigurationError(msg)
        if bool(settings.username) != bool(settings.password_file):
            msg = "settings: mail.username and mail.password_file belong together"
            raise ConfigurationError(msg)
        if settings.username and settings.security == "none":
            msg = "settings: mail.security 'none' would show the password of mail.username to all"
            raise ConfigurationError(msg)
        self._settings = settings
        self._port = settings.port or _PORTS[settings.security]
        self._password = ""
        if settings.password_file:
            self._password = read_secret_line(
                "settings: mail.password_file", settings.password_file
            )
        self._context = None
        if settings.security != "none":
            self._context = make_trust("settings: mail.authority", settings.authority)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="moothall-mail")
        self._running = 0

    async def send(self, address: str, subject: str, text: str) -> None:
        """Hand one message over to the server.

        Raises:
            SenderUnavailableError: The server is away, not the one it should be, refuses the
                message, or takes too long.
        """
        if self._running >= WAITING_MAX:
            msg = f"{WAITING_MAX} messages wait already"
            raise SenderUnavailableError(msg)
        message = self._compose(address, subject, text)
        timeout_s = self._settings.timeout_ms / 1_000
        self._running += 1
        try:
            sending = asyncio.get_running_loop().run_in_executor(
                self._threads, self._deliver, message, timeout_s
            )
            # The count falls when the thread is free, not when nobody waits for it any more.
            sending.add_done_callback(self._done)
            await asyncio.wait_for(asyncio.shield(sending), timeout_s)
        except TimeoutError:
            msg = f"{self._settings.host} took longer than {timeout_s:g} s"
            raise SenderUnavailableError(msg) from None
        except (OSError, smtplib.SMTPException) as error:
            # Of a reply only the code: its text may repeat the address.
            code = getattr(error, "smtp_code", "")
            msg = f"{self._settings.host}: {type(error).__name__} {code}".rstrip()
            raise SenderUnavailableError(msg) from None

    def _compose(self, address: str, subject: str, text: str) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self._settings.sender
        message["To"] = address
        message["Subject"] = subject
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain=self._settings.sender.rpartition("@")[2])
        # RFC 3834: no holiday greeting shall answer.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        return message

    def _deliver(self, message: EmailMessage, timeout_s: float) -> None:
        """Speak to the server; on a thread."""
        host, context = self._settings.host, self._context
        if self._settings.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                host, self._port, timeout=timeout_s, context=context
            )
        else:
            server = smtplib.SMTP(host, self._port, timeout=timeout_s)
        with server:
            if self._settings.security == "starttls":
                server.starttls(context=context)
            if self._settings.username:
                server.login(self._settings.username, self._password)
            server.send_message(message)

    def _done(self, sending: "asyncio.Future[None]") -> None:
        self._running -= 1
        if not sending.cancelled():
            sending.exception()  # seen: whoever waited was told, or waits no longer
