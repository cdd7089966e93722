"""Who may do what, by walking over all rows for each question: too plain to be wrong."""

from dataclasses import dataclass, field

from moothall.action import EVERYONE
from moothall.services.access.model import Held
from moothall.services.identity.model import SERVERS

KEPT = {"sessions:own", "permissions:check_own"}

Triple = tuple[str, str, str]


def covers(outer: str, inner: str) -> bool:
    """Compare segment by segment; the empty path has none."""
    above = outer.split("/") if outer else []
    below = inner.split("/") if inner else []
    return below[: len(above)] == above


def depth(path: str) -> int:
    return len(path.split("/")) if path else 0


@dataclass
class NaiveAccess:
    """Rows as the tables hold them, and a clock."""

    now_ms: int = 0
    roles: dict[str, set[str]] = field(default_factory=dict)
    bindings: set[Triple] = field(default_factory=set)
    teams: set[tuple[str, str]] = field(default_factory=set)
    bans: dict[tuple[str, str], int | None] = field(default_factory=dict)

    def subjects_of(self, principal: str) -> list[str]:
        """The subjects whose bindings act for a principal, the nearest first."""
        if principal in {"", EVERYONE} or principal.startswith("team:"):
            return []
        if principal.startswith("room:"):
            return [principal]
        if principal.startswith("server:"):
            return [SERVERS]
        teams = sorted(team for team, member in self.teams if member == principal)
        return [principal, *teams, EVERYONE]

    def held_by(self, member: str) -> Held:
        """What the rows tell of one member."""
        return Held(
            bindings=tuple((role, at) for who, role, at in self.bindings if who == member),
            teams=tuple(team.removeprefix("team:") for team, who in self.teams if who == member),
            bans={at: until for (who, at), until in self.bans.items() if who == member},
        )

    def is_banned(self, principal: str, path: str) -> bool:
        return any(
            who == principal and covers(at, path) and (until is None or self.now_ms < until)
            for (who, at), until in self.bans.items()
        )

    def grounds(self, principal: str, permission: str, path: str) -> list[Triple]:
        """All bindings that grant it, the nearest first."""
        subjects = self.subjects_of(principal)
        found = [
            (subject, role, at)
            for subject, role, at in self.bindings
            if subject in subjects
            and covers(at, path)
            and (permission in self.roles[role] or "*" in self.roles[role])
        ]
        return sorted(found, key=lambda one: (-depth(one[2]), subjects.index(one[0]), one[1]))

    def allows(self, principal: str, permission: str, path: str) -> bool:
        if permission not in KEPT and self.is_banned(principal, path):
            return False
        return bool(self.grounds(principal, permission, path))
