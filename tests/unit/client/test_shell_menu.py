"""Menus as data: what is shown of them, and which choice an answer means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moothall.client.cli.shell.menu import (
    WIDTH,
    Choice,
    Screen,
    Step,
    explain_screen,
    facts,
    find_choice,
    shorten,
    show_screen,
    suggest,
    table,
    text_width,
)
from moothall.client.cli.shell.pages import CursorPages, OffsetPages, number_rows
from moothall.client.cli.text import neutralise


def choice(key: str, word: str, *, is_offered: bool = True) -> Choice:
    return Choice(key, word, f"do {word}", lambda _: Step.STAY, is_offered)


SCREEN = Screen(
    "Title",
    ("one", "two"),
    (
        *number_rows([lambda _: Step.STAY] * 3, 10),
        choice("s", "submit"),
        choice("d", "remove", is_offered=False),
    ),
    rows="one entry",
)


@pytest.mark.parametrize("typed", ["s", "S", "submit", "SUBMIT", " s ", "11", "13"])
def test_letter_number_or_word_is_a_choice(typed: str) -> None:
    assert find_choice(SCREEN, typed) in SCREEN.choices


@pytest.mark.parametrize(
    "typed", ["d", "remove", "10", "14", "su", "ss", "-11", "", "\u0661\u0661"]
)
def test_everything_else_is_none(typed: str) -> None:
    assert find_choice(SCREEN, typed) is None


def test_screen_shows_what_is_offered() -> None:
    assert show_screen(SCREEN) == "Title\n-----\none\ntwo\n\n[11-13] one entry  [s] do submit\n"
    explained = explain_screen(SCREEN)
    assert "submit" in explained
    assert "remove" not in explained
    assert "A number: one entry." in explained


def test_near_word_is_suggested() -> None:
    assert "did you mean submit?" in suggest(SCREEN, "sumbit")
    assert "? lists" in suggest(SCREEN, "\x1b[2J")
    assert "\x1b" not in suggest(SCREEN, "\x1b[2J")


@given(
    st.lists(st.tuples(st.text(max_size=120), st.text(max_size=120), st.integers()), max_size=4),
    st.text(max_size=200),
)
def test_whatever_others_wrote_stays_in_its_line(
    rows: list[tuple[str, str, int]], title: str
) -> None:
    """No control sign of theirs comes through, and no line is wider than the terminal."""
    lines = table(("name", "text", "number"), [(one, two, str(n)) for one, two, n in rows])
    lines += facts([("Name", title)])
    shown = show_screen(Screen(title, tuple(lines)))
    assert shown == neutralise(shown, keep="\n")
    assert len(lines) >= len(rows) + 1
    assert all(text_width(line) <= WIDTH for line in shown.split("\n"))


@given(st.text(max_size=100), st.integers(min_value=4, max_value=60))
def test_shortened_text_fits(text: str, width: int) -> None:
    assert text_width(shorten(text, width)) <= width


def test_wide_columns_give_way_to_narrow_ones() -> None:
    head, row = table(("no", "name", "text"), [("1", "n" * 70, "t" * 90)])
    assert head == "no  name" + " " * 32 + "  text"
    assert row == " 1  " + "n" * 33 + "...  " + "t" * 33 + "..."


def test_pages_by_offset() -> None:
    pages = OffsetPages(10)
    assert not pages.note(25)
    assert offered(pages) == ["n"]
    turn(pages, "n")
    turn(pages, "n")
    assert (pages.offset, offered(pages)) == (20, ["p"])
    # Rows went meanwhile: there is nothing at 20 any more.
    assert pages.note(15)
    assert pages.offset == 10
    assert pages.note(0)
    assert (pages.offset, offered(pages)) == (0, [])


def test_pages_by_cursor_go_back_too() -> None:
    pages = CursorPages(5)
    assert pages.asked == {"limit": 5}
    pages.note(5, "c1")
    turn(pages, "n")
    assert (pages.asked, pages.offset) == ({"limit": 5, "after": "c1"}, 5)
    pages.note(4, "c2")  # a page may hold fewer than asked for
    turn(pages, "n")
    pages.note(1, None)
    assert (pages.offset, offered(pages)) == (9, ["p"])
    turn(pages, "p")
    assert pages.asked == {"limit": 5, "after": "c1"}
    turn(pages, "p")
    assert (pages.asked, pages.offset) == ({"limit": 5}, 0)


def offered(pages: OffsetPages | CursorPages) -> list[str]:
    return [one.key for one in pages.choices() if one.is_offered]


def turn(pages: OffsetPages | CursorPages, key: str) -> None:
    (found,) = (one for one in pages.choices() if one.key == key)
    # Turning a page needs no shell.
    assert found.deed(None) is Step.STAY  # type: ignore[arg-type]
