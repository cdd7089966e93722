"""What one principal holds, arranged so that a check looks up and never searches.

Whoever edits it: a long read asks from a thread of its own while the writer changes what is
here. What a check reads is therefore replaced whole (tuples, dictionaries of bans) or changed
by one step (a path of a dictionary of places).
"""

from collections.abc import Callable, Iterator

from moothall.action import EVERYONE
from moothall.core.paths import covers, enclosing
from moothall.services.access.model import ALL_PERMISSIONS, KEPT_WHEN_BANNED, Ground


class Role:
    """A role by reference, so that a change of it acts on everybody who has it at once."""

    __slots__ = ("alone", "name", "permissions")

    def __init__(self, name: str, permissions: frozenset[str]) -> None:
        """Begin with what it holds now."""
        self.name = name
        self.permissions = permissions
        self.alone = (self,)
        """The one tuple for all places where it is bound alone."""


_NO_BANS: dict[str, int | None] = {}
"""Shared by all who are not banned: a dictionary of bans is replaced and never changed."""

Places = dict[str, tuple[Role, ...]]
"""Roles that are bound, by path."""


class Rights:
    """What one principal holds: their own, their teams' and everyone's, and bans.

    Attributes:
        principal: Whose they are.
        own: What is bound to themselves.
        teams: ``team:<slug>`` of each, in order.
        bans: Path, and when it ends.
        places: Own, the teams' and everyone's, each with its subject, in this order.
        keepers: How many keep them in memory.
    """

    __slots__ = ("_now_ms", "bans", "keepers", "own", "places", "principal", "teams")

    def __init__(self, principal: str, now_ms: Callable[[], int]) -> None:
        """Begin with nothing; ``now_ms`` says when a ban is over."""
        self._now_ms = now_ms
        self.principal = principal
        self.own: Places = {}
        self.teams: tuple[str, ...] = ()
        self.bans: dict[str, int | None] = _NO_BANS
        self.places: tuple[tuple[str, Places], ...] = ()
        self.keepers = 0

    @property
    def rows(self) -> int:
        """How much of memory they count for."""
        return 1 + len(self.own) + len(self.teams) + len(self.bans)

    def allows(self, permission: str, path: str) -> bool:
        """Tell whether ``permission`` is held at or above ``path``, and no ban denies it."""
        if self.bans and permission not in KEPT_WHEN_BANNED and self.find_ban(path) is not None:
            return False
        enclosed = enclosing(path)
        for _, places in self.places:
            for place in enclosed:
                if roles := places.get(place):
                    for role in roles:
                        if permission in role.permissions or ALL_PERMISSIONS in role.permissions:
                            return True
        return False

    def find_ground(self, permission: str, path: str) -> Ground | None:
        """Return the binding that grants ``permission``, bans aside.

        Of several the nearest to ``path``; there the principal's own before a team's before
        everyone's.
        """
        for place in enclosing(path):
            for subject, places in self.places:
                for role in places.get(place, ()):
                    if not role.permissions.isdisjoint((permission, ALL_PERMISSIONS)):
                        return Ground(subject=subject, role=role.name, at=place)
        return None

    def find_ban(self, path: str) -> str | None:
        """Return where the nearest ban stands that covers ``path`` now; the root is ''."""
        bans = self.bans
        if not bans:
            return None
        now_ms = self._now_ms()
        for place in enclosing(path):
            if place in bans:
                until_ms = bans[place]
                if until_ms is None or now_ms < until_ms:
                    return place
        return None

    def find_ban_below(self, path: str) -> str | None:
        """Return where a ban stands now, at ``path`` or below it."""
        now_ms = self._now_ms()
        for place, until_ms in sorted(self.bans.items()):
            if covers(path, place) and (until_ms is None or now_ms < until_ms):
                return place
        return None

    def list_held(self, path: str) -> Iterator[tuple[str, str]]:
        """Yield each (permission, place) that is bound and acts in ``path``.

        That is at ``path``, above it or below it, for themselves or a team of theirs, bans
        aside. What acts from above is said to be at ``path``.
        """
        above = set(enclosing(path))
        for subject, places in self.places:
            for place, roles in list(places.items()):
                if place in above or (subject != EVERYONE and covers(path, place)):
                    for role in roles:
                        for permission in role.permissions:
                            yield permission, path if place in above else place

    def has_subject(self, subject: str) -> bool:
        """Tell whether what is bound to ``subject`` acts for the principal."""
        return subject == self.principal or subject in [shared for shared, _ in self.places]


def bind_role(places: Places, role: Role, path: str) -> None:
    """Bind ``role`` at ``path``; a second time is nothing."""
    others = [one for one in places.get(path, ()) if one.name != role.name]
    # In the order of their names, so that a restart explains as before.
    places[path] = (
        tuple(sorted([*others, role], key=lambda one: one.name)) if others else role.alone
    )


def unbind_role(places: Places, role: str, path: str) -> None:
    """Take the role of that name away at ``path``; a second time is nothing."""
    left = tuple(one for one in places.get(path, ()) if one.name != role)
    if left:
        places[path] = left
    else:
        places.pop(path, None)
