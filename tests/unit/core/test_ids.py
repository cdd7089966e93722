"""Ids and slugs."""

import string
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from threading import Barrier, BrokenBarrierError

from hypothesis import given
from hypothesis import strategies as st

from moothall.core.ids import (
    ENTROPY_BYTES,
    ID_LENGTH,
    SLUG_LENGTH_MAX,
    RisingIds,
    is_id,
    make_id,
    make_slug,
)
from moothall.core.paths import is_segment

MOMENTS = st.integers(0, 16**11 - 1)
CHANCE = st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES)


@given(MOMENTS, CHANCE)
def test_an_id_is_short_and_stands_in_a_path(now_ms: int, entropy: bytes) -> None:
    made = make_id(now_ms, entropy)
    assert len(made) == ID_LENGTH
    assert is_id(made)
    assert is_segment(made)


@given(MOMENTS, MOMENTS, CHANCE, CHANCE)
def test_ids_sort_by_time(earlier: int, later: int, one: bytes, other: bytes) -> None:
    if earlier < later:
        assert make_id(earlier, one) < make_id(later, other)


def bytes_of(chance: bytes) -> Callable[[int], bytes]:
    return lambda _count: chance


@given(st.lists(st.tuples(MOMENTS | st.integers(0, 3), CHANCE), min_size=1, max_size=20))
def test_ids_of_a_process_rise_whatever_the_clock_says(made: list[tuple[int, bytes]]) -> None:
    ids = RisingIds()
    found = [ids.make(now_ms, bytes_of(chance)) for now_ms, chance in made]
    assert all(earlier < later for earlier, later in pairwise(found))
    assert found[0] == make_id(*made[0])


def test_ids_of_a_millisecond_count_up_and_ask_for_chance_once() -> None:
    ids, asked = RisingIds(), list[int]()

    def chance(count: int) -> bytes:
        asked.append(count)
        return b"\x5a" * count

    first, second, third = (ids.make(7, chance) for _ in range(3))
    assert (int(second, 16), int(third, 16)) == (int(first, 16) + 1, int(first, 16) + 2)
    assert asked == [ENTROPY_BYTES]
    assert ids.make(8, chance) == make_id(8, b"\x5a" * ENTROPY_BYTES)


def test_ids_rise_and_keep_their_form_where_chance_was_at_its_end() -> None:
    ids, most = RisingIds(), b"\xff" * ENTROPY_BYTES
    last, over = ids.make(7, bytes_of(most)), ids.make(7, bytes_of(most))
    assert last == make_id(7, most)
    assert over == make_id(8, bytes(ENTROPY_BYTES))
    assert ids.make(8, bytes_of(bytes(ENTROPY_BYTES))) > over
    assert is_id(over)


def test_ids_of_two_threads_in_one_moment_are_two() -> None:
    ids, both = RisingIds(), Barrier(2)

    def chance(count: int) -> bytes:
        # Two threads meet here only if the second did not wait for the first.
        with suppress(BrokenBarrierError):
            both.wait(0.05)
        return bytes(count)

    with ThreadPoolExecutor(2) as threads:
        made = list(threads.map(lambda now_ms: ids.make(now_ms, chance), (7, 7)))
    assert len(set(made)) == 2


def test_what_is_no_id() -> None:
    good = make_id(1, bytes(ENTROPY_BYTES))
    for text in ("", good[:-1], good + "0", good.upper().replace("0", "A"), good + "\n", "ada"):
        assert not is_id(text)


@given(st.text())
def test_a_slug_needs_no_quoting_anywhere(text: str) -> None:
    slug = make_slug(text)
    assert len(slug) <= SLUG_LENGTH_MAX
    assert set(slug) <= set(string.ascii_lowercase + string.digits + "-")
    assert not slug.startswith("-")
    assert not slug.endswith("-")
    assert make_slug(slug) == slug


def test_slugs_are_readable() -> None:
    assert make_slug("  Speed Run: Any% ") == "speed-run-any"
    assert make_slug("棋") == ""
