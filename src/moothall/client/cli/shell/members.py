"""The members of the hall, by pages, and one of them."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from moothall.client.cli.render import format_time
from moothall.client.cli.shell.account import RolesPlace
from moothall.client.cli.shell.engine import Place, Shell
from moothall.client.cli.shell.entries import entries_lines, number_entries
from moothall.client.cli.shell.menu import Choice, Screen, Step, facts, table
from moothall.client.cli.shell.pages import CursorPages, number_rows


def members_lines(members: Sequence[Any], first: int) -> list[str]:
    """Return members as a table, numbered from ``first``."""
    rows = [
        (str(at), one["name"], format_time(one["created_at_ms"])[:16])
        for at, one in enumerate(members, start=first)
    ]
    return table(("no", "name", "member since"), rows) if rows else ["There are none."]


class MembersPlace:
    """All members, by name."""

    title = "Members"

    def __init__(self) -> None:
        self._pages = CursorPages()

    def look(self, shell: Shell) -> Screen:
        """Load one page."""
        page = shell.call("identity.list_members", **self._pages.asked)
        members = page["members"]
        self._pages.note(len(members), page["next"])
        numbers = number_rows(
            [partial(_enter, member_id=one["member_id"], name=one["name"]) for one in members],
            self._pages.offset,
        )
        find = Choice("f", "find", "find by name", _find)
        lines = members_lines(members, self._pages.offset + 1)
        choices = (*numbers, find, *self._pages.choices())
        return Screen(self.title, tuple(lines), choices, rows="one member")


class MemberPlace:
    """One member: since when, and the entries that whoever looks may see."""

    def __init__(self, member_id: str, name: str) -> None:
        self.title = f"Member {name}"
        self._name = name
        self._member_id = member_id
        self._pages = CursorPages()

    def look(self, shell: Shell) -> Screen:
        """Load the member and one page of entries."""
        if not shell.offers("leaderboards.list_entries_of"):
            # A server without boards has members all the same.
            member = shell.call("identity.find_member", member=self._member_id)
            return Screen(self.title, tuple(member_lines(member, member["created_at_ms"])))
        roles = Choice(
            "o",
            "roles",
            "what they may do",
            lambda _: RolesPlace(self._member_id, self._name),
            bool(shell.may("roles:list")),
        )
        asked = {"member": self._member_id, **self._pages.asked}
        page = shell.call("leaderboards.list_entries_of", **asked)
        entries = page["entries"]
        self._pages.note(len(entries), page["next"])
        lines = (
            *member_lines(page, page["registered_at_ms"]),
            "",
            *entries_lines(entries, self._pages.offset + 1, has_board=True),
        )
        numbers = number_entries(entries, self._pages.offset)
        choices = (*numbers, roles, *self._pages.choices())
        return Screen(self.title, lines, choices, rows="one entry")


def member_lines(member: Any, registered_at_ms: int) -> list[str]:
    """Return what there is to know of a member."""
    return facts(
        (
            ("Name", member["name"] or "(removed)"),
            ("Member since", format_time(registered_at_ms)),
            ("Id", member["member_id"]),
        )
    )


def _enter(_shell: Shell, *, member_id: str, name: str) -> Place | Step:
    return MemberPlace(member_id, name)


def _find(shell: Shell) -> Place | Step:
    name = shell.ask("Name")
    if not name:
        return Step.KEEP
    found = shell.call("identity.find_member", member=name)
    return MemberPlace(found["member_id"], found["name"])
