"""Parameters: ``$1`` in the one SQL text becomes ``?1`` for SQLite.

SQLite takes a bare ``$1`` for a name and numbers names by first appearance, so
``VALUES ($2, $1)`` would swap its values in silence. ``?1`` means what PostgreSQL
means by ``$1``: the first value, wherever and however often it stands.

What is no parameter stays as it is, as in PostgreSQL: literals, quoted names, comments,
and names that contain ``$1``. Only white space is joined: apsw knows a statement again by
looking at each of its characters, each time.
"""

import re
from functools import lru_cache

# A literal or quoted name contains its own quote doubled, which reads as two in a row.
_TOKEN = re.compile(
    r"""
    '[^']*' | "[^"]*"            # a literal, a quoted name
    | --[^\n]*\n? | /\*.*?\*/    # comments
    | (?<![\w$])\$([0-9]+)       # a parameter; `a$1` is a name
    | \s+                        # white space
    """,
    re.VERBOSE | re.DOTALL,
)


@lru_cache(maxsize=4_096)
def rewrite_parameters(sql: str) -> str:
    """Return ``sql`` with ``$1``, ``$2``, ... written as ``?1``, ``?2``, ...; once per text."""
    return _TOKEN.sub(_rewrite, sql)


def _rewrite(token: re.Match[str]) -> str:
    """Return what stands for one token."""
    if token[1] is not None:
        return f"?{token[1]}"
    return " " if token[0].isspace() else token[0]
