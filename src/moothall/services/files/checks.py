"""What must hold of files, their bytes, and what holds them."""

import hashlib

from moothall.action import Finding, Inspection, check, list_unequal, list_unswept
from moothall.services.files import store
from moothall.services.files.model import FileSettings

_RESTORE = "restore a backup"

_USAGE = """
SELECT counted, found FROM (SELECT
  (SELECT stored_bytes FROM files_usage WHERE id = 1) AS counted,
  (SELECT coalesce(sum(size_bytes), 0) FROM files_blob) AS found) AS compared
WHERE counted IS NULL OR counted <> found
"""
_SIZES = """
SELECT f.sha256, f.size_bytes, b.size_bytes, coalesce(sum(length(c.data)), 0) FROM files_file AS f
LEFT JOIN files_blob AS b ON b.blob_id = f.blob_id AND b.is_garbage = 0
LEFT JOIN files_chunk AS c ON c.blob_id = f.blob_id
GROUP BY f.sha256, f.size_bytes, b.size_bytes
HAVING b.size_bytes IS NULL OR b.size_bytes <> f.size_bytes
  OR coalesce(sum(length(c.data)), 0) <> f.size_bytes
"""
_HELD_NOTHING = """
SELECT h.holder, h.ref FROM files_hold AS h WHERE NOT EXISTS (
  SELECT 1 FROM files_file AS f JOIN files_upload AS u ON u.sha256 = f.sha256
  WHERE f.sha256 = h.sha256 AND u.member_id = h.owner
    AND u.finished_at_ms IS NOT NULL AND u.unheld_at_ms IS NULL)
"""
_HELD_BY_NOBODY = """
SELECT u.sha256 FROM files_upload AS u
WHERE u.finished_at_ms IS NOT NULL AND u.unheld_at_ms IS NULL AND NOT EXISTS (
  SELECT 1 FROM files_hold AS h WHERE h.owner = u.member_id AND h.sha256 = u.sha256)
"""


@check()
async def usage(given: Inspection) -> list[Finding]:
    """All files together take as much as is counted."""
    told = "{0} bytes are counted and {1} are there"
    remedy = "restore a backup; until then the bound on all files counts wrongly"
    return await list_unequal(given.tx, _USAGE, told, remedy)


@check()
async def sizes(given: Inspection) -> list[Finding]:
    """Each file has all of its bytes."""
    told = "file {0} has {1} bytes, its blob {2}, and {3} are there"
    return await list_unequal(given.tx, _SIZES, told, _RESTORE)


@check()
async def holds(given: Inspection) -> list[Finding]:
    """What is held is there, and what is there for a holder is held."""
    return [
        *await list_unequal(
            given.tx, _HELD_NOTHING, "{0} holds {1}, and the file may go or is gone", _RESTORE
        ),
        *await list_unequal(
            given.tx, _HELD_BY_NOBODY, "file {0} stays for a holder that is not there", _RESTORE
        ),
    ]


@check()
async def contents(given: Inspection) -> list[Finding]:
    """Each file has the hash by which it is known; looked at by a thorough examination."""
    found: list[Finding] = []
    after = ""
    while given.is_thorough and (file := await store.find_next_file(given.tx, after)):
        digest, number = hashlib.sha256(), 0
        while (data := await store.find_chunk(given.tx, file.blob_id, number)) is not None:
            digest.update(data)
            number += 1
        if digest.hexdigest() != file.sha256:
            found.append(Finding(f"file {file.sha256} was altered", _RESTORE))
        after = file.sha256
    return found


@check()
async def swept(given: Inspection) -> list[Finding]:
    """Uploads that nobody goes on with, or that nothing refers to, are swept."""
    settings = given.resources.use(FileSettings)
    unfinished = """
    SELECT count(*) FROM files_upload WHERE finished_at_ms IS NULL AND changed_at_ms < $1
    """
    unheld = "SELECT count(*) FROM files_upload WHERE unheld_at_ms < $1"
    return [
        *await list_unswept(
            given.tx, unfinished, given.now_ms - settings.unfinished_kept_ms, "unfinished uploads"
        ),
        *await list_unswept(given.tx, unheld, given.now_ms - settings.unheld_kept_ms, "uploads"),
    ]
