"""What the files room holds of a member: what they uploaded, and what of it others rely on.

What another room holds stays until that room lets it go: it decides what becomes of the entry,
the message or the record that the file belongs to.
"""

from moothall.action import Context
from moothall.action.personal import Holding, PersonalRow, export_holdings
from moothall.services.files import store

UPLOADS_AT_ONCE = 100
"""Uploads that one step takes away; their bytes are collected by a job."""

_HOLDINGS = (
    Holding(
        kind="upload",
        table="files_upload",
        owner="member_id",
        key=("sha256",),
        columns=("sha256", "size_bytes", "received_bytes", "changed_at_ms", "finished_at_ms"),
        fate="keep",
    ),
    Holding(
        kind="hold",
        table="files_hold",
        owner="owner",
        key=("holder", "ref"),
        columns=("holder", "ref", "sha256", "path", "held_at_ms"),
        fate="keep",
    ),
)


async def export_rows(
    ctx: Context, member_id: str, after: str, limit: int
) -> tuple[list[PersonalRow], str | None]:
    """Export which files were uploaded, and for what; the bytes are read by their hash."""
    return await export_holdings(ctx, _HOLDINGS, member_id, after, limit)


async def erase_rows(ctx: Context, member_id: str) -> bool:
    """Take away what the member uploaded and nothing refers to."""
    found = await store.list_unheld(ctx.tx, member_id, UPLOADS_AT_ONCE)
    for upload in found:
        await store.delete_upload(ctx.tx, upload)
    return not found
