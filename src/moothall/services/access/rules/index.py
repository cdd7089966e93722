"""The index of roles, bindings, teams and bans that answers every check.

Every call pays for :meth:`BindingIndex.allows`, so it looks up and never searches: what a
principal holds (their own, their teams', everyone's) hangs at one holder, and who is not
banned anywhere pays one test for it. ``python -m bench.access`` tells what it costs.

Whoever edits it: a long read asks from a thread of its own while the writer changes the
index. What a check reads is therefore replaced whole (tuples, frozensets), never changed.
"""

from collections.abc import Callable, Iterable, Iterator

from moothall.action import EVERYONE
from moothall.core.paths import covers, enclosing
from moothall.services.access.model import (
    ALL_PERMISSIONS,
    KEPT_WHEN_BANNED,
    TEAM_PREFIX,
    Ground,
)
from moothall.services.identity.model import SERVER_PREFIX, SERVERS


class _Role:
    """A role by reference, so that a change of it acts on everybody who has it at once."""

    __slots__ = ("name", "permissions")

    def __init__(self, name: str, permissions: frozenset[str]) -> None:
        self.name = name
        self.permissions = permissions


_Places = dict[str, tuple[_Role, ...]]
"""Roles that are bound, by path."""


class _Holder:
    """What one principal holds."""

    __slots__ = ("bans", "own", "places", "teams")

    def __init__(self) -> None:
        self.own: _Places = {}
        self.teams: tuple[str, ...] = ()
        self.bans: dict[str, int | None] = {}
        self.places: tuple[tuple[str, _Places], ...] = ()
        """Own, the teams' and everyone's, each with its subject, in this order."""


class BindingIndex:
    """Who may do what, in memory. Implements the Authority port.

    It is changed when the transaction that changed the rows has committed, so it never
    knows more than the disk does.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        """Begin with nothing granted to anybody; ``now_ms`` says when a ban is over."""
        self._now_ms = now_ms
        self.version = 0
        """Grows with each change, so that who remembers an answer knows when to ask again."""
        self._roles: dict[str, _Role] = {}
        self._shared: dict[str, _Places] = {EVERYONE: {}, SERVERS: {}}
        self._holders: dict[str, _Holder] = {}
        self._anybody = _Holder()
        self._anybody.places = ((EVERYONE, self._shared[EVERYONE]),)
        self._any_server = _Holder()
        self._any_server.places = ((SERVERS, self._shared[SERVERS]),)

    # --- asking ---------------------------------------------------------------------------

    def allows(self, principal: str, permission: str, path: str) -> bool:
        """Tell whether ``principal`` holds ``permission`` at or above ``path`` and is not banned.

        A member holds what is bound to them, to their teams and to everyone; a room only
        what is bound to it; a resource server only what is bound to all of them; nobody (the
        empty principal), a team and everyone hold nothing.
        """
        holder = self._holders.get(principal)
        if holder is None:
            if is_member(principal):
                holder = self._anybody
            elif principal.startswith(SERVER_PREFIX):
                holder = self._any_server
            else:
                return False
        elif holder.bans and self._is_banned(principal, permission, path):
            return False
        enclosed = enclosing(path)
        for _, places in holder.places:
            for place in enclosed:
                if roles := places.get(place):
                    for role in roles:
                        if permission in role.permissions or ALL_PERMISSIONS in role.permissions:
                            return True
        return False

    def find_ground(self, principal: str, permission: str, path: str) -> Ground | None:
        """Return the binding that grants ``permission`` to ``principal``, bans aside.

        Of several the nearest to ``path``; there the principal's own before a team's before
        everyone's.
        """
        holder = self._holder_of(principal)
        for place in enclosing(path):
            for subject, places in holder.places if holder else ():
                for role in places.get(place, ()):
                    if not role.permissions.isdisjoint((permission, ALL_PERMISSIONS)):
                        return Ground(subject=subject, role=role.name, at=place)
        return None

    def find_ban(self, principal: str, path: str) -> str | None:
        """Return where the nearest ban stands that covers ``path`` now; the root is ''."""
        holder = self._holders.get(principal)
        if holder is None or not holder.bans:
            return None
        now_ms = self._now_ms()
        for place in enclosing(path):
            if place in holder.bans:
                until_ms = holder.bans[place]
                if until_ms is None or now_ms < until_ms:
                    return place
        return None

    def find_ban_below(self, principal: str, path: str) -> str | None:
        """Return where ``principal`` is banned now, at ``path`` or below it."""
        holder = self._holders.get(principal)
        now_ms = self._now_ms()
        for place, until_ms in sorted(holder.bans.items()) if holder else ():
            if covers(path, place) and (until_ms is None or now_ms < until_ms):
                return place
        return None

    def list_held(self, principal: str, path: str) -> Iterator[tuple[str, str]]:
        """Yield each (permission, place) that is bound to ``principal`` and acts in ``path``.

        That is at ``path``, above it or below it, for themselves or a team of theirs, bans
        aside. What acts from above is said to be at ``path``.
        """
        holder = self._holder_of(principal)
        above = set(enclosing(path))
        for subject, places in holder.places if holder else ():
            for place, roles in list(places.items()):
                if place in above or (subject != EVERYONE and covers(path, place)):
                    for role in roles:
                        for permission in role.permissions:
                            yield permission, path if place in above else place

    def list_bound(self, subject: str) -> Iterator[tuple[str, str]]:
        """Yield each (permission, place) that is bound to ``subject``, a team."""
        for place, roles in list(self._shared.get(subject, {}).items()):
            for role in roles:
                for permission in role.permissions:
                    yield permission, place

    def is_subject_of(self, principal: str, subject: str) -> bool:
        """Tell whether what is bound to ``subject`` acts for ``principal``."""
        holder = self._holder_of(principal)
        return subject == principal or (
            holder is not None and subject in [shared for shared, _ in holder.places]
        )

    def permissions_of(self, role: str) -> frozenset[str] | None:
        """Return what ``role`` holds, or None if there is no such role."""
        found = self._roles.get(role)
        return None if found is None else found.permissions

    def list_roles_with(self, permission: str) -> list[str]:
        """Return names of the roles that hold ``permission``, in order."""
        either = (permission, ALL_PERMISSIONS)
        roles = list(self._roles.values())
        return sorted(one.name for one in roles if not one.permissions.isdisjoint(either))

    # --- changing -------------------------------------------------------------------------

    def define(self, role: str, permissions: Iterable[str]) -> None:
        """Make ``role`` known, or change what it holds for everybody who has it."""
        self.version += 1
        known = self._roles.get(role)
        if known is None:
            self._roles[role] = _Role(role, frozenset(permissions))
        else:
            known.permissions = frozenset(permissions)

    def forget(self, role: str) -> None:
        """Make a role unknown that is bound nowhere."""
        self.version += 1
        self._roles.pop(role, None)

    def bind(self, subject: str, role: str, path: str) -> None:
        """Bind a role that is known."""
        self.version += 1
        places = self._places_of(subject)
        is_first = not places
        others = [one for one in places.get(path, ()) if one.name != role]
        # In the order of their names, so that a restart explains as before.
        places[path] = (
            tuple(sorted([*others, self._roles[role]], key=lambda one: one.name))
            if others
            else (self._roles[role],)
        )
        if is_first:  # those that follow are found in the same places
            self._arrange(subject)

    def unbind(self, subject: str, role: str, path: str) -> None:
        """Take a binding away."""
        self.version += 1
        places = self._places_of(subject)
        left = tuple(one for one in places.get(path, ()) if one.name != role)
        if left:
            places[path] = left
        else:
            places.pop(path, None)
        self._arrange(subject)

    def join(self, team: str, member_id: str) -> None:
        """Give a member what is bound to ``team`` (``team:<slug>``)."""
        self.version += 1
        self._shared.setdefault(team, {})
        holder = self._holders.setdefault(member_id, _Holder())
        holder.teams = tuple(sorted({*holder.teams, team}))
        self._arrange(member_id)

    def leave(self, team: str, member_id: str) -> None:
        """Take from a member what is bound to ``team``."""
        self.version += 1
        holder = self._holders.get(member_id)
        if holder is not None:
            holder.teams = tuple(one for one in holder.teams if one != team)
            self._arrange(member_id)

    def disband(self, team: str, member_ids: Iterable[str]) -> None:
        """Forget a team with all that is bound to it; ``member_ids`` are its members."""
        self.version += 1
        for member_id in member_ids:
            self.leave(team, member_id)
        self._shared.pop(team, None)

    def ban(self, member_id: str, path: str, until_ms: int | None) -> None:
        """Deny all to a member at ``path`` and below, until then or for good."""
        self.version += 1
        holder = self._holders.setdefault(member_id, _Holder())
        holder.bans = {**holder.bans, path: until_ms}
        self._arrange(member_id)

    def lift(self, member_id: str, path: str) -> None:
        """End a ban."""
        self.version += 1
        holder = self._holders.get(member_id)
        if holder is not None:
            holder.bans = {at: until for at, until in holder.bans.items() if at != path}
            self._arrange(member_id)

    # --- inside ---------------------------------------------------------------------------

    def _is_banned(self, principal: str, permission: str, path: str) -> bool:
        """Tell whether a ban that covers ``path`` takes ``permission`` away."""
        return permission not in KEPT_WHEN_BANNED and self.find_ban(principal, path) is not None

    def _holder_of(self, principal: str) -> _Holder | None:
        """Return what ``principal`` holds, or None for those who hold nothing."""
        found = self._holders.get(principal)
        if found is not None or is_member(principal):
            return found or self._anybody
        return self._any_server if principal.startswith(SERVER_PREFIX) else None

    def _places_of(self, subject: str) -> _Places:
        """Return where roles are bound to ``subject``."""
        if subject in {EVERYONE, SERVERS} or subject.startswith(TEAM_PREFIX):
            return self._shared.setdefault(subject, {})
        return self._holders.setdefault(subject, _Holder()).own

    def _arrange(self, principal: str) -> None:
        """Say anew where a check of ``principal`` looks; forget who holds nothing."""
        holder = self._holders.get(principal)
        if holder is None:
            return
        if not (holder.own or holder.teams or holder.bans):
            del self._holders[principal]
            return
        shared = [*holder.teams, EVERYONE] if is_member(principal) else []
        own = [(principal, holder.own)] if holder.own else []
        holder.places = (*own, *((subject, self._shared[subject]) for subject in shared))


def is_member(principal: str) -> bool:
    """Tell whether a principal is a member: no room, team or server, not everyone or nobody."""
    return principal not in {"", EVERYONE} and ":" not in principal
