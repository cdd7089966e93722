"""A page that is full may have a next one; one that is not full is the last."""

import pytest

from moothall.action import next_cursor


@pytest.mark.parametrize(
    ("found", "expected"),
    [((), None), (("a",), None), (("a", "b"), None), (("a", "b", "c"), "C")],
)
def test_only_a_full_page_has_a_next_one(found: tuple[str, ...], expected: str | None) -> None:
    assert next_cursor(found, 3, str.upper) == expected
