"""One connection that stays, from its handshake to its end: calls out of order, and notices.

Replies find their calls by id, whatever their order. A connection on which nothing is heard for
45 s is dropped; a hall that asks for a sign of life gets one.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from moothall.client.errors import CallTimeoutError, HallUnreachableError
from moothall.client.exchange import HTTP_OK, Answer
from moothall.client.frames import (
    BadFrameError,
    Closing,
    Notice,
    Reply,
    read_frame,
    read_params,
    render_request,
    size_bytes_max_of,
)
from moothall.client.problems import read_problem
from moothall.client.retry import Limits
from moothall.client.wire import MessageTooLargeError, Wire
from moothall.client.world import World

SILENT_SECONDS = 45.0
"""Silence after which a connection is taken for dead; a hall lets 15 s pass at most."""

NETWORK, SILENCE, CLOSED = "network", "silence", "closed"
NO_HALL, TOO_LARGE, SESSION_CHANGED = "no_hall", "too_large", "session_changed"
"""Endings that no hall told: the network, 45 s of nothing, this client, and a bad peer."""

OnNotice = Callable[[Notice], None]


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection is over: a reason of the hall's, or one of ours, and a sentence."""

    reason: str
    message: str = ""


@dataclass(slots=True)
class _Pending:
    answer: asyncio.Future[Answer]
    size_bytes: int


class Line:
    """An open connection.

    Args:
        url: Address, for errors.
        wire: Moves messages.
        on_notice: Takes events and endings of feeds; may raise ``BadFrameError``.

    Attributes:
        token: The access token by which it is signed in, or None.
        over: Becomes its ending.
    """

    def __init__(
        self, url: str, wire: Wire, limits: Limits, world: World, on_notice: OnNotice
    ) -> None:
        self._url = url
        self._wire = wire
        self._world = world
        self._on_notice = on_notice
        self._turns = asyncio.Semaphore(limits.calls_max)
        self._pending: dict[int, _Pending] = {}
        self._last_id = 0
        self._farewell: Ending | None = None
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._heard_s = world.monotonic()
        self.token: str | None = None
        self.over: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._watch())]

    @property
    def is_usable(self) -> bool:
        """Whether it takes calls."""
        return self._farewell is None and not self.over.done()

    async def call(
        self, action: str, body: bytes, *, key: str | None = None, timeout_s: float
    ) -> Answer:
        """Make a call and return its answer, a refusal too.

        Raises:
            CallTimeoutError: No answer within ``timeout_s``.
            HallUnreachableError: The connection ended first.
        """
        is_sent = False
        self._last_id += 1
        request_id = self._last_id
        ends_s = self._world.monotonic() + timeout_s
        try:
            async with asyncio.timeout(timeout_s), self._turns:
                if not self.is_usable:
                    raise self._broken(outcome_unknown=False)
                left_ms = int((ends_s - self._world.monotonic()) * 1_000)
                frame = render_request(request_id, action, body, key=key, deadline_ms=left_ms)
                pending = _Pending(asyncio.get_running_loop().create_future(), len(frame))
                self._pending[request_id] = pending
                is_sent = True
                self._wire.send(frame)
                await self._wire.drained()
                return await pending.answer
        except TimeoutError as error:
            raise CallTimeoutError(
                f"{self._url} did not answer within {timeout_s:.3g} s",
                "try again, or give it more time (--timeout)",
                outcome_unknown=is_sent,
            ) from error
        except OSError as error:
            self.end(Ending(NETWORK, str(error)))
            raise self._broken(outcome_unknown=True) from error
        finally:
            self._forget(request_id)

    async def authenticate(self, token: str, timeout_s: float) -> None:
        """Sign in, or renew the token in place.

        Raises:
            CallError: The hall refused the token.
            HallUnreachableError: The connection ended first.
        """
        body = msgspec.json.encode({"token": token})
        answer = await self.call("identity.authenticate", body, timeout_s=timeout_s)
        if answer.status != HTTP_OK:
            raise read_problem(answer)
        self.token = token

    def pause(self) -> None:
        """Read nothing more until :meth:`resume`, not even a sign of life."""
        self._may_read.clear()

    def resume(self) -> None:
        """Read on."""
        if not self._may_read.is_set():
            self._heard_s = self._world.monotonic()
            self._may_read.set()

    def end(self, ending: Ending) -> None:
        """Let go of the connection; calls that wait learn of it. A second time is nothing."""
        if self.over.done():
            return
        self.over.set_result(ending)
        for pending in self._pending.values():
            if not pending.answer.done():
                pending.answer.set_exception(self._broken(outcome_unknown=True))
        if ending.reason == CLOSED:
            self._wire.close()
        else:
            self._wire.abort()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    async def close(self) -> None:
        """Close the connection and wait for what belongs to it."""
        self.end(Ending(CLOSED))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._wire.closed()

    # --- what comes ---------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            while True:
                await self._may_read.wait()
                messages = await self._wire.receive()
                self._heard_s = self._world.monotonic()
                for message in messages:
                    # Where nobody takes events any more, the next one stays where it is.
                    await self._may_read.wait()
                    if self.over.done():
                        return
                    self._take(read_frame(message))
        except (OSError, EOFError) as error:
            self.end(self._farewell or Ending(NETWORK, _reason_of(error)))
        except MessageTooLargeError:
            self.end(Ending(TOO_LARGE, "a message is larger than this client reads"))
        except BadFrameError as error:
            self.end(Ending(NO_HALL, str(error)))

    def _take(self, frame: Reply | Notice) -> None:
        if isinstance(frame, Reply):
            pending = self._find(frame)
            if pending is not None and not pending.answer.done():
                pending.answer.set_result(frame.answer)
            return
        match frame.method:
            case "closing":
                said = read_params(frame, Closing)
                self._farewell = Ending(said.reason, said.message)
                if not self._pending:
                    self.end(self._farewell)
            case "heartbeat":
                # A word of ours, whose answer nobody waits for.
                self._last_id += 1
                self._wire.send(
                    render_request(self._last_id, "hall.ping", b"", key=None, deadline_ms=1_000)
                )
            case _:
                self._on_notice(frame)

    def _find(self, reply: Reply) -> _Pending | None:
        """Return the call that a reply is for; where the hall could not tell, the likely one."""
        if reply.id is not None:
            return self._pending.get(reply.id)
        size_bytes_max = size_bytes_max_of(reply.answer)
        found = [
            one
            for one in self._pending.values()
            if size_bytes_max is None or one.size_bytes > size_bytes_max
        ]
        return found[0] if len(found) == 1 else None

    def _forget(self, request_id: int) -> None:
        pending = self._pending.pop(request_id, None)
        if pending is not None and pending.answer.done() and not pending.answer.cancelled():
            pending.answer.exception()  # Told already, by what else went wrong.
        if self._farewell is not None and not self._pending:
            self.end(self._farewell)

    async def _watch(self) -> None:
        """End the connection when nothing was heard for too long."""
        while True:
            silent_s = self._world.monotonic() - self._heard_s
            if not self._may_read.is_set():
                silent_s = 0.0  # It is we who do not listen.
            if silent_s >= SILENT_SECONDS:
                self.end(Ending(SILENCE, f"nothing was heard for {SILENT_SECONDS:g} s"))
                return
            await self._world.sleep(SILENT_SECONDS - silent_s)

    def _broken(self, *, outcome_unknown: bool) -> HallUnreachableError:
        ending = self.over.result() if self.over.done() else self._farewell
        message = ending.message or ending.reason if ending is not None else NETWORK
        return HallUnreachableError(
            f"the connection to {self._url} broke ({message})",
            "look whether the deed was done before trying again" if outcome_unknown else "",
            outcome_unknown=outcome_unknown,
        )


def _reason_of(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "TLS"
    return str(error) or ("it was closed" if isinstance(error, EOFError) else type(error).__name__)
