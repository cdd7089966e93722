"""Uploading: chunk after chunk, verified with the last one.

What an upload tells is about the caller alone: bytes that somebody else has uploaded before are
sent, stored and verified again, and only then let go.
"""

import asyncio
import hashlib
from functools import partial
from typing import Annotated

import msgspec
from msgspec import Meta

from moothall.action import (
    FLOW,
    READ,
    WRITE,
    Context,
    PerActor,
    Request,
    Result,
    Signed,
    action,
    next_cursor,
)
from moothall.core.units import CHUNK_SIZE_BYTES
from moothall.services.files import rules, store
from moothall.services.files.actions.fields import Offset, Sha256, SizeBytes
from moothall.services.files.errors import (
    ChunkOutOfOrderError,
    FileHeldError,
    FileTooLargeError,
    HallFullError,
    HashMismatchError,
    NoSuchFileError,
    QuotaExceededError,
)
from moothall.services.files.model import (
    FileSettings,
    OwnFile,
    Upload,
    UploadRow,
)


class PutChunk(Request):
    """A chunk of a file; all have 256 KiB but the last, and an empty file has one empty chunk."""

    sha256: Sha256
    offset: Offset
    data: Annotated[
        bytes, Meta(max_length=CHUNK_SIZE_BYTES, description="At most 256 KiB, in base64.")
    ]
    size_bytes: SizeBytes | None = None
    """Of the whole file; only the last chunk must say it, but then all is refused early."""


class GetUpload(Request):
    """One file."""

    sha256: Sha256


class DeleteFile(Request):
    """One file."""

    sha256: Sha256


class ListFiles(Request):
    """A page of one's own files; ``after`` is the ``next`` of the page before."""

    after: Annotated[str, Meta(max_length=128)] = ""
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class OwnFilePage(Result):
    """A page of one's own files by hash; ``next`` is None on the last one."""

    files: list[OwnFile]
    next: str | None


@action(
    access=Signed("files:upload"),
    effect=FLOW,
    limit=PerActor(calls=240, window_ms=10_000),
    raises=(
        FileTooLargeError,
        QuotaExceededError,
        HallFullError,
        ChunkOutOfOrderError,
        HashMismatchError,
    ),
    command="file put-chunk",
)
async def put_chunk(ctx: Context, request: PutChunk) -> Upload:
    """Upload the next chunk of a file; the last one verifies the hash over all.

    Chunks come in order. One that is there already is no error and changes nothing, so a call
    may be repeated, and a broken upload goes on at the ``offset`` of ``files.get_upload``.
    On HTTPS, ``PUT /v1/files/<sha256>`` takes all bytes at once.

    Args:
        request.offset: Where the chunk begins, a multiple of 262,144.
        request.data: 262,144 bytes; the last chunk has the rest.
        request.size_bytes: Of the whole file.

    Raises:
        FileTooLargeError: invalid_argument. The file is larger than ``files.size_bytes_max``.
        QuotaExceededError: failed_precondition. The member's bytes or uploads are used up.
        HallFullError: failed_precondition. All files together take what they may.
        ChunkOutOfOrderError: failed_precondition. Go on at ``details.offset``.
        HashMismatchError: invalid_argument. The upload is gone; begin anew.
    """
    rules.check_chunk(request.offset, len(request.data), request.size_bytes, ctx.use(FileSettings))
    upload = await ctx.write(lambda step: _keep_chunk(step, request))
    if upload.is_whole and not upload.is_finished:
        upload = await _verify(ctx, upload)
    return _view(upload)


@action(
    access=Signed("files:upload"),
    effect=READ,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(),
    command="upload show",
)
async def get_upload(ctx: Context, request: GetUpload) -> Upload:
    """Tell how far one's own upload of a file is; where there is none, the offset is 0."""
    upload = await store.find_upload(ctx.tx, ctx.actor, request.sha256)
    if upload is None:
        return Upload(sha256=request.sha256, size_bytes=None, offset=0, is_finished=False)
    return _view(upload)


@action(
    access=Signed("files:upload"),
    effect=WRITE,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(NoSuchFileError, FileHeldError),
)
async def delete_file(ctx: Context, request: DeleteFile) -> Upload:
    """Take away what one has uploaded, finished or not; what others uploaded stays theirs.

    Returns what was there.

    Raises:
        NoSuchFileError: not_found. The caller has uploaded no such file.
        FileHeldError: failed_precondition. Remove what refers to it first, such as a proof.
    """
    upload = await store.lock_upload(ctx.tx, ctx.actor, request.sha256)
    if upload is None:
        raise NoSuchFileError("you have uploaded no such file", sha256=request.sha256)
    if upload.is_finished and upload.unheld_at_ms is None:
        raise FileHeldError(sha256=request.sha256)
    await store.delete_upload(ctx.tx, upload)
    return _view(upload)


@action(
    access=Signed("files:upload"),
    effect=READ,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(),
)
async def list_files(ctx: Context, request: ListFiles) -> OwnFilePage:
    """List what one has uploaded, by hash, and until when it stays."""
    settings = ctx.use(FileSettings)
    found = await store.list_own(
        ctx.tx,
        ctx.actor,
        request.after,
        request.limit,
        unheld_kept_ms=settings.unheld_kept_ms,
        unfinished_kept_ms=settings.unfinished_kept_ms,
    )
    after = next_cursor(found, request.limit, lambda last: last.sha256)
    return OwnFilePage(files=found, next=after)


async def _keep_chunk(ctx: Context, request: PutChunk) -> UploadRow:
    """Store a chunk if it is the next one, and return how far the upload is then."""
    upload = await store.lock_upload(ctx.tx, ctx.actor, request.sha256)
    if upload is not None and upload.is_finished:
        await _check_same(ctx, upload, request)
        return upload
    is_new = upload is None
    if upload is None:
        upload = UploadRow(
            member_id=ctx.actor,
            sha256=request.sha256,
            size_bytes=0,
            is_sized=False,
            received_bytes=0,
            blob_id=ctx.new_id(),
            changed_at_ms=ctx.now_ms,
            finished_at_ms=None,
            unheld_at_ms=None,
        )
    end = request.offset + len(request.data)
    rules.check_place(upload, request.offset, end, request.size_bytes)
    size_bytes = max(upload.size_bytes, end if request.size_bytes is None else request.size_bytes)
    more_bytes = size_bytes - upload.size_bytes
    if is_new or more_bytes:
        usage = await store.get_usage(ctx.tx, ctx.actor)
        rules.check_quota(usage, more_bytes, is_new=is_new, settings=ctx.use(FileSettings))
    if is_new:
        await store.insert_upload(ctx.tx, upload)
    assert upload.blob_id is not None
    if request.offset == upload.received_bytes and request.data:
        number = request.offset // CHUNK_SIZE_BYTES
        await store.insert_chunk(ctx.tx, upload.blob_id, number, request.data)
    upload = msgspec.structs.replace(
        upload,
        size_bytes=size_bytes,
        is_sized=upload.is_sized or request.size_bytes is not None,
        received_bytes=max(upload.received_bytes, end),
        changed_at_ms=ctx.now_ms,
    )
    await store.update_upload(ctx.tx, upload, more_bytes=more_bytes)
    return upload


async def _check_same(ctx: Context, upload: UploadRow, request: PutChunk) -> None:
    """Refuse other bytes than those that the caller has uploaded before, whole.

    Raises:
        HashMismatchError: They are others; the upload stays.
    """
    file = await store.find_file(ctx.tx, upload.sha256)
    assert file is not None
    number = request.offset // CHUNK_SIZE_BYTES
    known = await store.find_chunk(ctx.tx, file.blob_id, number) or b""
    is_sized_so = request.size_bytes in {None, file.size_bytes}
    if request.data != known or not is_sized_so:
        raise HashMismatchError("you have uploaded this file, and it has other bytes")


async def _verify(ctx: Context, upload: UploadRow) -> UploadRow:
    """Finish an upload whose bytes are all there, or take it away if they are other bytes.

    Raises:
        HashMismatchError: They are.
        ChunkOutOfOrderError: Somebody has deleted it meanwhile.
    """
    digest = await _digest(ctx, upload)

    async def finish(step: Context) -> UploadRow | None:
        now = await store.lock_upload(step.tx, upload.member_id, upload.sha256)
        if now is None or now.is_finished or now.blob_id != upload.blob_id:
            return now
        if digest != upload.sha256:
            await store.delete_upload(step.tx, now)
            return None
        await store.update_finished(step.tx, now, step.now_ms)
        return await store.lock_upload(step.tx, upload.member_id, upload.sha256)

    finished = await ctx.write(finish, outcome=None)
    if finished is not None and finished.is_finished:
        return finished
    if digest is not None and digest != upload.sha256:
        raise HashMismatchError(
            "the bytes have another hash than the file was said to have",
            sha256=upload.sha256,
            found=digest,
            remedy="the upload is gone; begin anew",
        )
    raise ChunkOutOfOrderError("this upload was deleted meanwhile", offset=0)


async def _digest(ctx: Context, upload: UploadRow) -> str | None:
    """Return the hash over all bytes of an upload; None if they are gone.

    They are read row by row, in snapshots of their own, so that neither memory nor other calls
    feel how large the file is. No row of a blob ever changes.
    """
    hasher = hashlib.sha256()
    blob_id = upload.blob_id or ""
    for number in range(rules.chunk_count(upload.size_bytes)):
        data = await ctx.read(partial(_find_chunk, blob_id, number))
        if data is None:
            return None
        hasher.update(data)
        await asyncio.sleep(0)
    return hasher.hexdigest()


async def _find_chunk(blob_id: str, number: int, ctx: Context) -> bytes | None:
    """Return a row of a blob, or None."""
    return await store.find_chunk(ctx.tx, blob_id, number)


def _view(upload: UploadRow) -> Upload:
    """Return an upload as its member sees it."""
    return Upload(
        sha256=upload.sha256,
        size_bytes=upload.size_bytes if upload.is_sized else None,
        offset=upload.received_bytes,
        is_finished=upload.is_finished,
    )
