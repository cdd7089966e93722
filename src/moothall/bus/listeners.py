"""Who listens to a bus on this node."""

from collections.abc import Callable

import structlog

from moothall.bus.bounds import check_topic

_log = structlog.get_logger("moothall.bus")


class Listeners:
    """Subscribers by topic, and who wants to know of connections."""

    def __init__(self) -> None:
        self._subscribers: dict[str, list[Callable[[bytes], None]]] = {}
        self._on_restored: list[Callable[[], None]] = []

    def subscribe(self, topic: str, on_message: Callable[[bytes], None]) -> None:
        """Add a subscriber.

        Raises:
            ValueError: The topic is none.
        """
        check_topic(topic)
        self._subscribers.setdefault(topic, []).append(on_message)

    def on_restored(self, callback: Callable[[], None]) -> None:
        """Add somebody who is told of connections."""
        self._on_restored.append(callback)

    def deliver(self, topic: str, payload: bytes) -> bool:
        """Tell all subscribers of a topic; False if there is none."""
        subscribers = self._subscribers.get(topic, ())
        for on_message in subscribers:
            try:
                on_message(payload)
            except Exception:  # noqa: BLE001 - a mistake of one must not stop the others
                _log.exception("a subscriber failed", topic=topic)
        return bool(subscribers)

    def tell_restored(self) -> None:
        """Tell that hints may have been missed until now."""
        for callback in self._on_restored:
            try:
                callback()
            except Exception:  # noqa: BLE001 - as above
                _log.exception("a callback for a restored bus failed")
