"""Reading files: by whoever uploaded them, and by whoever may see what holds them."""

from moothall.action import READ, Context, PerActor, Request, Signed, action
from moothall.core.errors import InvalidArgumentError
from moothall.core.units import CHUNK_SIZE_BYTES
from moothall.services.files import store
from moothall.services.files.actions.fields import Offset, Sha256
from moothall.services.files.errors import NoSuchFileError
from moothall.services.files.model import File, FileChunk, FileRow

_READERS_AT_ONCE = 200


class GetFile(Request):
    """One file."""

    sha256: Sha256


class GetChunk(Request):
    """A piece of one file."""

    sha256: Sha256
    offset: Offset = 0


@action(
    access=Signed("files:read"),
    effect=READ,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(NoSuchFileError,),
    command="file show",
)
async def get_file(ctx: Context, request: GetFile) -> File:
    """Tell the size of a file that one may read.

    Raises:
        NoSuchFileError: not_found. There is none, or the caller may not read it.
    """
    file = await _get_readable(ctx, request.sha256)
    return File(sha256=file.sha256, size_bytes=file.size_bytes)


@action(
    access=Signed("files:read"),
    effect=READ,
    limit=PerActor(calls=480, window_ms=10_000),
    raises=(NoSuchFileError,),
    command="file get-chunk",
)
async def get_chunk(ctx: Context, request: GetChunk) -> FileChunk:
    """Read a file from a byte on, up to the next multiple of 262,144 bytes or its end.

    On HTTPS, ``GET /v1/files/<sha256>`` gives all bytes at once.

    Raises:
        NoSuchFileError: not_found. There is none, or the caller may not read it.
    """
    file = await _get_readable(ctx, request.sha256)
    if request.offset > file.size_bytes:
        reason = f"the file has {file.size_bytes} bytes"
        raise InvalidArgumentError("offset", reason, "begin at one of them")
    number, skipped = divmod(request.offset, CHUNK_SIZE_BYTES)
    data = await store.find_chunk(ctx.tx, file.blob_id, number) or b""
    return FileChunk(
        sha256=file.sha256,
        size_bytes=file.size_bytes,
        offset=request.offset,
        data=data[skipped:],
    )


async def _get_readable(ctx: Context, sha256: str) -> FileRow:
    """Return a file that the caller may read; a hidden one is as absent.

    Raises:
        NoSuchFileError: There is none.
    """
    file = await store.find_file(ctx.tx, sha256)
    if file is not None:
        own = await store.find_upload(ctx.tx, ctx.actor, sha256)
        if (own is not None and own.is_finished) or await _is_reader(ctx, sha256):
            return file
    raise NoSuchFileError("there is no such file, or it is not yours to read", sha256=sha256)


async def _is_reader(ctx: Context, sha256: str) -> bool:
    """Tell whether something that the caller may see holds the file."""
    after = ("", "")
    while True:
        readers = await store.list_readers(ctx.tx, sha256, after, _READERS_AT_ONCE)
        if any(ctx.may(permission, path) for permission, path in readers):
            return True
        if len(readers) < _READERS_AT_ONCE:
            return False
        after = readers[-1]
