"""Where a coroutine waits, for whoever must be told that it may not."""

import asyncio
from pathlib import Path
from typing import Any

from moothall.storage.errors import SuspendedError

_ASYNCIO = str(Path(asyncio.__file__).parent)


def end_suspended(coroutine: Any) -> SuspendedError:
    """Close a coroutine that waits for something else than its transaction, and say where.

    Returns:
        The error to raise. What the coroutine raised on its way out is its cause.
    """
    lines = _lines_of(coroutine)
    error = SuspendedError(
        f"{lines[0]}: a READ or WRITE may await only its transaction; make it a FLOW"
        + "".join(f"\n  awaited by {line}" for line in lines[1:])
    )
    try:
        coroutine.close()
    except Exception as at_close:  # noqa: BLE001 - it awaited once more; its author reads both
        error.__cause__ = at_close
    return error


def _lines_of(awaited: Any) -> list[str]:
    """Return where a coroutine is suspended, innermost first, without the lines of asyncio."""
    lines: list[str] = []
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None and not frame.f_code.co_filename.startswith(_ASYNCIO):
            lines.insert(0, f"{frame.f_code.co_filename}:{frame.f_lineno}")
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return lines or ["a future"]
