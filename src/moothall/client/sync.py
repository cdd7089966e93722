"""The same hall for programs without asyncio: a thread runs the asynchronous one."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import msgspec

from moothall.client.catalog import Catalog
from moothall.client.hall import Hall
from moothall.client.retry import Effect
from moothall.client.store import Session

T = TypeVar("T")


class SyncHall:
    """A connection to one hall; the arguments are those of :class:`Hall`.

    Its methods may be called from several threads. Use it in ``with``.
    """

    def __init__(self, url: str, **options: Any) -> None:
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
            self._run(self._hall.close())
        finally:
            self._stop()

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

        def method(**request: Any) -> Any:
            return self._hall.call(f"{self._name}.{verb_noun}", request)

        return method
