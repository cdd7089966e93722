"""Holding files: what rooms do, on behalf of whoever uploaded them."""

from typing import Annotated

from msgspec import Meta

from moothall.action import (
    ROOM_PREFIX,
    WRITE,
    Context,
    Id,
    PerActor,
    Request,
    ResourcePath,
    Result,
    Signed,
    action,
)
from moothall.core.errors import PermissionDeniedError
from moothall.services.files import store
from moothall.services.files.actions.fields import Sha256
from moothall.services.files.errors import HoldExistsError, HoldNotFoundError, NoSuchFileError
from moothall.services.files.model import File, Hold

Permission = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z0-9_]{0,63}:[a-z][a-z0-9_]{0,63}(?!\n)$",
        description="A permission, noun:verb, such as scores:read.",
    ),
]


class HoldFile(Request):
    """A file that the acting member has uploaded, and who else may read it."""

    sha256: Sha256
    ref: Id
    """The room's own name for this hold."""
    permission: Permission
    """Who holds this at ``path`` may read the file."""
    path: ResourcePath


class ChangeReader(Request):
    """Who else may read what is held from now on."""

    ref: Id
    permission: Permission
    path: ResourcePath


class ReleaseFile(Request):
    """What is held no more."""

    ref: Id
    at_once: bool = False
    """Whether the file goes with the next collection, and not only after ``unheld_kept_ms``."""


class Held(Result):
    """What a room holds under one name."""

    ref: str
    sha256: str


@action(
    access=Signed("files:hold"),
    effect=WRITE,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(NoSuchFileError, HoldExistsError),
)
async def hold_file(ctx: Context, request: HoldFile) -> File:
    """Keep a file that the acting member has uploaded, and let others read it; for rooms.

    Raises:
        NoSuchFileError: not_found. The member has not uploaded it, or not whole.
        HoldExistsError: already_exists. The room holds something under this name.
    """
    holder = _holder(ctx)
    upload = await store.lock_upload(ctx.tx, ctx.actor, request.sha256)
    if upload is None or not upload.is_finished:
        raise NoSuchFileError("you have not uploaded this file", sha256=request.sha256)
    hold = Hold(
        holder=holder,
        ref=request.ref,
        sha256=request.sha256,
        owner=ctx.actor,
        permission=request.permission,
        path=request.path,
        held_at_ms=ctx.now_ms,
    )
    if not await store.insert_hold(ctx.tx, hold):
        raise HoldExistsError(ref=request.ref)
    await store.update_unheld(ctx.tx, ctx.actor, request.sha256, None)
    return File(sha256=upload.sha256, size_bytes=upload.size_bytes)


@action(
    access=Signed("files:hold"),
    effect=WRITE,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(HoldNotFoundError,),
    command="file change-reader",
)
async def change_reader(ctx: Context, request: ChangeReader) -> Held:
    """Change who else may read what is held; for rooms.

    Raises:
        HoldNotFoundError: not_found. The room holds nothing under this name.
    """
    hold = await _get_hold(ctx, request.ref)
    await store.update_reader(ctx.tx, hold.holder, hold.ref, request.permission, request.path)
    return Held(ref=hold.ref, sha256=hold.sha256)


@action(
    access=Signed("files:hold"),
    effect=WRITE,
    limit=PerActor(calls=50, window_ms=1_000),
    raises=(HoldNotFoundError,),
)
async def release_file(ctx: Context, request: ReleaseFile) -> Held:
    """Hold a file no more; it stays for a while, and longer if others hold it; for rooms.

    Raises:
        HoldNotFoundError: not_found. The room holds nothing under this name.
    """
    hold = await _get_hold(ctx, request.ref)
    # Locked, so that nobody takes or releases another hold of it while this one decides.
    await store.lock_upload(ctx.tx, hold.owner, hold.sha256)
    if await store.delete_hold(ctx.tx, hold):
        unheld_at_ms = 0 if request.at_once else ctx.now_ms
        await store.update_unheld(ctx.tx, hold.owner, hold.sha256, unheld_at_ms)
    return Held(ref=hold.ref, sha256=hold.sha256)


async def _get_hold(ctx: Context, ref: str) -> Hold:
    """Return a hold of the room that calls.

    Raises:
        HoldNotFoundError: It has none of this name.
    """
    hold = await store.find_hold(ctx.tx, _holder(ctx), ref)
    if hold is None:
        raise HoldNotFoundError(ref=ref)
    return hold


def _holder(ctx: Context) -> str:
    """Return the room that calls: what people may do is up to the rooms that hold files.

    Raises:
        PermissionDeniedError: A person does, who may do everything.
    """
    if not ctx.principal.startswith(ROOM_PREFIX):
        raise PermissionDeniedError("only rooms hold files", permission="files:hold")
    return ctx.principal.removeprefix(ROOM_PREFIX)
