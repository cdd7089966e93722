"""Permissions and path templates, as declarations spell them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moothall.action import Request, Signed
from moothall.action.access import compile_path
from moothall.core.errors import DeclarationError
from moothall.core.paths import is_path

FIELDS = frozenset({"board_id", "entry_id", "number"})


class AtBoard(Request):
    board_id: Any = "7"
    entry_id: Any = "e"
    number: int = 3


@pytest.mark.requirement("R40")
@pytest.mark.parametrize(
    "permission",
    ["", "scores", "scores:", ":write", "Scores:write", "a:b:c", "a b:c", "a:b\n", "*"],
)
def test_a_permission_is_spelled_noun_verb(permission: str) -> None:
    with pytest.raises(DeclarationError, match="must be spelled noun:verb"):
        Signed(permission)


def test_at_is_a_path_or_a_store_function() -> None:
    with pytest.raises(DeclarationError, match="at must be a path"):
        Signed("scores:write", at=7)  # type: ignore[arg-type]  # the mistake


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("", ""),
        ("hall", "hall"),
        ("board/{board_id}", "board/7"),
        ("board/{board_id}/entry/{entry_id}", "board/7/entry/e"),
        ("board/b-{board_id}/list", "board/b-7/list"),
    ],
)
def test_a_template_is_filled_from_the_request(template: str, path: str) -> None:
    assert compile_path(template, FIELDS)(AtBoard()) == path


@pytest.mark.requirement("R40")
@pytest.mark.parametrize(
    "template",
    [
        "/board",
        "board/",
        "board//x",
        "../board",
        "board/..",
        "board/{board_id",
        "board/}",
        "board/{{board_id}}",
        "board/{board_id!r}",
        "board/{board_id:>9}",
        "board/{board_id}{entry_id}",
        "board/{board_id}-{entry_id}",
        "a board",
    ],
)
def test_what_is_no_template_is_refused_with_an_example(template: str) -> None:
    with pytest.raises(DeclarationError, match="path template") as refused:
        compile_path(template, FIELDS)
    assert repr(template) in str(refused.value)


@pytest.mark.requirement("R40")
@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("board/{bord_id}", "did you mean 'board_id'"),
        ("board/{}", "names ''"),
        ("board/{0}", "names '0'"),
        ("board/{board_id.x}", "names 'board_id.x'"),
        ("board/{board_id}/{x}", "names 'x'"),
    ],
)
def test_a_template_names_fields_that_the_request_has(template: str, told: str) -> None:
    with pytest.raises(DeclarationError, match="which the request lacks") as refused:
        compile_path(template, FIELDS)
    assert told in str(refused.value)


@pytest.mark.requirement("R20")
@pytest.mark.parametrize("template", ["board/{board_id}", "board/{board_id}/entry/{entry_id}"])
@pytest.mark.parametrize("value", ["", "..", ".", "a/b", "/", "a\n", "é", "a" * 129, " ", 7, None])
def test_nobody_escapes_by_a_value(template: str, value: object) -> None:
    assert compile_path(template, FIELDS)(AtBoard(board_id=value)) is None


@given(st.text(max_size=12), st.text(max_size=12))
def test_whatever_is_filled_in_stays_below_the_template(one: str, other: str) -> None:
    path = compile_path("board/{board_id}/entry/{entry_id}", FIELDS)(
        AtBoard(board_id=one, entry_id=other)
    )
    if path is not None:
        assert is_path(path)
        assert path == f"board/{one}/entry/{other}"
        assert path.count("/") == 3
