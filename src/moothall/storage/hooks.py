"""What a call has left to be done after its commit."""

from collections.abc import Callable, Iterable

import structlog

_log = structlog.get_logger("moothall.hooks")


def run_hooks(hooks: Iterable[Callable[[], None]]) -> None:
    """Run hooks in their order; a bug of one must not stop the others, or whoever runs them."""
    for hook in hooks:
        try:
            hook()
        except Exception as error:  # noqa: BLE001 - the change is durable, and others wait
            _log.error("a hook failed after its commit", exc_info=error)
