"""One HTTP/1.1 connection, under the bounds that uvicorn does not set by itself.

uvicorn reads any amount of headers for any time, queues any number of pipelined requests,
takes trailers for headers, answers a malformed request before the ones ahead of it, and
waits for ever for a client that does not read. This subclass mends that and leaves the
rest as it is. It leans on uvicorn's internals: `tests/conformance/test_http_bounds.py` and
its neighbours tell when a new release moves them.

On the way of a normal request nothing here sets a timer: a head or a body that comes whole
needs none, and the idle timer is set once and looks at the clock when it fires.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from moothall.core.errors import (
    ActionError,
    DeadlineExceededError,
    InvalidArgumentError,
    Problem,
    RateLimitedError,
)
from moothall.transports.admission import Seat
from moothall.transports.http.bounds import HttpBounds
from moothall.transports.http.cycle import HttpCycle
from moothall.transports.http.protocol import (
    Answer,
    answer_problem,
    head_too_large,
    malformed,
    render_last,
)
from moothall.transports.http.state import CHARGED, FROM_CLIENT, FROM_PROXY
from moothall.transports.http.upgrade import Upgrades, find_upgrade_fault, is_for_socket
from moothall.transports.upgrade import Upgrade, UpgradedConnection, UpgradeNeededError

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application, ASGIVersions

_ASGI: "ASGIVersions" = {"version": "3.0", "spec_version": "2.3"}
_VERSIONS = frozenset({"1.0", "1.1"})
_REQUEST_LINE_REST_BYTES = len(b"  HTTP/1.1\r\n\r\n")
_HEADER_REST_BYTES = len(b": \r\n")
_FRAMING_BYTES_PER_BYTE = 8
"""``1\\r\\na\\r\\n`` is the worst honest case: five bytes of framing for one of content."""
REFUSAL_SECONDS = 1.0
"""How long a request waits whose source has called for more than a second ahead, until the pipeline
decides. Conversations rest shorter: they hold one frame and ask again, this decides for good."""


class RefusedError(Exception):
    """Raised inside a parser callback, to stop the parser at what is refused."""


class HttpConnection(HttpToolsProtocol):
    """A connection that knows its bounds."""

    def __init__(
        self,
        config: Config,
        state: ServerState,
        seat: Seat,
        bounds: HttpBounds,
        refuse: Callable[[ActionError], Answer],
        charge_source: Callable[[str], float],
        upgrades: Upgrades | None = None,
    ) -> None:
        """Take the seat that was admitted.

        ``refuse`` makes answers to what is no request, ``charge_source`` charges a source for one
        request and returns in how many seconds it may begin. Without ``upgrades`` there is no
        other protocol behind this door.
        """
        super().__init__(config, state, {}, asyncio.get_running_loop())
        self._request_state = FROM_PROXY if seat.is_proxy else FROM_CLIENT
        self._seat = seat
        self._bounds = bounds
        self._make_refusal = refuse
        self._charge_source = charge_source
        self._upgrades = upgrades
        self._running: RequestResponseCycle | None = None
        # The request that is being read.
        self._messages = 0
        self._in_head = False
        self._in_body = False
        self._head_bytes = 0
        self._head_bytes_unsure = 0
        self._piece_bytes = 0
        self._body_bytes = 0
        self._framing_bytes = 0
        self._fault: ActionError | None = None
        # The end of the connection.
        self._is_deaf = False
        self._last_words: bytes | None = None
        self._idle_since = 0.0
        self._head_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._end_timer: asyncio.TimerHandle | None = None

    # --- the connection -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        self.client = (self._seat.source, self.client[1] if self.client else 0)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the seat back."""
        self._cancel_timers()
        self._is_deaf = True
        super().connection_lost(exc)
        self._seat.release()

    def data_received(self, data: bytes) -> None:
        """Feed the parser and see what is left unfinished."""
        if self._is_deaf:
            return
        messages_before, in_body_before = self._messages, self._in_body
        was_between = not (self._in_head or in_body_before)
        body_bytes_before = self._body_bytes
        self._piece_bytes = len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            # Others were refused when their head was complete.
            self._upgrade(data[stop.args[0] :])
            return
        except httptools.HttpParserError as error:
            self._refuse(self._fault or malformed(error))
            return
        begun = self._messages - messages_before
        if self._in_head:
            # A head that begins behind another request is that much smaller than its piece.
            is_exact = begun == 0 or (begun == 1 and was_between)
            self._count_head(begun, len(data), is_exact=is_exact)
            return
        if begun and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        if in_body_before and self._in_body and not begun:
            self._count_framing(len(data) - (self._body_bytes - body_bytes_before))

    def _count_head(self, begun: int, size_bytes: int, *, is_exact: bool) -> None:
        """Count a piece that ends in a head; a whole head is measured if it may be too large."""
        if is_exact:
            self._head_bytes += size_bytes
        else:
            self._head_bytes_unsure = size_bytes
        if self._head_bytes > self._bounds.head_size_bytes_max:
            self._refuse(head_too_large(self._bounds.head_size_bytes_max))
        elif (begun and self._messages > 1) or self._head_timer is None:
            # The first head has its time from the connection on.
            self._await_head()

    def _count_framing(self, size_bytes: int) -> None:
        """Count what of a piece was not content: sizes, extensions and trailers of chunks."""
        self._framing_bytes += size_bytes
        worst = self._bounds.head_size_bytes_max + _FRAMING_BYTES_PER_BYTE * self._body_bytes
        if self._framing_bytes > worst:
            reason = "the chunks hold far more framing than content"
            self._refuse(InvalidArgumentError("body", reason, "send larger chunks"))

    def shutdown(self) -> None:
        """Answer what is running and close; what is queued was not begun and is dropped."""
        self.pipeline.clear()
        if self._running is None or self._running.response_complete:
            self._close()
            return
        if self._running is not self.cycle or not self._in_body:
            self._is_deaf = True
        self._running.keep_alive = False

    # --- what the parser finds ----------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a head."""
        self._messages += 1
        self._in_head = True
        self._head_bytes = self._head_bytes_unsure = 0
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; a trailer is dropped (RFC 9110, section 6.5.1)."""
        if self._in_head:
            name = name.lower()
            self.headers.append((name, value))
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True

    def on_headers_complete(self) -> None:
        """Start the request, or queue it behind the one that is running."""
        self._in_head = False
        version = self.parser.get_http_version()
        is_upgrade = self.parser.should_upgrade()
        if fault := self._find_fault(version, is_upgrade=is_upgrade):
            self._fault = fault
            raise RefusedError
        path, _, query = self.url.partition(b"?")
        self.scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "state": self._request_state,  # type: ignore[typeddict-item]  # handed on as it is
            "scheme": self.scheme or "https",
            "method": self.parser.get_method().decode("ascii"),
            "root_path": "",
            # Nothing here is found by a path with escapes in it, so none is undone.
            "path": path.decode("ascii"),
            "raw_path": path,
            "query_string": query,
            "headers": self.headers,
        }
        self._in_body = True
        self._body_bytes = 0
        self._framing_bytes = 0
        if is_upgrade:
            return
        ahead: RequestResponseCycle | None = self.cycle
        cycle = self.cycle = HttpCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version == "1.1" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if ahead is None or ahead.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body; beyond a mark, reading rests until it is taken."""
        self._body_bytes += len(body)
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """End the request."""
        self._in_body = False
        if self.parser.should_upgrade() or self.cycle.response_complete:
            return
        self.cycle.more_body = False
        self.cycle.message_event.set()

    def _find_fault(self, version: str, *, is_upgrade: bool) -> ActionError | None:
        """Return why a head is refused before anybody looks into it."""
        bounds = self._bounds
        at_most = self._head_bytes + self._head_bytes_unsure + self._piece_bytes
        if (
            at_most > bounds.head_size_bytes_max
            and self._measure_head() > bounds.head_size_bytes_max
        ):
            return head_too_large(self._bounds.head_size_bytes_max)
        if version not in _VERSIONS:
            return InvalidArgumentError("version", "this door speaks HTTP/1.1")
        if is_upgrade:
            fault = find_upgrade_fault(self.parser.get_method(), self.url, version, self.headers)
            if fault is not None or self._upgrades is None:
                return fault or InvalidArgumentError("Upgrade", "there is no other protocol here")
            if self._running is not None and not self._running.response_complete:
                return InvalidArgumentError("pipeline", "wait for the answer before an upgrade")
        elif self._upgrades is not None and is_for_socket(self.parser.get_method(), self.url):
            return UpgradeNeededError("this path is for WebSocket")
        if not self.url.startswith(b"/"):
            return InvalidArgumentError("path", "a path begins with '/'")
        if len(self.pipeline) >= bounds.pipelined_requests_max:
            return InvalidArgumentError("pipeline", "too many requests wait for an answer")
        return None

    def _measure_head(self) -> int:
        line = len(self.parser.get_method()) + len(self.url) + _REQUEST_LINE_REST_BYTES
        return line + sum(
            len(name) + len(value) + _HEADER_REST_BYTES for name, value in self.headers
        )

    # --- another protocol ---------------------------------------------------------------------

    def _upgrade(self, rest: bytes) -> None:
        """Hand the connection over, with its seat and with what came behind the request."""
        assert self._upgrades is not None
        self._in_body = False
        connections, seat, headers = self.connections, self._seat, self.server_state.default_headers

        def forget(upgraded: UpgradedConnection) -> None:
            connections.discard(cast("Any", upgraded))
            seat.release()

        def render_refusal(problem: Problem) -> bytes:
            return render_last(answer_problem(problem, had_token=True), headers)

        try:
            token, source = self._upgrades.read(self.scope)
            upgraded = self._upgrades.open(
                Upgrade(self.headers, source, token, render_refusal, forget)
            )
        except ActionError as error:
            self._refuse(error)
            return
        self._is_deaf = True
        self._cancel_timers()
        connections.discard(self)
        connections.add(cast("Any", upgraded))
        self.parser = None  # type: ignore[assignment]  # as uvicorn lets go of its callbacks
        self.transport.set_protocol(cast("asyncio.Protocol", upgraded))
        upgraded.connection_made(self.transport)
        if rest:
            upgraded.data_received(rest)

    # --- requests -----------------------------------------------------------------------------

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: "ASGI3Application") -> None:
        self._running = cycle
        delay = 0.0 if self._seat.is_proxy else self._reserve(cycle)
        if not delay:
            super()._start_asgi_task(cycle, app)
            return
        # Who calls too often waits for their turn: a flood of refusals would cost nearly as
        # much as answers, and a burst of answers would keep others waiting (R35).
        self.flow.pause_reading()
        self.loop.call_later(delay, self._start_late, cycle, app)

    def _reserve(self, cycle: RequestResponseCycle) -> float:
        """Charge the source for a request, and return in how many seconds it may begin.

        Where no place is near enough it waits for a while without one, and the pipeline decides
        then: it refuses, or charges a source that has paused meanwhile.
        """
        try:
            delay = self._charge_source(self._seat.source)
        except RateLimitedError:
            return REFUSAL_SECONDS
        cycle.scope["state"] = CHARGED  # type: ignore[typeddict-item]  # handed on as it is
        return delay

    def _start_late(self, cycle: RequestResponseCycle, app: "ASGI3Application") -> None:
        if not cycle.disconnected:
            super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Go on with the next request, the last words, the end, or a rest."""
        assert self._running is not None
        if self.transport.is_closing():
            self._close()
        elif not self._running.keep_alive:
            self._leave()
        elif self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self._last_words is not None:
            self._say_last_words()
        else:
            self.flow.resume_reading()
            self._idle_since = self.loop.time()
            if self._idle_timer is None:
                self._idle_timer = self.loop.call_later(
                    self._bounds.idle_timeout_ms / 1_000, self._on_idle_timer
                )

    def _refuse(self, error: ActionError) -> None:
        """Answer what is no request, after the requests ahead of it, and close."""
        self._is_deaf = True
        if self._head_timer is not None:
            self._head_timer.cancel()
        faulty = self.cycle if self._in_body else None
        if faulty is not None:
            # Its head was fine, so it waits or runs; it must not answer as well.
            if faulty.response_started:
                self._close()
                return
            faulty.disconnected = True
            faulty.message_event.set()
            if self.pipeline and self.pipeline[0][0] is faulty:
                self.pipeline.popleft()
        self._last_words = render_last(self._make_refusal(error), self.server_state.default_headers)
        ahead = self._running
        if ahead is None or ahead is faulty or ahead.response_complete:
            self._say_last_words()

    def _say_last_words(self) -> None:
        """Write the refusal of what was no request."""
        assert self._last_words is not None
        self.transport.write(self._last_words)
        self._last_words = None
        self._leave()

    def _leave(self) -> None:
        """End the connection so that the client can read the last answer.

        To close while the client still sends would make its system throw the answer away
        (RFC 9112, section 9.6), so what comes is read for a moment and thrown away.
        """
        self._is_deaf = True
        self.pipeline.clear()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            with contextlib.suppress(OSError):  # the client has just gone
                self.transport.write_eof()
        self._linger_timer = self.loop.call_later(
            self._bounds.linger_timeout_ms / 1_000, self._close
        )

    # --- time ---------------------------------------------------------------------------------

    def _cancel_timers(self) -> None:
        for timer in (self._head_timer, self._idle_timer, self._linger_timer, self._end_timer):
            if timer is not None:
                timer.cancel()

    def _await_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._head_timer = self.loop.call_later(
            self._bounds.head_timeout_ms / 1_000, self._on_head_timer
        )

    def _on_head_timer(self) -> None:
        """Close a connection whose head did not come in time; silently, if none of it did."""
        self._head_timer = None
        if self.flow.read_paused:
            # We do not listen ourselves, because an earlier request runs.
            self._await_head()
        elif self._in_head:
            timeout_ms = self._bounds.head_timeout_ms
            self._refuse(
                DeadlineExceededError(f"the headers did not arrive within {timeout_ms} ms")
            )
        else:
            self._close()

    def _on_idle_timer(self) -> None:
        """Close if it rested long enough, else look again when it may have."""
        self._idle_timer = None
        is_busy = self._running is not None and not self._running.response_complete
        if is_busy or self._in_head or self._is_deaf:
            return
        left = self._idle_since + self._bounds.idle_timeout_ms / 1_000 - self.loop.time()
        if left > 0:
            self._idle_timer = self.loop.call_later(left, self._on_idle_timer)
        else:
            self._close()

    def pause_writing(self) -> None:
        """Give the client some time to read."""
        super().pause_writing()
        self._await_end()

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        super().resume_writing()
        if self._end_timer is not None and not self.transport.is_closing():
            self._end_timer.cancel()
            self._end_timer = None

    def _close(self) -> None:
        """Close when what was written is read, and without it when that takes too long."""
        self._is_deaf = True
        self.transport.close()
        self._await_end()

    def _await_end(self) -> None:
        if self._end_timer is None:
            self._end_timer = self.loop.call_later(
                self._bounds.listener.write_timeout_ms / 1_000, self.transport.abort
            )
