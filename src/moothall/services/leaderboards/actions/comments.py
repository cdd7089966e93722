"""What is said about entries, by whoever submitted them and by moderators."""

from typing import Annotated

import msgspec
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
    TimeMs,
    action,
    next_cursor,
)
from moothall.services.identity.actions import NameMembers, name_members
from moothall.services.leaderboards.errors import (
    CommentNotFoundError,
    CommentsFullError,
    EntryNotFoundError,
    NotAuthorError,
    NotSubmitterError,
)
from moothall.services.leaderboards.events import CommentAdded, CommentRemoved, tell
from moothall.services.leaderboards.model import BoardsSettings, Comment, CommentView
from moothall.services.leaderboards.rules import (
    check_comment,
    check_may_change,
    check_may_remove_comment,
)
from moothall.services.leaderboards.store import comments, views

CommentText = Annotated[
    str, Meta(min_length=1, max_length=4_000, description="1 to 4,000 characters.")
]
Cursor = tuple[TimeMs, Annotated[str, Meta(max_length=128)]]


class AddComment(Request):
    """What is to be said about an entry."""

    entry_id: Id
    text: CommentText


class ListComments(Request):
    """A page of comments; ``after`` is the ``next`` of the page before."""

    entry_id: Id
    after: Cursor = (0, "")
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class RemoveComment(Request):
    """One comment."""

    comment_id: Id


class CommentPage(Result):
    """A page of comments, oldest first; ``next`` is None on the last one."""

    comments: list[CommentView]
    next: Cursor | None


@action(
    access=Signed("scores:read", at=views.find_visible_path),
    effect=WRITE,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(EntryNotFoundError, NotSubmitterError, CommentsFullError),
)
async def add_comment(ctx: Context, request: AddComment) -> Comment:
    """Say something about an entry: its submitter and the board's moderators may.

    Whoever sees the entry reads it.

    Args:
        request.text: 1 to 4,000 characters, spaces around it aside.

    Raises:
        EntryNotFoundError: not_found. There is none of this id.
        NotSubmitterError: permission_denied. It is somebody else's, and you are no moderator.
        CommentsFullError: failed_precondition. The entry has ``boards.comments_per_entry_max``
            comments.

    Emits:
        CommentAdded: to the moderators, to the board's readers if the entry is verified, and
            to the submitter unless they wrote it.
    """
    entry = await views.lock_visible(ctx, request.entry_id)
    check_may_change(ctx.may, ctx.actor, entry)
    text = check_comment(request.text)
    limit = ctx.use(BoardsSettings).comments_per_entry_max
    if await comments.count_comments(ctx.tx, entry.entry_id) >= limit:
        raise CommentsFullError(limit=limit, remedy="remove some")
    comment = Comment(
        comment_id=ctx.new_id(),
        entry_id=entry.entry_id,
        member_id=ctx.actor,
        text=text,
        created_at_ms=ctx.now_ms,
    )
    await comments.insert_comment(ctx.tx, comment)
    added = CommentAdded(
        board_id=entry.board_id,
        entry_id=entry.entry_id,
        comment_id=comment.comment_id,
        member_id=ctx.actor,
    )
    tell(ctx, entry, added)
    return comment


@action(
    access=Signed("scores:read", at=views.find_visible_path),
    effect=READ,
    limit=PerActor(calls=100, window_ms=1_000),
    raises=(EntryNotFoundError,),
)
async def list_comments(ctx: Context, request: ListComments) -> CommentPage:
    """List what was said about an entry, oldest first, by pages; its description comes first.

    Raises:
        EntryNotFoundError: not_found. There is none of this id.
    """
    entry = await views.get_visible(ctx, request.entry_id)
    found = await comments.list_comments(ctx.tx, entry.entry_id, request.after, request.limit)
    ids = sorted({comment.member_id for comment in found})
    named = await ctx.call(name_members, NameMembers(member_ids=ids))
    shown = [
        CommentView(**msgspec.structs.asdict(comment), name=named.names.get(comment.member_id, ""))
        for comment in found
    ]
    after = next_cursor(found, request.limit, lambda last: (last.created_at_ms, last.comment_id))
    return CommentPage(comments=shown, next=after)


@action(
    access=Signed("scores:read", at=comments.find_visible_path),
    effect=WRITE,
    limit=PerActor(calls=20, window_ms=1_000),
    raises=(CommentNotFoundError, NotAuthorError),
)
async def remove_comment(ctx: Context, request: RemoveComment) -> Comment:
    """Remove a comment: whoever wrote it and the board's moderators may.

    Raises:
        CommentNotFoundError: not_found. There is none of this id.
        NotAuthorError: permission_denied. Somebody else wrote it, and you are no moderator.

    Emits:
        CommentRemoved: to the moderators, to the board's readers if the entry is verified, and
            to the submitter unless they did it.
    """
    comment, entry = await comments.lock_comment(ctx, request.comment_id)
    check_may_remove_comment(ctx.may, ctx.actor, comment, entry)
    await comments.delete_comment(ctx.tx, comment.comment_id)
    removed = CommentRemoved(
        board_id=entry.board_id,
        entry_id=entry.entry_id,
        comment_id=comment.comment_id,
        removed_by=ctx.actor,
    )
    tell(ctx, entry, removed)
    return comment
