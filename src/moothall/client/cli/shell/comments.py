"""What is said about an entry."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from moothall.client.cli.render import format_time
from moothall.client.cli.shell.engine import Place, Shell
from moothall.client.cli.shell.menu import WIDTH, Choice, Screen, Step, fold
from moothall.client.cli.shell.pages import CursorPages, number_rows

_ROWS = 5
"""Comments of one page; each may take several lines."""

_INDENT = "    "


def comment_lines(comments: Sequence[Any], first: int) -> list[str]:
    """Return comments, numbered from ``first``: who and when, and below it the text, folded."""
    lines = []
    for at, one in enumerate(comments, start=first):
        lines.append(
            f"{at}. {one['name'] or '(removed)'}, {format_time(one['created_at_ms'])[:16]}"
        )
        for part in one["text"].split("\n"):
            lines += [f"{_INDENT}{line}" for line in fold(part, WIDTH - len(_INDENT))]
    return lines or ["Nobody has said anything yet."]


class CommentsPlace:
    """The comments of one entry, oldest first."""

    title = "Comments"

    def __init__(self, entry_id: str, *, may_add: bool, is_moderator: bool) -> None:
        self._entry_id = entry_id
        self._may_add = may_add
        self._is_moderator = is_moderator
        self._pages = CursorPages(_ROWS)

    def look(self, shell: Shell) -> Screen:
        """Load one page."""
        page = shell.call(
            "leaderboards.list_comments",
            entry_id=self._entry_id,
            **self._pages.asked,
        )
        comments = page["comments"]
        self._pages.note(len(comments), page["next"])
        session = shell.hall().session
        own = None if session is None else session.member_id
        numbers = number_rows(
            [partial(_remove, comment=one) for one in comments], self._pages.offset
        )
        removable = [
            number
            for number, one in zip(numbers, comments, strict=True)
            if self._is_moderator or one["member_id"] == own
        ]
        add = Choice("a", "add", "add a comment", self._add, self._may_add)
        lines = comment_lines(comments, self._pages.offset + 1)
        choices = (*removable, add, *self._pages.choices())
        return Screen(self.title, tuple(lines), choices, rows="remove a comment")

    def _add(self, shell: Shell) -> Place | Step:
        text = shell.ask("Comment (nothing to stop)")
        if not text or not shell.confirm("Say this? Moderators and the submitter read it."):
            return Step.KEEP
        shell.call("leaderboards.add_comment", entry_id=self._entry_id, text=text)
        return Step.STAY


def _remove(shell: Shell, *, comment: Any) -> Place | Step:
    if not shell.confirm(f"Remove the comment of {comment['name']}?"):
        return Step.KEEP
    shell.call("leaderboards.remove_comment", comment_id=comment["comment_id"])
    return Step.STAY
