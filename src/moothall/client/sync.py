"""The same hall for programs without asyncio: a thread runs the asynchronous one.

What never waits is made for programs that draw frames: :meth:`SyncHall.start` and
:meth:`Pending.poll` for calls, :meth:`SyncFeed.poll` for events.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import msgspec

from moothall.client.catalog import Catalog
from moothall.client.errors import BusyError, CallTimeoutError, HallUnreachableError
from moothall.client.feed import Event, Feed, OnBreak
from moothall.client.files import Progress, Source
from moothall.client.hall import Hall
from moothall.client.retry import Effect
from moothall.client.room import refuse_positional
from moothall.client.store import Session

T = TypeVar("T")

PENDING_MAX = 256
"""Calls that were started and have not ended."""


class SyncHall:
    """A connection to one hall; the arguments are those of :class:`Hall`.

    Its methods may be called from several threads. Use it in ``with``.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self._started: set[concurrent.futures.Future[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="moothall-client", daemon=True
        )
        self._thread.start()
        try:
            self._hall = self._run(self._make(url, options))
        except BaseException:
            self._stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __getattr__(self, room: str) -> "SyncRoom":
        if room.startswith("_"):
            raise AttributeError(room)
        return SyncRoom(self, room)

    @property
    def session(self) -> Session | None:
        """The open session, if there is one."""
        return self._hall.session

    @overload
    def call(
        self,
        action: str,
        request: Mapping[str, Any] | msgspec.Struct | None = None,
        *,
        type: None = None,
        effect: Effect | str | None = None,
        idempotency_key: str | None = None,
        timeout_ms: int | None = None,
    ) -> Any: ...
    @overload
    def call(
        self,
        action: str,
        request: Mapping[str, Any] | msgspec.Struct | None = None,
        *,
        type: type[T],
        effect: Effect | str | None = None,
        idempotency_key: str | None = None,
        timeout_ms: int | None = None,
    ) -> T: ...
    def call(
        self,
        action: str,
        request: Mapping[str, Any] | msgspec.Struct | None = None,
        *,
        type: type[T] | None = None,  # noqa: A002 - as in Hall.call
        effect: Effect | str | None = None,
        idempotency_key: str | None = None,
        timeout_ms: int | None = None,
    ) -> Any:
        """Call an action and return its result; see :meth:`Hall.call`."""
        deed: Coroutine[Any, Any, Any] = self._hall.call(
            action,
            request,
            type=type,
            effect=effect,
            idempotency_key=idempotency_key,
            timeout_ms=timeout_ms,
        )
        return self._run(deed)

    def start(
        self,
        action: str,
        request: Mapping[str, Any] | msgspec.Struct | None = None,
        **options: Any,
    ) -> "Pending":
        """Begin a call and return at once; the options are those of :meth:`Hall.call`.

        Raises:
            BusyError: So many calls are under way that one more would only wait.
        """
        if len(self._started) >= PENDING_MAX:
            raise BusyError(f"{PENDING_MAX} calls have not ended yet", "poll them first")
        deed = self._hall.call(action, request, **options)
        waiting = asyncio.run_coroutine_threadsafe(deed, self._loop)
        self._started.add(waiting)
        waiting.add_done_callback(self._started.discard)
        return Pending(waiting)

    def follow(
        self, feed: str, *, after: str | None = None, on_break: OnBreak | None = None
    ) -> "SyncFeed":
        """Follow what happens, beginning at once; see :meth:`Hall.follow`.

        ``on_break`` is called in the thread of the client.

        Raises:
            BusyError: This client follows as many feeds as it may.
        """
        return SyncFeed(self._loop, self._run, self._run(self._follow(feed, after, on_break)))

    def upload(self, source: Source, *, progress: Progress | None = None) -> str:
        """Upload a file; see :meth:`Hall.upload`. ``progress`` is called in the client's thread."""
        return self._run(self._hall.upload(source, progress=progress))

    def download(
        self,
        sha256: str,
        path: str | Path,
        *,
        is_replacing: bool = False,
        progress: Progress | None = None,
    ) -> Path:
        """Fetch a file; see :meth:`Hall.download`."""
        return self._run(
            self._hall.download(sha256, path, is_replacing=is_replacing, progress=progress)
        )

    def catalog(self, *, is_fresh: bool = False) -> Catalog:
        """Return what the hall offers; see :meth:`Hall.catalog`."""
        return self._run(self._hall.catalog(is_fresh=is_fresh))

    def get_registration(self, name: str = "") -> Any:
        """Tell how one gets an account; see :meth:`Hall.get_registration`."""
        return self._run(self._hall.get_registration(name))

    def request_contact(self, contact: str) -> Any:
        """Have a code sent; see :meth:`Hall.request_contact`."""
        return self._run(self._hall.request_contact(contact))

    def register(self, name: str, password: str, **proofs: str) -> Any:
        """Make an account; see :meth:`Hall.register`."""
        return self._run(self._hall.register(name, password, **proofs))

    def sign_in_guest(self, *, device: str = "") -> Session:
        """Open a session as a guest; see :meth:`Hall.sign_in_guest`."""
        return self._run(self._hall.sign_in_guest(device=device))

    def sign_in(self, name: str, password: str, *, device: str = "") -> Session:
        """Open a session; see :meth:`Hall.sign_in`."""
        return self._run(self._hall.sign_in(name, password, device=device))

    def sign_out(self) -> None:
        """End the session; see :meth:`Hall.sign_out`."""
        self._run(self._hall.sign_out())

    def close(self) -> None:
        """Close all connections and end the thread; the session stays open."""
        if self._loop.is_closed():
            return
        try:
            for waiting in list(self._started):
                waiting.cancel()
            self._run(self._hall.close())
        finally:
            self._stop()

    async def _follow(self, feed: str, after: str | None, on_break: OnBreak | None) -> Feed:
        return self._hall.follow(feed, after=after, on_break=on_break)

    @staticmethod
    async def _make(url: str, options: Mapping[str, Any]) -> Hall:
        return Hall(url, **options)

    def _run(self, deed: Coroutine[Any, Any, T]) -> T:
        waiting = asyncio.run_coroutine_threadsafe(deed, self._loop)
        try:
            return waiting.result()
        except BaseException:
            waiting.cancel()
            raise

    def _stop(self) -> None:
        # What was given up is let go of before its loop.
        self._run(_cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class SyncRoom:
    """The actions of one room as methods."""

    def __init__(self, hall: SyncHall, name: str) -> None:
        self._hall = hall
        self._name = name

    def __getattr__(self, verb_noun: str) -> Callable[..., Any]:
        if verb_noun.startswith("_"):
            raise AttributeError(verb_noun)

        def method(*values: object, **request: Any) -> Any:
            refuse_positional(f"{self._name}.{verb_noun}", values)
            return self._hall.call(f"{self._name}.{verb_noun}", request)

        return method


class Pending:
    """A call that was started and is not waited for."""

    def __init__(self, waiting: concurrent.futures.Future[Any]) -> None:
        self._waiting = waiting

    @property
    def is_done(self) -> bool:
        """Whether the result, or an error, is there."""
        return self._waiting.done()

    def poll(self) -> Any:
        """Return the result, or None as long as there is none. Never waits.

        An action without result is told apart by :attr:`is_done`.

        Raises:
            ClientError: The call failed; see :meth:`Hall.call`.
        """
        return self._result() if self._waiting.done() else None

    def wait(self, timeout_s: float | None = None) -> Any:
        """Wait for the result and return it.

        Raises:
            CallTimeoutError: It is not there after ``timeout_s``; the call goes on.
            ClientError: The call failed; see :meth:`Hall.call`.
        """
        if concurrent.futures.wait([self._waiting], timeout=timeout_s).done:
            return self._result()
        raise CallTimeoutError("the call has not ended yet", outcome_unknown=True)

    def _result(self) -> Any:
        try:
            return self._waiting.result()
        except concurrent.futures.CancelledError:
            raise HallUnreachableError(
                "the client was closed before the answer came", outcome_unknown=True
            ) from None


class SyncFeed:
    """The events of one feed, for one thread; made by :meth:`SyncHall.follow`.

    Use it in ``with``, or close it; closing the hall closes it too.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        run: Callable[[Coroutine[Any, Any, None]], None],
        feed: Feed,
    ) -> None:
        self._loop = loop
        self._run = run
        self._feed = feed
        self._taken: Event | None = None
        self._news = threading.Event()
        feed.on_news = self._news.set
        loop.call_soon_threadsafe(feed.begin)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def name(self) -> str:
        """Name of the feed."""
        return self._feed.name

    def open(self) -> None:
        """Wait until the hall delivers the feed; see :meth:`Feed.open`."""
        self._run(self._feed.open())

    def poll(self) -> list[Event]:
        """Return the events that have come since the last time. Never waits.

        Raises:
            ClientError: Nothing more will come; raised after the last event was given out.
        """
        # Read before the events are taken: what came before the end is then never passed over.
        failure = self._feed.failure
        events = []
        while (event := self._feed.take()) is not None:
            events.append(event)
        if events:
            self._taken = events[-1]
            self._loop.call_soon_threadsafe(self._feed.read_on)
        elif failure is not None:
            raise failure
        return events

    def wait(self, timeout_s: float | None = None) -> list[Event]:
        """Wait for events and return them; none if none came within ``timeout_s``.

        Raises:
            ClientError: Nothing more will come.
        """
        self._news.clear()
        if events := self.poll():
            return events
        if not self._feed.is_closed:
            self._news.wait(timeout_s)
        return self.poll()

    def acknowledge(self) -> None:
        """Tell the hall that all events given out so far were dealt with. Never waits.

        Raises:
            CallError: The hall refused the acknowledgement before.
        """
        if (refusal := self._feed.take_refusal()) is not None:
            raise refusal
        if self._taken is not None:
            self._loop.call_soon_threadsafe(self._feed.acknowledge_soon, self._taken.cursor)

    def close(self) -> None:
        """Follow no more; see :meth:`Feed.close`."""
        if not self._loop.is_closed():
            self._run(self._feed.close())


async def _cancel_all() -> None:
    """Cancel everything else that runs on this loop, and wait for its end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others)
