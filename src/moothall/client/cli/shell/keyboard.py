"""Lines from a person, one at a time, through one buffer that everything in the shell shares.

Commands that the shell carries out read ``sys.stdin`` (a question, a secret through a pipe), so
this stands in its place meanwhile: what was read too far is then still there for the next one.
It also knows when a line has come without taking it, which lets a person end what runs with Enter.
"""

import asyncio
import io
import os
import sys
import time
from typing import TextIO

from moothall.client.errors import CallTimeoutError
from moothall.client.marks import override

LINE_LENGTH_MAX = 16_384
"""Characters of one line; what is longer is no answer to anything."""

_PIECE_BYTES = 4_096


class Keyboard(io.TextIOBase):
    """Standard input, read by whole lines.

    Args:
        stream: Where the lines come from.
        ends_s: When the time for everything is up, by ``time.monotonic()``; None for never.
    """

    def __init__(self, stream: TextIO, ends_s: float | None = None) -> None:
        super().__init__()
        self._stream = stream
        self._ends_s = ends_s
        self._buffer = b""
        self.is_at_end = False
        """Whether there will be no more lines: Ctrl-D, or the end of a pipe."""

    @override
    def isatty(self) -> bool:
        """Tell whether a person can be asked."""
        return self._stream.isatty()

    @override
    def fileno(self) -> int:
        """Return the descriptor, by which a terminal is told to show no secret."""
        return self._stream.fileno()

    @override
    def readable(self) -> bool:
        """Tell that lines can be read."""
        return True

    @override
    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
        """Return the next line with its end; '' where there is none any more.

        What is no text in UTF-8 becomes U+FFFD, so that it is refused as any wrong answer is.

        Raises:
            CallTimeoutError: The time for everything is up.
        """
        limit = LINE_LENGTH_MAX if size is None or size < 0 else size
        while b"\n" not in self._buffer and len(self._buffer) < limit and self._fill():
            pass
        end = self._buffer.find(b"\n") + 1 or len(self._buffer)
        end = min(end, limit)
        line, self._buffer = self._buffer[:end], self._buffer[end:]
        return line.decode("utf-8", "replace")

    async def wait_for_line(self) -> bool:
        """Return True once a line has come, and take it; False where nobody can wait for one."""
        loop, came = asyncio.get_running_loop(), asyncio.Event()
        if b"\n" not in self._buffer and not self.is_at_end:
            try:
                loop.add_reader(self._stream.fileno(), came.set)
            except NotImplementedError:  # Windows
                return False
            except OSError:
                came.set()  # A file: all of it is there.
            try:
                await came.wait()
            finally:
                loop.remove_reader(self._stream.fileno())
        self.readline()
        return True

    def _fill(self) -> bool:
        """Read some more; tell whether anything came."""
        piece = self._read_piece()
        self.is_at_end = not piece
        self._buffer += piece
        return bool(piece)

    def _read_piece(self) -> bytes:
        if sys.platform == "win32":
            return self._stream.readline().encode("utf-8", "replace")
        self._wait()
        return os.read(self._stream.fileno(), _PIECE_BYTES)

    def _wait(self) -> None:
        """Wait until something can be read, at most until the time for everything is up."""
        if self._ends_s is None:
            return
        import select  # noqa: PLC0415 - sockets only on Windows

        left_s = max(self._ends_s - time.monotonic(), 0)
        if not select.select([self._stream], [], [], left_s)[0]:
            raise CallTimeoutError("the time for everything is up", "give it more (--duration)")
