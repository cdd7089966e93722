"""Ids and slugs."""

import string

from hypothesis import given
from hypothesis import strategies as st

from moothall.core.ids import ENTROPY_BYTES, ID_LENGTH, SLUG_LENGTH_MAX, is_id, make_id, make_slug
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
