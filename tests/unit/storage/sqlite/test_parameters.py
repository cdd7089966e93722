"""Turning `$1` into `?1`."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moothall.storage.sqlite.parameters import rewrite_parameters

CASES = {
    "SELECT $1": "SELECT ?1",
    "SELECT $2, $1, $2": "SELECT ?2, ?1, ?2",
    "VALUES ($1,$2,$10,$11)": "VALUES (?1,?2,?10,?11)",
    "SELECT $1::text": "SELECT ?1::text",
    "SELECT '$1'": "SELECT '$1'",
    "SELECT '''$1', $1": "SELECT '''$1', ?1",
    "SELECT 'a' '$1' || $1": "SELECT 'a' '$1' || ?1",
    "SELECT '''' || $1 || '$2'": "SELECT '''' || ?1 || '$2'",
    'SELECT "$1", $1': 'SELECT "$1", ?1',
    'SELECT """$1", $1': 'SELECT """$1", ?1',
    "SELECT $1 -- it's $2\n, $2": "SELECT ?1 -- it's $2\n, ?2",
    "SELECT $1 /* it's\n$2 */, $2": "SELECT ?1 /* it's\n$2 */, ?2",
    "SELECT a$1, a_$2, ä$3, $1": "SELECT a$1, a_$2, ä$3, ?1",
    "SELECT $name, $$": "SELECT $name, $$",
    "SELECT $\u0661": "SELECT $\u0661",
    "SELECT\n  $1,\t $2": "SELECT ?1, ?2",
    "SELECT 'a\n  b', \"a\n  b\"": "SELECT 'a\n  b', \"a\n  b\"",
    "SELECT 5-$1, 6--$2\n-$3": "SELECT 5-?1, 6--$2\n-?3",
}


@pytest.mark.parametrize("sql", CASES)
def test_only_parameters_are_rewritten(sql: str) -> None:
    assert rewrite_parameters(sql) == CASES[sql]


quoted = st.text("$1x'\" \n/*-").map(lambda text: "'" + text.replace("'", "''") + "'")
named = st.text("$1x' \n/*-").map(lambda text: f'"{text}"')
comment = st.text("$1x'\"").map(lambda text: f"/*{text}*/") | st.text("$1x'\"*/").map(
    lambda text: f"--{text}\n"
)
parameter = st.integers(1, 999).map(lambda number: f"${number}")
plain = st.sampled_from(["a", ",", "(", ")", "="])


@given(st.lists(st.one_of(quoted, named, comment, parameter, plain)))
def test_text_stays_and_parameters_do_not(pieces: list[str]) -> None:
    sql = " ".join(pieces)
    expected = " ".join(
        piece.replace("$", "?") if re.fullmatch(r"\$\d+", piece) else piece for piece in pieces
    )
    assert rewrite_parameters(sql) == expected
