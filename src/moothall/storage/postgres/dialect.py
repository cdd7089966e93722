"""Migrations: the one text, written in SQLite's words, as PostgreSQL reads it.

Only the words of a definition differ: names of types, and what a table is called that has no
rowid. Where the engines' functions differ, a migration has a twin ``.postgres.sql``, which goes the
same way.

- ``INTEGER`` is a number of 64 bits, as on SQLite.
- ``TEXT`` compares byte by byte, as on SQLite, whatever the database's own order is.
- ``INTEGER PRIMARY KEY AUTOINCREMENT`` takes its numbers from the hall's one sequence (see
  ``docs/decisions/0016-beyond-one-machine.md``), so that one horizon tells of all of them.
"""

import re

SEQUENCE = "action_number"
"""Numbers events, audit rows and notices."""

_TOKEN = re.compile(
    r"""
    (?P<kept>
        '[^']*' | "[^"]*"              # a literal, a quoted name
      | --[^\n]*\n? | /\*.*?\*/        # comments
    )
    | (?P<numbered>\bINTEGER\s+PRIMARY\s+KEY\s+AUTOINCREMENT\b)
    | (?P<ending>\)\s*(?:WITHOUT\s+ROWID|STRICT)(?:\s*,\s*(?:WITHOUT\s+ROWID|STRICT))*)
    # A type, but not a column of that name: that is followed by its type.
    | (?P<type>\b(?:INTEGER|REAL|BLOB|TEXT)\b(?!\s+(?:COLLATE|INTEGER|BIGINT|REAL|BLOB|TEXT)\b))
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)

_TYPES = {
    "INTEGER": "BIGINT",
    "REAL": "DOUBLE PRECISION",
    "BLOB": "BYTEA",
    "TEXT": 'TEXT COLLATE "C"',
}
_CAST = re.compile(r"\bAS\s+\Z", re.IGNORECASE)


def translate(sql: str) -> str:
    """Return a migration as PostgreSQL takes it."""
    return _TOKEN.sub(_translate, sql)


def _translate(token: re.Match[str]) -> str:
    """Return what stands for one token."""
    if token["numbered"]:
        return f"BIGINT PRIMARY KEY DEFAULT nextval('{SEQUENCE}')"
    if token["ending"]:
        return ")"
    if token["type"]:
        word = token["type"].upper()
        # CAST(x AS TEXT) names a type too, and takes no order there.
        if word == "TEXT" and _CAST.search(token.string, 0, token.start()):
            return "TEXT"
        return _TYPES[word]
    return token["kept"]
