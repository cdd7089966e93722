"""Proofs: files that show what an entry says.

Their bytes are uploaded to the files room first, by the submitter. An entry holds them there
under the proof's id, with the permission that lets others read them: moderators, and once the
entry is verified, the board's readers (R57). The submitter may always: they uploaded them.
"""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from moothall.action import (
    READ,
    WRITE,
    Context,
    Id,
    PerActor,
    Request,
    Result,
    Signed,
    action,
    next_cursor,
)
from moothall.services.files.actions import (
    ChangeReader,
    HoldFile,
    ReleaseFile,
    change_reader,
    hold_file,
    release_file,
)
from moothall.services.files.actions.fields import Sha256
from moothall.services.files.errors import NoSuchFileError
from moothall.services.leaderboards.errors import (
    EntryNotFoundError,
    NotSubmitterError,
    ProofNotFoundError,
    ProofsFullError,
)
from moothall.services.leaderboards.events import ProofAdded, ProofRemoved, tell
from moothall.services.leaderboards.model import BoardsSettings, Entry, Proof
from moothall.services.leaderboards.rules import check_may_change, choose_proof_name
from moothall.services.leaderboards.store import proofs, views

RELEASED_AT_ONCE = 100
"""Files that one step lets go; no entry has more."""

MediaType = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9][a-z0-9!#$&^_.+-]{0,62}/[a-z0-9][a-z0-9!#$&^_.+-]{0,62}(?!\n)$",
        description="A media type in small letters, such as image/png.",
    ),
]


class AddProof(Request):
    """A file that the submitter has uploaded (``files.put_chunk``), and what to call it."""

    entry_id: Id
    sha256: Sha256
    name: Annotated[str, Meta(min_length=1, max_length=1_024)]
    """Its last component is kept, without what cannot be shown, at most 128 characters of it."""
    media_type: MediaType = "application/octet-stream"


class ListProofs(Request):
    """A page of proofs; ``after`` is the ``next`` of the page before."""

    entry_id: Id
    after: Annotated[str, Meta(max_length=128)] = ""
    limit: Annotated[int, Meta(ge=1, le=100)] = 50


class GetProof(Request):
    """One proof."""

    proof_id: Id


class RemoveProof(Request):
    """One proof."""

    proof_id: Id


class ProofPage(Result):
    """A page of proofs, oldest first; ``next`` is None on the last one."""

    proofs: list[Proof]
    next: str | None


@action(
    access=Signed("scores:read", at=views.find_visible_path),
    effect=WRITE,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(EntryNotFoundError, NotSubmitterError, ProofsFullError, NoSuchFileError),
)
async def add_proof(ctx: Context, request: AddProof) -> Proof:
    """Add a file to one's entry; moderators read it, and readers once the entry is verified.

    Args:
        request.sha256: Of a file that the caller has uploaded, whole.
        request.name: For people to read, such as ``finish.png``.

    Raises:
        EntryNotFoundError: not_found. There is none of this id.
        NotSubmitterError: permission_denied. It is somebody else's.
        ProofsFullError: failed_precondition. The entry has ``boards.proofs_per_entry_max``.
        NoSuchFileError: not_found. The caller has not uploaded this file, or not whole.

    Emits:
        ProofAdded: to the moderators, and to the board's readers if the entry is verified.
    """
    entry = await views.lock_visible(ctx, request.entry_id)
    if entry.member_id != ctx.actor:
        raise NotSubmitterError("only the entry's submitter adds proofs")
    name = choose_proof_name(request.name)
    limit = ctx.use(BoardsSettings).proofs_per_entry_max
    if await proofs.count_proofs(ctx.tx, entry.entry_id) >= limit:
        raise ProofsFullError(limit=limit, remedy="remove one")
    proof_id = ctx.new_id()
    file = await ctx.call(
        hold_file,
        HoldFile(
            sha256=request.sha256,
            ref=proof_id,
            permission=_reading(entry),
            path=f"board/{entry.board_id}",
        ),
    )
    proof = Proof(
        proof_id=proof_id,
        entry_id=entry.entry_id,
        member_id=ctx.actor,
        sha256=file.sha256,
        size_bytes=file.size_bytes,
        name=name,
        media_type=request.media_type,
        added_at_ms=ctx.now_ms,
    )
    await proofs.insert_proof(ctx.tx, proof)
    added = ProofAdded(
        board_id=entry.board_id,
        entry_id=entry.entry_id,
        proof_id=proof_id,
        member_id=ctx.actor,
    )
    tell(ctx, entry, added)
    return proof


@action(
    access=Signed("scores:read", at=views.find_visible_path),
    effect=READ,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(EntryNotFoundError,),
)
async def list_proofs(ctx: Context, request: ListProofs) -> ProofPage:
    """List the proofs of an entry, oldest first; the files are read by their hashes.

    Raises:
        EntryNotFoundError: not_found. There is none of this id.
    """
    entry = await views.get_visible(ctx, request.entry_id)
    found = await proofs.list_proofs(ctx.tx, entry.entry_id, request.after, request.limit)
    after = next_cursor(found, request.limit, lambda last: last.proof_id)
    return ProofPage(proofs=found, next=after)


@action(
    access=Signed("scores:read", at=proofs.find_visible_path),
    effect=READ,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(ProofNotFoundError,),
    command="proof show",
)
async def get_proof(ctx: Context, request: GetProof) -> Proof:
    """Show one proof; the file is read by its hash.

    Raises:
        ProofNotFoundError: not_found. There is none of this id.
    """
    proof = await proofs.get_proof(ctx.tx, request.proof_id)
    try:
        await views.get_visible(ctx, proof.entry_id)
    except EntryNotFoundError:
        raise ProofNotFoundError(proof_id=request.proof_id) from None
    return proof


@action(
    access=Signed("scores:read", at=proofs.find_visible_path),
    effect=WRITE,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(ProofNotFoundError, NotSubmitterError),
)
async def remove_proof(ctx: Context, request: RemoveProof) -> Proof:
    """Remove a proof: submitter and moderators may. Nobody else reads the file from then on.

    Raises:
        ProofNotFoundError: not_found. There is none of this id.
        NotSubmitterError: permission_denied. It is somebody else's, and you are no moderator.

    Emits:
        ProofRemoved: to the moderators, to the board's readers if the entry is verified, and
            to the submitter unless they did it.
    """
    proof, entry = await proofs.lock_proof(ctx, request.proof_id)
    check_may_change(ctx.may, ctx.actor, entry)
    await _release(ctx, [proof.proof_id])
    removed = ProofRemoved(
        board_id=entry.board_id,
        entry_id=entry.entry_id,
        proof_id=proof.proof_id,
        removed_by=ctx.actor,
    )
    tell(ctx, entry, removed)
    return proof


async def proofs_follow_verification(ctx: Context, entry: Entry) -> None:
    """Let readers read the proofs of an entry that is verified now, and no longer otherwise."""
    for proof in await proofs.list_proofs(ctx.tx, entry.entry_id, "", RELEASED_AT_ONCE):
        change = ChangeReader(
            ref=proof.proof_id, permission=_reading(entry), path=f"board/{entry.board_id}"
        )
        await ctx.call(change_reader, change)


async def release_proofs(
    ctx: Context, entry_ids: Sequence[str], limit: int = RELEASED_AT_ONCE
) -> int:
    """Remove proofs of entries that go, and let their files go; return how many.

    At most ``limit`` and 100 at a time, which is all of one entry.
    """
    some = min(limit, RELEASED_AT_ONCE)
    return await _release(ctx, await proofs.lock_proofs(ctx.tx, entry_ids, some))


async def release_orphans(ctx: Context) -> int:
    """Let go of files whose entries went with their members; return how many.

    Whoever erases a member cannot do it: it acts for the identity room, which holds no files.
    """
    orphans = await proofs.lock_orphans(ctx.tx, RELEASED_AT_ONCE)
    return await _release(ctx, orphans, at_once=True)


async def _release(ctx: Context, proof_ids: Sequence[str], *, at_once: bool = False) -> int:
    """Remove proofs and let their files go; return how many."""
    for proof_id in proof_ids:
        await ctx.call(release_file, ReleaseFile(ref=proof_id, at_once=at_once))
        await proofs.delete_proof(ctx.tx, proof_id)
    return len(proof_ids)


def _reading(entry: Entry) -> str:
    """Return the permission that lets somebody else than the submitter read an entry's proofs."""
    return "scores:moderate" if entry.verified_at_ms is None else "scores:read"
