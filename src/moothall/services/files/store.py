"""Rows of blobs, uploads, files and holds.

A blob is written by one upload, in order, and no row of it ever changes: what was verified stays
what it was. ``files_usage`` counts a blob from its first byte promised to its last row deleted.

Locks are taken in this order, so that no two calls wait for each other in a circle: a hold,
uploads, files by their hashes, a blob that is garbage, the usage. The lock of an upload protects
what is held of it; the lock of a file, whether anybody has uploaded it; the lock of the usage, what
members and the hall may store.
"""

from moothall.ports.database import Row, Transaction
from moothall.services.files.model import FileRow, Hold, OwnFile, UploadRow, Usage

_UPLOAD = """
SELECT member_id, sha256, size_bytes, is_sized, received_bytes, blob_id, changed_at_ms,
  finished_at_ms, unheld_at_ms
FROM files_upload
"""
_ONE_UPLOAD = f"{_UPLOAD} WHERE member_id = $1 AND sha256 = $2"
_ONE_FILE = "SELECT sha256, blob_id, size_bytes FROM files_file WHERE sha256 = $1"
_HOLD = "SELECT holder, ref, sha256, owner, permission, path, held_at_ms FROM files_hold"


# --- uploads --------------------------------------------------------------------------------------


async def find_upload(tx: Transaction, member_id: str, sha256: str) -> UploadRow | None:
    """Return a member's upload of a file, or None."""
    row = await tx.fetch_one(_ONE_UPLOAD, member_id, sha256)
    return None if row is None else _upload(row)


async def lock_upload(tx: Transaction, member_id: str, sha256: str) -> UploadRow | None:
    """Return a member's upload of a file that will be changed, or None."""
    rows = await tx.lock_rows(_ONE_UPLOAD, member_id, sha256)
    return _upload(rows[0]) if rows else None


async def insert_upload(tx: Transaction, upload: UploadRow) -> None:
    """Begin an upload with an empty blob of its own; nothing is counted yet."""
    await tx.execute("INSERT INTO files_blob (blob_id, size_bytes) VALUES ($1, 0)", upload.blob_id)
    await tx.execute(
        """
        INSERT INTO files_upload
          (member_id, sha256, size_bytes, is_sized, received_bytes, blob_id, changed_at_ms)
        VALUES ($1, $2, 0, 0, 0, $3, $4)
        """,
        upload.member_id,
        upload.sha256,
        upload.blob_id,
        upload.changed_at_ms,
    )


async def update_upload(tx: Transaction, upload: UploadRow, *, more_bytes: int) -> None:
    """Keep how far an upload is; its blob takes ``more_bytes`` more than before."""
    await tx.execute(
        """
        UPDATE files_upload
        SET size_bytes = $1, is_sized = $2, received_bytes = $3, changed_at_ms = $4
        WHERE member_id = $5 AND sha256 = $6
        """,
        upload.size_bytes,
        int(upload.is_sized),
        upload.received_bytes,
        upload.changed_at_ms,
        upload.member_id,
        upload.sha256,
    )
    if more_bytes:
        await tx.execute(
            "UPDATE files_blob SET size_bytes = size_bytes + $1 WHERE blob_id = $2",
            more_bytes,
            upload.blob_id,
        )
        await _count(tx, more_bytes)


async def update_finished(tx: Transaction, upload: UploadRow, now_ms: int) -> None:
    """Make a verified upload one of the file; its blob becomes the file's, or goes."""
    if await _lock_file(tx, upload.sha256) is None:
        await tx.execute(
            "INSERT INTO files_file (sha256, blob_id, size_bytes) VALUES ($1, $2, $3)",
            upload.sha256,
            upload.blob_id,
            upload.size_bytes,
        )
    else:
        await _discard_blob(tx, upload.blob_id)
    await tx.execute(
        """
        UPDATE files_upload SET blob_id = NULL, finished_at_ms = $1, unheld_at_ms = $1
        WHERE member_id = $2 AND sha256 = $3
        """,
        now_ms,
        upload.member_id,
        upload.sha256,
    )


async def update_unheld(
    tx: Transaction, member_id: str, sha256: str, unheld_at_ms: int | None
) -> None:
    """Say since when nothing refers to a member's upload; None while something does."""
    await tx.execute(
        "UPDATE files_upload SET unheld_at_ms = $1 WHERE member_id = $2 AND sha256 = $3",
        unheld_at_ms,
        member_id,
        sha256,
    )


async def delete_upload(tx: Transaction, upload: UploadRow) -> None:
    """Take a locked upload away, and the file with it where nobody else has uploaded it."""
    await tx.execute(
        "DELETE FROM files_upload WHERE member_id = $1 AND sha256 = $2",
        upload.member_id,
        upload.sha256,
    )
    if not upload.is_finished:
        await _discard_blob(tx, upload.blob_id)
        return
    file = await _lock_file(tx, upload.sha256)
    others = await tx.fetch_one(
        "SELECT 1 FROM files_upload WHERE sha256 = $1 AND finished_at_ms IS NOT NULL LIMIT 1",
        upload.sha256,
    )
    if file is not None and others is None:
        await tx.execute("DELETE FROM files_file WHERE sha256 = $1", upload.sha256)
        await _discard_blob(tx, file.blob_id)


async def list_expired(
    tx: Transaction, *, unfinished_before_ms: int, unheld_before_ms: int, limit: int
) -> list[UploadRow]:
    """Lock uploads that nobody goes on with, and finished ones that nothing refers to.

    In the order of their hashes, in which their files are locked.
    """
    sql = f"""{_UPLOAD}
    WHERE finished_at_ms IS NULL AND changed_at_ms <= $1 ORDER BY changed_at_ms LIMIT $2
    """
    found = await tx.lock_rows(sql, unfinished_before_ms, limit)
    if len(found) < limit:
        sql = f"{_UPLOAD} WHERE unheld_at_ms <= $1 ORDER BY unheld_at_ms LIMIT $2"
        found = [*found, *await tx.lock_rows(sql, unheld_before_ms, limit - len(found))]
    return sorted((_upload(row) for row in found), key=lambda upload: upload.sha256)


async def list_unheld(tx: Transaction, member_id: str, limit: int) -> list[UploadRow]:
    """Lock uploads of one member that nothing refers to, finished or not."""
    sql = f"""{_UPLOAD}
    WHERE member_id = $1 AND (finished_at_ms IS NULL OR unheld_at_ms IS NOT NULL)
    ORDER BY sha256 LIMIT $2
    """
    return [_upload(row) for row in await tx.lock_rows(sql, member_id, limit)]


async def list_own(
    tx: Transaction,
    member_id: str,
    after: str,
    limit: int,
    *,
    unheld_kept_ms: int,
    unfinished_kept_ms: int,
) -> list[OwnFile]:
    """Return uploads of one member by hash, after ``after``."""
    sql = f"{_UPLOAD} WHERE member_id = $1 AND sha256 > $2 ORDER BY sha256 LIMIT $3"
    found = []
    for row in await tx.fetch_all(sql, member_id, after, limit):
        upload = _upload(row)
        kept_until_ms = None
        if not upload.is_finished:
            kept_until_ms = upload.changed_at_ms + unfinished_kept_ms
        elif upload.unheld_at_ms is not None:
            kept_until_ms = upload.unheld_at_ms + unheld_kept_ms
        found.append(
            OwnFile(
                sha256=upload.sha256,
                size_bytes=upload.size_bytes,
                is_finished=upload.is_finished,
                is_held=upload.is_finished and upload.unheld_at_ms is None,
                kept_until_ms=kept_until_ms,
            )
        )
    return found


async def get_usage(tx: Transaction, member_id: str) -> Usage:
    """Return what is used of the bounds; whoever asks is the only one to change it."""
    (hall_bytes,) = (await tx.lock_rows("SELECT stored_bytes FROM files_usage WHERE id = 1"))[0]
    row = await tx.fetch_one(
        "SELECT COUNT(*), COALESCE(SUM(size_bytes), 0) FROM files_upload WHERE member_id = $1",
        member_id,
    )
    assert row is not None
    return Usage(member_uploads=int(row[0]), member_bytes=int(row[1]), hall_bytes=hall_bytes)


# --- bytes ----------------------------------------------------------------------------------------


async def insert_chunk(tx: Transaction, blob_id: str, number: int, data: bytes) -> None:
    """Add the next row of a blob."""
    await tx.execute(
        "INSERT INTO files_chunk (blob_id, number, data) VALUES ($1, $2, $3)", blob_id, number, data
    )


async def find_chunk(tx: Transaction, blob_id: str, number: int) -> bytes | None:
    """Return a row of a blob, or None."""
    row = await tx.fetch_one(
        "SELECT data FROM files_chunk WHERE blob_id = $1 AND number = $2", blob_id, number
    )
    return None if row is None else bytes(row[0])


async def find_file(tx: Transaction, sha256: str) -> FileRow | None:
    """Return a verified file, or None."""
    row = await tx.fetch_one(_ONE_FILE, sha256)
    return None if row is None else FileRow(*row)


async def _lock_file(tx: Transaction, sha256: str) -> FileRow | None:
    """Return a verified file that gets one upload more or less, or None.

    Otherwise two last uploads of it could go and each leave it to the other, or one could come
    while the last one takes it away.
    """
    rows = await tx.lock_rows(_ONE_FILE, sha256)
    return FileRow(*rows[0]) if rows else None


async def find_next_file(tx: Transaction, after: str) -> FileRow | None:
    """Return the first verified file behind a hash, or None."""
    sql = """
    SELECT sha256, blob_id, size_bytes FROM files_file WHERE sha256 > $1 ORDER BY sha256 LIMIT 1
    """
    row = await tx.fetch_one(sql, after)
    return None if row is None else FileRow(*row)


async def delete_garbage(tx: Transaction, limit: int) -> int:
    """Delete at most ``limit`` rows of a blob that nobody needs; return how many, 0 at the end.

    With its last row the blob goes and its room is free; that counts as a row.
    """
    rows = await tx.lock_rows(  # or two nodes could count it as gone
        "SELECT blob_id, size_bytes FROM files_blob WHERE is_garbage = 1 ORDER BY blob_id LIMIT 1"
    )
    if not rows:
        return 0
    blob_id, size_bytes = rows[0]
    deleted = await tx.execute(
        """
        DELETE FROM files_chunk WHERE blob_id = $1 AND number IN (
          SELECT number FROM files_chunk WHERE blob_id = $1 ORDER BY number LIMIT $2)
        """,
        blob_id,
        limit,
    )
    if deleted < limit:
        await tx.execute("DELETE FROM files_blob WHERE blob_id = $1", blob_id)
        await _count(tx, -size_bytes)
    return deleted + 1


async def _discard_blob(tx: Transaction, blob_id: str | None) -> None:
    """Leave a blob to the collector."""
    await tx.execute("UPDATE files_blob SET is_garbage = 1 WHERE blob_id = $1", blob_id)


async def _count(tx: Transaction, more_bytes: int) -> None:
    """Keep the sum over all blobs."""
    await tx.execute(
        "UPDATE files_usage SET stored_bytes = stored_bytes + $1 WHERE id = 1", more_bytes
    )


# --- holds ----------------------------------------------------------------------------------------


async def insert_hold(tx: Transaction, hold: Hold) -> bool:
    """Add a hold; False if the room has one of this name."""
    changed = await tx.execute(
        """
        INSERT INTO files_hold (holder, ref, sha256, owner, permission, path, held_at_ms)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (holder, ref) DO NOTHING
        """,
        hold.holder,
        hold.ref,
        hold.sha256,
        hold.owner,
        hold.permission,
        hold.path,
        hold.held_at_ms,
    )
    return changed == 1


async def find_hold(tx: Transaction, holder: str, ref: str) -> Hold | None:
    """Return a hold to decide on, or None."""
    rows = await tx.lock_rows(f"{_HOLD} WHERE holder = $1 AND ref = $2", holder, ref)
    if not rows:
        return None
    names = ("holder", "ref", "sha256", "owner", "permission", "path", "held_at_ms")
    return Hold(**dict(zip(names, rows[0], strict=True)))


async def update_reader(tx: Transaction, holder: str, ref: str, permission: str, path: str) -> None:
    """Set what lets others read what is held."""
    await tx.execute(
        "UPDATE files_hold SET permission = $1, path = $2 WHERE holder = $3 AND ref = $4",
        permission,
        path,
        holder,
        ref,
    )


async def delete_hold(tx: Transaction, hold: Hold) -> bool:
    """Take a hold away; True if its owner has no other one of the same file.

    The caller holds the locks of the hold and of its owner's upload.
    """
    await tx.execute("DELETE FROM files_hold WHERE holder = $1 AND ref = $2", hold.holder, hold.ref)
    others = await tx.fetch_one(
        "SELECT 1 FROM files_hold WHERE owner = $1 AND sha256 = $2 LIMIT 1",
        hold.owner,
        hold.sha256,
    )
    return others is None


async def list_readers(
    tx: Transaction, sha256: str, after: tuple[str, str], limit: int
) -> list[tuple[str, str]]:
    """Return what lets somebody read a file, as (permission, path), after ``after``."""
    sql = """
    SELECT DISTINCT permission, path FROM files_hold
    WHERE sha256 = $1 AND (permission, path) > ($2, $3) ORDER BY permission, path LIMIT $4
    """
    rows = await tx.fetch_all(sql, sha256, *after, limit)
    return [(permission, path) for permission, path in rows]


def _upload(row: Row) -> UploadRow:
    """Return the upload in ``row``."""
    return UploadRow(
        member_id=row[0],
        sha256=row[1],
        size_bytes=row[2],
        is_sized=bool(row[3]),
        received_bytes=row[4],
        blob_id=row[5],
        changed_at_ms=row[6],
        finished_at_ms=row[7],
        unheld_at_ms=row[8],
    )
