"""One connection to a NATS server, from its beginning to its end.

It is nats-py's client without its reconnecting. That keeps what it could not send and sends it
later, gives up for good after some refusals, and waits for its peer where it closes: one that
reads nothing any more would hold it up. Here a connection that breaks says so at once, in
``broken``; whoever uses it then ends it by ``discard`` and makes a new one. For this some of the
library's inner methods are overridden; ``tests/contract/test_bus_faults.py`` notices if a release
of it has them no more.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any

from nats import errors
from nats.aio.client import Client
from nats.aio.transport import TcpTransport

from moothall.bus.access import ServerAddress, SignIn
from moothall.bus.bounds import (
    CLOSE_SECONDS_MAX,
    CONNECT_SECONDS_MAX,
    PAYLOAD_BYTES_MAX,
    PING_SECONDS,
    WAITING_BYTES_MAX,
)
from moothall.core.errors import MoothallError

_PROBE = "$probe"
"""No topic, so nobody listens: it shows whether the server lets this hall publish."""

_QUOTE = "'"


class LinkRefusedError(MoothallError):
    """The server is there, but does not let this hall in; somebody must mend that."""


class Link(Client):
    """A connection that carries all hints of a hall.

    Args:
        prefix: Of the hall's subjects, with a dot at the end.
        on_message: Called with topic and payload of each hint of another node; must not raise.
    """

    def __init__(self, prefix: str, on_message: Callable[[str, bytes], None]) -> None:
        super().__init__()
        self.broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done when the connection is of no use any more; tells why."""
        self._prefix = prefix
        self._on_message = on_message
        self._must_encrypt = False
        self._cause: Exception | None = None

    async def open(
        self, address: ServerAddress, sign_in: SignIn, trust: ssl.SSLContext | None
    ) -> None:
        """Connect, sign in, and return once every hint of other nodes will arrive.

        Raises:
            LinkRefusedError: The server does not let this hall in, or cannot be trusted.
            OSError: It cannot be reached.
            TimeoutError: It does not answer.
            Exception: What else the library may raise for what came from the server.
        """
        self._must_encrypt = address.is_encrypted
        try:
            await self._connect(address, sign_in, trust)
        except errors.NoServersError:
            raise self._cause or TimeoutError from None
        except ssl.SSLCertVerificationError as error:
            msg = f"its certificate cannot be trusted: {error.verify_message}"
            raise LinkRefusedError(msg) from None
        except TimeoutError:  # the library's own is one of its errors too
            raise
        except errors.Error as error:
            raise LinkRefusedError(_text_of(error)) from None
        self._watch()
        await self.subscribe(f"{self._prefix}>")
        await self.publish(f"{self._prefix}{_PROBE}")
        # Should the server complain about these, it does so before it answers. A ping of the
        # library overtakes what waits to be sent; the second one comes after it.
        await self.flush(CONNECT_SECONDS_MAX)
        await self.flush(CONNECT_SECONDS_MAX)
        if self.broken.done():
            raise LinkRefusedError(self.broken.result())

    async def send(self, topic: str, payload: bytes) -> bool:
        """Hand a hint over without waiting; False if it cannot be sent or too much waits."""
        if self.broken.done() or self.pending_data_size + len(payload) > WAITING_BYTES_MAX:
            return False
        try:
            await self.publish(f"{self._prefix}{topic}", payload)
        except (errors.Error, OSError):
            return False
        return True

    async def discard(self) -> None:
        """End the connection at once, whatever the server does, and all that belongs to it."""
        self._status = Client.CLOSED
        transport = self._transport
        writer = transport._io_writer if isinstance(transport, TcpTransport) else None  # noqa: SLF001 - no other way leads to `abort`
        if writer is not None:
            writer.transport.abort()
        tasks = self._tasks()
        for task in tasks:
            task.cancel()
        # Nobody else fetches their errors, which asyncio would print then.
        await asyncio.gather(*tasks, return_exceptions=True)
        if writer is not None:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS_MAX):
                    await writer.wait_closed()

    async def _connect(
        self, address: ServerAddress, sign_in: SignIn, trust: ssl.SSLContext | None
    ) -> None:
        key, jwt = sign_in.key, sign_in.jwt
        if key is not None and jwt is None:
            self._public_nkey = key.public
        await self.connect(
            address.url,
            error_cb=self._note,
            name=self._prefix,
            allow_reconnect=False,
            # The library tries to connect once more, at once; how often else is for the bus to say.
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=CONNECT_SECONDS_MAX,
            ping_interval=PING_SECONDS,
            max_outstanding_pings=1,
            no_echo=True,
            tls=trust,
            user=sign_in.user,
            password=sign_in.password,
            token=sign_in.token,
            signature_cb=None if key is None else key.sign,
            user_jwt_cb=None if jwt is None else lambda: jwt,
            # More than ever waits here, or else publishing would wait.
            pending_size=2 * WAITING_BYTES_MAX,
        )

    def _watch(self) -> None:
        """Learn of the end of the library's tasks, which some errors end without a word."""
        for task in self._tasks():
            task.add_done_callback(lambda _task: self._break("the connection ended"))

    def _tasks(self) -> "list[asyncio.Task[Any]]":
        found = (self._reading_task, self._ping_interval_task, self._flusher_task)
        return [task for task in found if task is not None]

    def _break(self, reason: str) -> None:
        if not self.broken.done():
            self.broken.set_result(reason)
        # Whoever waits for an answer need not wait any longer.
        pongs, self._pongs = self._pongs, []
        for pong in pongs:
            if not pong.done():
                pong.set_result(True)

    async def _note(self, error: Exception) -> None:
        """Keep why a try to connect failed; the library would print it."""
        self._cause = error

    # --- what the library calls ---------------------------------------------------------------

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # noqa: FBT001, FBT002 - the library's own signature
        """Encrypt where the address says so; the library leaves that to what the server tells.

        Somebody between could tell that TLS is not wanted, and then read the password.
        """
        if self._must_encrypt and initial_connection:
            if not (info.get("tls_required") or info.get("tls_available")):
                msg = "it offers no TLS, which the address tls://... demands"
                raise errors.Error(msg)
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)

    async def _process_msg(
        self,
        sid: int,  # noqa: ARG002 - the library's own signature
        subject: bytes,
        reply: bytes,  # noqa: ARG002 - as above
        data: bytes,
        headers: bytes,  # noqa: ARG002 - as above
    ) -> None:
        """Take a message at once, instead of a queue and a task for each subscription."""
        if len(data) <= PAYLOAD_BYTES_MAX:
            self._on_message(subject.decode().removeprefix(self._prefix), data)

    async def _process_err(self, err_msg: str) -> None:
        """Learn that the server complains; it mostly hangs up then."""
        self._break(f"it says: {err_msg.strip(_QUOTE)}")

    async def _process_op_err(self, e: Exception) -> None:
        """Learn that the connection broke, or that the server answers no pings."""
        self._break(describe(e))


def describe(error: Exception) -> str:
    """Return why a connection failed, as an operator should read it; holds no secret. Pure."""
    if isinstance(error, errors.UnexpectedEOF):
        return "it closed the connection"
    if isinstance(error, TimeoutError | errors.StaleConnectionError):
        return "it does not answer"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    if isinstance(error, errors.Error | MoothallError):
        return _text_of(error)
    return f"its answer is not understood ({type(error).__name__})"


def _text_of(error: Exception) -> str:
    """Return the text of one of the library's errors without what it puts around."""
    return str(error).removeprefix("nats: ").strip(_QUOTE)
