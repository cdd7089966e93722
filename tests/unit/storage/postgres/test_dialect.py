"""The words of SQLite's definitions as PostgreSQL reads them, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moothall.storage.postgres.dialect import translate

WORDS = st.sampled_from(
    ["INTEGER", "integer", "TEXT", "REAL", "BLOB", "STRICT", ") WITHOUT ROWID", "a b", "$1", ";"]
)
QUIET = st.text(st.sampled_from("abc INTEGER TEXT();,-*/$\n"), max_size=30)

LITERALS = QUIET.map(lambda text: f"'{text.replace('-', '')}'")
NAMES = QUIET.map(lambda text: f'"{text}"')
LINES = QUIET.map(lambda text: f"-- {text.replace(chr(10), ' ')}\n")
BLOCKS = QUIET.map(lambda text: f"/* {text.replace('*/', '')} */")
KEPT = LITERALS | NAMES | LINES | BLOCKS


@given(st.lists(st.tuples(st.just(0), KEPT) | st.tuples(st.just(1), WORDS), max_size=12))
def test_literals_names_and_comments_stay_as_they_are(pieces: list[tuple[int, str]]) -> None:
    sql = " ".join(text for _, text in pieces)
    translated = translate(sql)
    at = 0
    for is_word, text in pieces:
        if not is_word:
            at = translated.index(text, at) + len(text)


@given(st.lists(KEPT, max_size=8))
def test_what_holds_no_word_of_sqlite_is_not_touched(pieces: list[str]) -> None:
    sql = "SELECT ".join(pieces)
    assert translate(sql) == sql


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        ("id INTEGER NOT NULL", "id BIGINT NOT NULL"),
        ("size real", "size DOUBLE PRECISION"),
        ("data BLOB,", "data BYTEA,"),
        ("name TEXT NOT NULL", 'name TEXT COLLATE "C" NOT NULL'),
        ("text TEXT", 'text TEXT COLLATE "C"'),
        ("SELECT CAST(a AS TEXT)", "SELECT CAST(a AS TEXT)"),
        ("SELECT CAST(a AS INTEGER)", "SELECT CAST(a AS BIGINT)"),
        ("a INTEGER\n) WITHOUT ROWID, STRICT;", "a BIGINT\n);"),
        ("a = 'INTEGER' -- TEXT", "a = 'INTEGER' -- TEXT"),
        ("DEFAULT 'it''s TEXT'", "DEFAULT 'it''s TEXT'"),
        ("n INTEGER PRIMARY  KEY\nAUTOINCREMENT",
         "n BIGINT PRIMARY KEY DEFAULT nextval('action_number')"),
        ("INTEGERS TEXTUAL mytext_TEXT", "INTEGERS TEXTUAL mytext_TEXT"),
    ],
)  # fmt: skip
def test_each_word(sql: str, wanted: str) -> None:
    assert translate(sql) == wanted
