"""Bytes spoilt at random, and what was found cut down to the little that it takes."""

import random
from collections.abc import Awaitable, Callable

INTERESTING = [
    *(bytes([one]) for one in b'\x00\r\n\t "{}[]:,\\/.;=%-+0_\x7f\x80\xc0\xed\xfe\xff'),
    *(b"\r\n", b"\n\n", b"\r\n\r\n", b"0\r\n\r\n", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\ud800"),
    *(b"18446744073709551616", b"-1", b"1e309", b"9" * 30, b"\xd9\xa1", b"null", b"A" * 300),
]
CUTS_MAX = 400
"""How often a finding is tried again while it is cut down."""


def mutate(data: bytes, chance: random.Random, times: int) -> bytes:
    """Return ``data`` with some bytes lost, doubled, moved, flipped or replaced."""
    spoilt = bytearray(data)
    for _ in range(times):
        start = chance.randrange(len(spoilt) + 1)
        end = min(len(spoilt), start + chance.choice([1, 1, 2, 4, 16]))
        piece = bytes(spoilt[start:end])
        match chance.randrange(7):
            case 0 if piece:
                spoilt[start] ^= 1 << chance.randrange(8)
            case 1:
                del spoilt[start:end]
            case 2:
                spoilt[start:start] = piece * chance.choice([1, 2, 50])
            case 3:
                there = chance.randrange(len(spoilt) + 1)
                del spoilt[start:end]
                spoilt[there:there] = piece
            case 4 | 5:
                spoilt[start:end] = chance.choice(INTERESTING)
            case _:
                spoilt[start:start] = chance.choice(INTERESTING)
    return bytes(spoilt)


async def cut_down(data: bytes, still: Callable[[bytes], Awaitable[bool]]) -> bytes:
    """Return a smaller text for which ``still`` holds: ever smaller pieces are left out."""
    tries, size = 0, max(1, len(data) // 2)
    while size and tries < CUTS_MAX:
        start = 0
        while start < len(data) and tries < CUTS_MAX:
            tries += 1
            shorter = data[:start] + data[start + size :]
            if await still(shorter):
                data = shorter
            else:
                start += size
        size //= 2
    return data
