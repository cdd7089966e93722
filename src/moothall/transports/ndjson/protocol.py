"""Lines of newline-delimited JSON, whatever pieces the network makes of them. Pure, no await.

A line ends with LF; one CR before it is taken for a part of the end. JSON text holds no LF
outside of what is escaped, so any JSON writer that does not indent writes lines.
"""

LF = b"\n"
CR = b"\r"


class Lines:
    """Puts lines together; each byte is copied a constant number of times.

    Attributes:
        is_too_long: A line was, or will be, longer than it may be; nothing more is taken.
        empty_lines: Empty lines since the last line that was none.
    """

    __slots__ = ("_held", "_size_bytes_max", "empty_lines", "is_too_long")

    def __init__(self, size_bytes_max: int) -> None:
        """Take lines of at most this size, their end not counted."""
        self._size_bytes_max = size_bytes_max
        self._held = bytearray()
        self.is_too_long = False
        self.empty_lines = 0

    @property
    def is_within(self) -> bool:
        """Whether a line has begun and not ended."""
        return bool(self._held)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that ``data`` ends, without their ends; empty lines are left out."""
        if self.is_too_long:
            return []
        whole, end, rest = data.rpartition(LF)
        if not end:
            self._hold(rest)
            return []
        if self._held:
            self._held += whole
            whole = bytes(self._held)
            self._held = bytearray()
        lines: list[bytes] = []
        for ended in whole.split(LF):
            line = ended.removesuffix(CR)
            if not line:
                self.empty_lines += 1
                continue
            if len(line) > self._size_bytes_max:
                self.is_too_long = True
                return lines
            self.empty_lines = 0
            lines.append(line)
        self._hold(rest)
        return lines

    def _hold(self, data: bytes) -> None:
        """Keep the beginning of a line; one that cannot end well any more is forgotten."""
        self._held += data
        held, most = self._held, self._size_bytes_max
        if len(held) > most and (len(held) > most + 1 or not held.endswith(CR)):
            self.is_too_long = True
            self._held = bytearray()
