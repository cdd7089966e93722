"""``GET /v1/feeds/<feed>``: the calls and the stream behind it.

It is ``identity.authenticate`` and ``feeds.subscribe`` on a connection that lasts as long as the
answer, so who may follow what is decided where it is for every other door.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from moothall.action.call import Call
from moothall.transports.backend import AUTHENTICATE, SUBSCRIBE, Backend
from moothall.transports.http.event_stream import EventStream
from moothall.transports.http.protocol import Answer, FeedRequest, Headers, answer_problem

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_HEADERS: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    # What lies between must pass each event on as it comes.
    (b"x-accel-buffering", b"no"),
]
_encode = msgspec.json.encode


class FeedStreams:
    """Answers requests for feeds."""

    def __init__(self, backend: Backend) -> None:
        """Take calls to the house."""
        self._answer = backend.answer
        self._connections = backend.connections
        self._cursor_of = backend.cursor_of

    async def serve(
        self, request: FeedRequest, source: str, more: Headers, receive: Receive, send: Send
    ) -> Answer | None:
        """Stream a feed until somebody ends it; or return the answer that refuses it.

        Args:
            request: Which feed, from where on, by whose token.
            source: Address of the client.
            more: Headers to send besides.
            receive: Ends with a disconnect.
            send: Takes the answer in pieces.
        """
        stream = EventStream(self._cursor_of, self._connections.bounds.queued_bytes_max)
        connection = self._connections.open("events", source, stream, hears=False)
        stream.on_slow = connection.end
        watch: asyncio.Task[None] | None = None
        try:
            if request.token is not None:
                bind = _encode({"token": request.token})
                reply = await self._answer(Call(AUTHENTICATE, bind, source, connection=connection))
                if reply.problem is not None:
                    return answer_problem(reply.problem, had_token=True)
            ask = {"feed": request.feed} | ({"after": request.after} if request.after else {})
            reply = await self._answer(
                Call(
                    SUBSCRIBE,
                    _encode(ask),
                    source,
                    token=request.token,
                    connection=connection,
                )
            )
            if reply.problem is not None:
                return answer_problem(reply.problem, had_token=request.token is not None)
            watch = asyncio.get_running_loop().create_task(_close_when_gone(receive, stream))
            request_id = (b"request-id", reply.request_id.encode("ascii"))
            headers = [*_HEADERS, request_id, *more]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while data := await stream.take():
                await send({"type": "http.response.body", "body": data, "more_body": True})
                if not connection.subscriptions:
                    # The one feed of this stream has ended; that was said, or waits to be.
                    stream.close()
            await send({"type": "http.response.body", "body": b""})
        except asyncio.CancelledError:
            if watch is None:
                raise
            # The door stops, and the reader reads nothing; a second answer cannot begin.
        finally:
            if watch is not None:
                watch.cancel()
            self._connections.forget(connection)
        return None


async def _close_when_gone(receive: Receive, stream: EventStream) -> None:
    """End the stream of a client that has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.close()
