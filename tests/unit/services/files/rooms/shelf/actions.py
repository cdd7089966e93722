"""Puts files on shelves."""

from moothall.action import (
    WRITE,
    Context,
    Id,
    PerActor,
    Request,
    Result,
    Signed,
    Slug,
    action,
)
from moothall.services.files.actions import (
    ChangeReader,
    HoldFile,
    ReleaseFile,
    change_reader,
    hold_file,
    release_file,
)
from moothall.services.files.errors import HoldExistsError, HoldNotFoundError, NoSuchFileError

LIMIT = PerActor(calls=100, window_ms=1_000)


class KeepBook(Request):
    """A file, and the shelf it stands on."""

    sha256: Slug
    ref: Id
    shelf: Slug


class MoveBook(Request):
    """A file that stands somewhere else."""

    ref: Id
    shelf: Slug


class DropBook(Request):
    """A file that goes."""

    ref: Id
    at_once: bool = False


class Kept(Result):
    """Its name."""

    ref: str


@action(
    access=Signed("shelf:use"), effect=WRITE, limit=LIMIT, raises=(NoSuchFileError, HoldExistsError)
)
async def keep_book(ctx: Context, request: KeepBook) -> Kept:
    """Hold a file."""
    path = f"shelf/{request.shelf}"
    hold = HoldFile(sha256=request.sha256, ref=request.ref, permission="shelf:read", path=path)
    await ctx.call(hold_file, hold)
    return Kept(ref=request.ref)


@action(access=Signed("shelf:use"), effect=WRITE, limit=LIMIT, raises=(HoldNotFoundError,))
async def move_book(ctx: Context, request: MoveBook) -> Kept:
    """Let others read it."""
    path = f"shelf/{request.shelf}"
    await ctx.call(change_reader, ChangeReader(ref=request.ref, permission="shelf:read", path=path))
    return Kept(ref=request.ref)


@action(access=Signed("shelf:use"), effect=WRITE, limit=LIMIT, raises=(HoldNotFoundError,))
async def drop_book(ctx: Context, request: DropBook) -> Kept:
    """Hold a file no more."""
    await ctx.call(release_file, ReleaseFile(ref=request.ref, at_once=request.at_once))
    return Kept(ref=request.ref)


@action(access=Signed("shelf:read", at="shelf/{ref}"), effect=WRITE, limit=LIMIT, raises=())
async def read_shelf(ctx: Context, request: DropBook) -> Kept:
    """Exist, so that shelf:read is a permission."""
    return Kept(ref=f"{request.ref} {ctx.actor}")
