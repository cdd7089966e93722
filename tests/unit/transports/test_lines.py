"""Lines come out the same, whatever pieces they come in."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moothall.transports.ndjson.protocol import Lines

MOST = 8

TEXTS = st.lists(
    st.sampled_from([b"\n", b"\r\n", b"\r", b"a", b"bcd", b"x" * MOST, b"y" * (MOST + 1)])
).map(b"".join)


def feed(pieces: list[bytes]) -> tuple[list[bytes], bool, bool]:
    lines = Lines(MOST)
    found = [line for piece in pieces for line in lines.feed(piece)]
    return found, lines.is_too_long, lines.is_within


def expect(text: bytes) -> tuple[list[bytes], bool]:
    """Return what a simpler reader makes of the whole text."""
    *ended, rest = text.split(b"\n")
    found: list[bytes] = []
    for line in (line.removesuffix(b"\r") for line in ended):
        if len(line) > MOST:
            return found, True
        if line:
            found.append(line)
    # What is left may still end well: with LF, or, where it is one longer and CR, with that.
    return found, len(rest.removesuffix(b"\r")) > MOST


@pytest.mark.requirement("R32")
@given(text=TEXTS, cuts=st.lists(st.integers(0, 200)))
@example(text=b"x" * MOST + b"\r\r", cuts=[])
@example(text=b"x" * MOST + b"\r\n", cuts=[MOST + 1])
def test_any_split_gives_the_same_lines(text: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(edges)]
    found, is_too_long, _ = feed(pieces)
    assert (found, is_too_long) == expect(text)


@pytest.mark.requirement("R32")
def test_single_bytes_give_the_same_lines() -> None:
    text = b"first\r\n\n\r\nsecond\nthi"
    found, is_too_long, is_within = feed([bytes([byte]) for byte in text])
    assert found == [b"first", b"second"]
    assert (is_too_long, is_within) == (False, True)


@pytest.mark.requirement("R32")
def test_lines_before_one_that_is_too_long_are_given_and_none_after() -> None:
    lines = Lines(MOST)
    assert lines.feed(b"good\n" + b"x" * 9 + b"\nlate\n") == [b"good"]
    assert lines.is_too_long
    assert lines.feed(b"later\n") == []


@pytest.mark.requirement("R32")
def test_line_without_end_is_forgotten_when_it_is_too_long() -> None:
    lines = Lines(MOST)
    for _ in range(MOST + 1):
        assert not lines.is_too_long
        assert lines.feed(b"x") == []
    assert lines.is_too_long
    assert not lines.is_within


@pytest.mark.requirement("R32")
def test_empty_lines_are_counted_until_a_line_comes() -> None:
    lines = Lines(MOST)
    assert lines.feed(b"\n\r\n\n") == []
    assert lines.empty_lines == 3
    assert lines.feed(b"a\n\n") == [b"a"]
    assert lines.empty_lines == 1
