"""Resource paths, against a naive model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moothall.core.paths import ROOT, covers, enclosing, is_path, is_segment

SEGMENTS = st.sampled_from(["org", "1", "10", "board", "a", "a-b", "a.b"])
PATHS = st.lists(SEGMENTS, max_size=5).map("/".join)


def naive_covers(outer: str, inner: str) -> bool:
    above, below = outer.split("/") if outer else [], inner.split("/") if inner else []
    return below[: len(above)] == above


@pytest.mark.requirement("R20")
@given(PATHS, PATHS)
def test_covers_segment_by_segment(outer: str, inner: str) -> None:
    assert covers(outer, inner) == naive_covers(outer, inner)


@pytest.mark.requirement("R20")
def test_org_1_never_covers_org_10() -> None:
    assert covers("org/1", "org/1")
    assert covers("org/1", "org/1/board/7")
    assert not covers("org/1", "org/10")
    assert not covers("org/10", "org/1")
    assert "org/1" not in enclosing("org/10")


@given(PATHS, PATHS)
def test_enclosing_is_all_that_covers_nearest_first(path: str, other: str) -> None:
    above = enclosing(path)
    assert above[0] == path
    assert above[-1] == ROOT
    assert [len(place) for place in above] == sorted({len(p) for p in above}, reverse=True)
    assert (other in above) == covers(other, path)


@pytest.mark.parametrize(
    "text", ["/", "a/", "/a", "a//b", "..", "a/..", ".", "a b", "a\n", "é", "-a", "a/" * 8 + "a"]
)
def test_what_is_no_path(text: str) -> None:
    assert not is_path(text)


@given(st.text(max_size=20))
def test_a_segment_holds_nothing_that_leads_elsewhere(text: str) -> None:
    if is_segment(text):
        assert "/" not in text
        assert text not in {"", ".", ".."}
        assert text.isascii()
        assert text.isprintable()
