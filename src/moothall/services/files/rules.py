"""Decisions about files: which chunk fits where, and what a member and the hall may store."""

from moothall.core.errors import InvalidArgumentError
from moothall.core.units import CHUNK_SIZE_BYTES
from moothall.services.files.errors import (
    ChunkOutOfOrderError,
    FileTooLargeError,
    HallFullError,
    QuotaExceededError,
)
from moothall.services.files.model import FileSettings, UploadRow, Usage


def check_chunk(
    offset: int, data_bytes: int, size_bytes: int | None, settings: FileSettings
) -> None:
    """Refuse a chunk that is no row of any file that this hall takes.

    Args:
        offset: Where it begins.
        data_bytes: How long it is.
        size_bytes: Of the whole file; None where that is not known yet.
        settings: The bounds.

    Raises:
        FileTooLargeError: The file is, or it gets so with this chunk.
        InvalidArgumentError: It begins between two chunks, or is not as long as a chunk.
    """
    end = offset + data_bytes
    if max(end, size_bytes or 0) > settings.size_bytes_max:
        raise FileTooLargeError(
            f"a file has at most {settings.size_bytes_max} bytes here",
            size_bytes_max=settings.size_bytes_max,
        )
    if offset % CHUNK_SIZE_BYTES:
        reason = f"a chunk begins at a multiple of {CHUNK_SIZE_BYTES} bytes"
        raise InvalidArgumentError("offset", reason, "go on at the offset of files.get_upload")
    expected = CHUNK_SIZE_BYTES
    if size_bytes is not None:
        if offset > size_bytes:
            raise InvalidArgumentError("offset", f"the file has {size_bytes} bytes", "end there")
        expected = min(CHUNK_SIZE_BYTES, size_bytes - offset)
    if data_bytes != expected:
        reason = f"the chunk has {data_bytes} bytes; here it must have {expected}"
        remedy = f"send {CHUNK_SIZE_BYTES} bytes at a time, and the rest last"
        raise InvalidArgumentError("data", reason, remedy)


def check_place(upload: UploadRow, offset: int, end: int, size_bytes: int | None) -> None:
    """Refuse a chunk that does not follow what is there; one that is there already may come again.

    Args:
        upload: What is there.
        offset: Where the chunk begins.
        end: Where it ends.
        size_bytes: Of the whole file, as this call says it.

    Raises:
        InvalidArgumentError: The upload began as a file of another size.
        ChunkOutOfOrderError: A chunk before this one is missing.
    """
    said = end if size_bytes is None else size_bytes
    if upload.is_sized:
        fits = said <= upload.size_bytes if size_bytes is None else said == upload.size_bytes
    else:
        fits = size_bytes is None or said >= upload.received_bytes
    if not fits:
        reason = f"this upload began as a file of {upload.size_bytes} bytes"
        raise InvalidArgumentError("size_bytes", reason, "call files.delete_file, then begin anew")
    if offset > upload.received_bytes:
        raise ChunkOutOfOrderError(
            f"the chunk at {upload.received_bytes} comes first", offset=upload.received_bytes
        )


def check_quota(usage: Usage, more_bytes: int, *, is_new: bool, settings: FileSettings) -> None:
    """Refuse what would be more than a member or the hall may store.

    Args:
        usage: What is stored, without ``more_bytes``.
        more_bytes: What comes to it.
        is_new: Whether it is one upload more, too.
        settings: The bounds.

    Raises:
        QuotaExceededError: The member has too many uploads, or too much in them.
        HallFullError: The hall has no room for it.
    """
    if is_new and usage.member_uploads >= settings.uploads_per_member_max:
        reason = f"a member may have uploaded {settings.uploads_per_member_max} files"
        raise QuotaExceededError(reason, uploads_max=settings.uploads_per_member_max)
    if usage.member_bytes + more_bytes > settings.member_bytes_max:
        left = max(settings.member_bytes_max - usage.member_bytes, 0)
        raise QuotaExceededError(
            f"{left} bytes are left of the {settings.member_bytes_max} that a member may upload",
            member_bytes_max=settings.member_bytes_max,
            left_bytes=left,
        )
    if usage.hall_bytes + more_bytes > settings.hall_bytes_max:
        raise HallFullError("there is no room for this file now")


def chunk_count(size_bytes: int) -> int:
    """Return of how many chunks a file of this size is made; none where it is empty."""
    return -(-size_bytes // CHUNK_SIZE_BYTES)
