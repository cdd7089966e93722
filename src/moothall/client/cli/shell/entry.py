"""One entry: what it is, what is said about it, what proves it, and the verdict."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from moothall.client.cli.render import format_time, show_value
from moothall.client.cli.shell.comments import CommentsPlace
from moothall.client.cli.shell.engine import Place, Shell
from moothall.client.cli.shell.menu import Choice, Screen, Step, facts
from moothall.client.cli.shell.proofs import ProofsPlace


@dataclass(frozen=True, slots=True)
class EntryView:
    """What was loaded of an entry.

    Attributes:
        entry: As ``leaderboards.get_entry`` answers.
        is_own: Whether whoever looks submitted it.
        is_moderator: Whether whoever looks may verify it.
    """

    entry: Any
    is_own: bool
    is_moderator: bool


def entry_screen(view: EntryView) -> Screen:
    """Return the screen of an entry."""
    entry = view.entry
    entry_id, verified_ms = entry["entry_id"], entry["verified_at_ms"]
    is_verified = verified_ms is not None
    may_remove = view.is_own or view.is_moderator
    lines = facts(
        (
            ("Board", entry["board_id"]),
            ("Submitted by", entry["name"] or "(removed)"),
            ("Score", show_value("score", entry["score"])),
            ("Submitted", format_time(entry["submitted_at_ms"])),
            ("Season", str(entry["season"])),
            ("Verified", format_time(verified_ms) if is_verified else "no: it has no place"),
            ("Verified by", (entry["verified_by_name"] or "(removed)") if is_verified else ""),
            ("Comments", str(entry["comments"])),
            ("Proofs", str(entry["proofs"])),
            ("Entry", entry_id),
        )
    )
    return Screen(
        f"Entry of {entry['name'] or '(removed)'}",
        tuple(lines),
        (
            Choice(
                "c",
                "comments",
                "comments",
                lambda _: CommentsPlace(
                    entry_id, may_add=may_remove, is_moderator=view.is_moderator
                ),
            ),
            Choice(
                "f",
                "proofs",
                "proofs",
                lambda _: ProofsPlace(entry_id, may_add=view.is_own, may_remove=may_remove),
                may_remove or is_verified,
                help="files that show it: list, add, download, remove",
            ),
            Choice(
                "v",
                "verify",
                "verify",
                partial(_judge, verb="verify", entry=entry),
                view.is_moderator and not is_verified,
                help="it counts from then on, with your name as verifier",
            ),
            Choice(
                "u",
                "unverify",
                "unverify",
                partial(_judge, verb="unverify", entry=entry),
                view.is_moderator and is_verified,
                help="it counts no longer; another entry of the member may",
            ),
            Choice("d", "remove", "remove", partial(_remove, entry=entry), may_remove),
        ),
    )


class EntryPlace:
    """One entry."""

    def __init__(self, entry_id: str) -> None:
        self.title = f"Entry {entry_id}"
        self._entry_id = entry_id

    def look(self, shell: Shell) -> Screen:
        """Load the entry, and whether it may be judged."""
        entry = shell.call("leaderboards.get_entry", entry_id=self._entry_id)
        held = shell.may("scores:moderate", at=f"board/{entry['board_id']}")
        session = shell.hall().session
        is_own = session is not None and session.member_id == entry["member_id"]
        return entry_screen(EntryView(entry, is_own, bool(held)))


def _judge(shell: Shell, *, verb: str, entry: Any) -> Place | Step:
    score, name = show_value("score", entry["score"]), entry["name"]
    if not shell.confirm(f"{verb.capitalize()} {score} of {name}?"):
        return Step.KEEP
    shell.call(f"leaderboards.{verb}_entry", entry_id=entry["entry_id"])
    return Step.STAY


def _remove(shell: Shell, *, entry: Any) -> Place | Step:
    score, name = show_value("score", entry["score"]), entry["name"]
    question = f"Remove {score} of {name}, with its comments and proofs, for ever?"
    if not shell.confirm(question):
        return Step.KEEP
    shell.call("leaderboards.remove_entry", entry_id=entry["entry_id"])
    shell.say("The entry is removed.")
    return Step.BACK
