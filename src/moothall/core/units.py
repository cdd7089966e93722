"""Units that are too easily mistaken when written as bare numbers."""

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

KIBIBYTE = 1_024
MEBIBYTE = 1_024 * KIBIBYTE

SAFE_INTEGER_MAX = 2**53 - 1
"""Largest integer that every JSON reader keeps exact (RFC 8259, section 6)."""

DEADLINE_MS_MAX = 10 * MINUTE_MS
"""The longest time that a call may name. A promise of the wire, as the next one."""

CHUNK_SIZE_BYTES = 256 * KIBIBYTE
"""Bytes of every chunk of a file but the last one: a row, a call, and what is in memory of it. A
promise of the wire, on which hall, doors and client agree."""
