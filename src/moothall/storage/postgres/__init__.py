"""PostgreSQL: for a hall of several processes.

``database`` is what a hall opens; ``transaction`` one call's view; ``pool`` its connections;
``dialect`` translates migrations; ``failure`` says what the driver's errors mean.
"""

from moothall.storage.postgres.address import read_address
from moothall.storage.postgres.bounds import PostgresBounds
from moothall.storage.postgres.database import PostgresDatabase
from moothall.storage.postgres.lease import RowLease

__all__ = ["PostgresBounds", "PostgresDatabase", "RowLease", "read_address"]
