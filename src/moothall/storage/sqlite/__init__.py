"""The embedded default: SQLite by way of apsw, one file, one writer, durable commits.

- ``bounds`` says how much and how long.
- ``connection`` opens the file and says how.
- ``parameters`` turns the one SQL text into SQLite's.
- ``failure`` says what its errors mean.
- ``transaction`` is one call's view of it.
- ``writer`` runs many calls in one commit (group commit).
- ``reader`` runs reads on snapshots, short ones where they stand.
- ``checkpoint`` moves the log into the file, on its own thread.
- ``database`` puts these together.

Never open the file with the ``sqlite3`` of the standard library while a hall runs: two
SQLite libraries in one process break each other's locks.
"""

from moothall.storage.sqlite.bounds import SqliteBounds
from moothall.storage.sqlite.database import SqliteDatabase

__all__ = ["SqliteBounds", "SqliteDatabase"]
