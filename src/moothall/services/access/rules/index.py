"""The index of roles, bindings, teams and bans that answers every check.

Every call pays for :meth:`BindingIndex.allows`. What many share is here whole: roles, and what
is bound to teams, to everyone and to servers. What one member holds comes when they call, stays
while they are kept, and goes when there is no room (``docs/decisions/0015``). ``python -m
bench.access`` tells what a check costs.

Whoever edits it: it is changed on the loop's thread only. Long reads ask from other threads.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator

from moothall.action import EVERYONE
from moothall.core.paths import covers
from moothall.services.access.model import ALL_PERMISSIONS, TEAM_PREFIX, Held
from moothall.services.access.rules.rights import Places, Rights, Role, bind_role, unbind_role
from moothall.services.identity.model import SERVER_PREFIX, SERVERS


class BindingIndex:
    """Who may do what, in memory.

    It is changed when the transaction that changed the rows has committed, so it never
    knows more than the disk does.
    """

    def __init__(self, now_ms: Callable[[], int], rows_max: int) -> None:
        """Begin with nothing granted to anybody.

        Args:
            now_ms: Says when a ban is over.
            rows_max: How much is remembered of members who are kept no more.
        """
        self._now_ms = now_ms
        self._rows_max = rows_max
        self._rows = 0
        self.version = 0
        """Grows with each change, so that who remembers an answer knows when to ask again."""
        self._roles: dict[str, Role] = {}
        self._shared: dict[str, Places] = {EVERYONE: {}, SERVERS: {}}
        self._rights: dict[str, Rights] = {}
        """Of rooms, and of the members who are in memory."""
        self._idle: OrderedDict[str, None] = OrderedDict()
        """Of these, who is not kept; whoever was released longest ago comes first."""
        self._marks: dict[str, object] = {}
        """Of whatever is being read: members, what is shared, roles. Taken away when it changes
        meanwhile."""
        self._common = ((EVERYONE, self._shared[EVERYONE]),)
        """Where a check of most members looks: they hold nothing of their own."""
        self._nobody = Rights("", now_ms)
        self._server = Rights(SERVERS, now_ms)
        self._server.places = ((SERVERS, self._shared[SERVERS]),)

    # --- asking ---------------------------------------------------------------------------

    def allows(self, principal: str, permission: str, path: str) -> bool:
        """Tell whether ``principal`` holds ``permission`` at or above ``path`` and is not banned.

        A member holds what is bound to them, to their teams and to everyone; a room only
        what is bound to it; a resource server only what is bound to all of them; nobody (the
        empty principal), a team and everyone hold nothing.

        Raises:
            LookupError: A member who is not in memory.
        """
        try:  # a lookup that finds costs less than `get`, and nearly all do
            rights = self._rights[principal]
        except KeyError:
            rights = self.rights_in_memory(principal)
        return rights.allows(permission, path)

    def rights_in_memory(self, principal: str) -> Rights:
        """Return what ``principal`` holds.

        Raises:
            LookupError: A member who is not in memory.
        """
        found = self.find_rights(principal)
        if found is None:
            msg = f"what {principal} holds is not in memory; ask `await rights_of(tx, ...)`"
            raise LookupError(msg)
        return found

    def find_rights(self, principal: str) -> Rights | None:
        """Return what ``principal`` holds, or None for a member who is not in memory."""
        found = self._rights.get(principal)
        if found is not None or is_member(principal):
            return found
        return self._server if principal.startswith(SERVER_PREFIX) else self._nobody

    def make_rights(self, principal: str, held: Held) -> Rights:
        """Return rights by the rows of a principal; the index remembers and changes them not."""
        rights = Rights(principal, self._now_ms)
        for name, path in held.bindings:
            # A role of a room that is not served any more waits in its rows for the room.
            if (role := self._roles.get(name)) is not None:
                bind_role(rights.own, role, path)
        rights.teams = tuple(sorted(TEAM_PREFIX + team for team in held.teams))
        rights.bans = held.bans or rights.bans
        self._arrange(rights)
        return rights

    def list_bound(self, subject: str) -> Iterator[tuple[str, str]]:
        """Yield each (permission, place) that is bound to ``subject``, a team."""
        for place, roles in list(self._shared.get(subject, {}).items()):
            for role in roles:
                for permission in role.permissions:
                    yield permission, place

    def list_roles_with(self, permission: str) -> list[str]:
        """Return names of the roles that hold ``permission``, in order."""
        either = (permission, ALL_PERMISSIONS)
        roles = list(self._roles.values())
        return sorted(one.name for one in roles if not one.permissions.isdisjoint(either))

    # --- who is in memory -----------------------------------------------------------------

    def keep(self, principal: str) -> bool:
        """Keep ``principal`` in memory until :meth:`release`; False if they are not there."""
        rights = self._rights.get(principal)
        if rights is None:
            return not is_member(principal)
        if not rights.keepers:
            del self._idle[principal]
        rights.keepers += 1
        return True

    def release(self, principal: str) -> None:
        """End one :meth:`keep` or :meth:`insert`; who was the last to be kept may go first."""
        rights = self._rights.get(principal)
        if rights is None:  # a server
            return
        rights.keepers -= 1
        if not rights.keepers:
            self._idle[principal] = None
            self._make_room()

    def begin_reading(self, what: str) -> object:
        """Return a mark of what is read from now on; it counts while :meth:`is_unchanged` says so.

        ``what`` is a principal, a subject whose bindings are shared, or :func:`role_mark`.
        """
        return self._marks.setdefault(what, object())

    def is_unchanged(self, what: str, mark: object) -> bool:
        """Tell whether what was read under ``mark`` still counts."""
        return self._marks.get(what) is mark

    def end_reading(self, what: str, mark: object) -> None:
        """Take back a mark, whether it was used or not."""
        if self._marks.get(what) is mark:
            del self._marks[what]

    def insert(self, principal: str, mark: object, held: Held) -> bool:
        """Take what ``principal`` holds into memory and keep it; False if it has changed since.

        Args:
            principal: Who is not in memory.
            mark: What :meth:`begin_reading` gave before the rows were read.
            held: Those rows.
        """
        if self._marks.get(principal) is not mark:
            return False
        del self._marks[principal]
        self._expect(held)
        rights = self.make_rights(principal, held)
        rights.keepers = 1
        self._rights[principal] = rights
        self._rows += rights.rows
        return True

    def drop(self, principal: str) -> None:
        """Forget what somebody holds who is not kept; their next call reads it anew."""
        del self._idle[principal]
        self._rows -= self._rights.pop(principal).rows

    # --- changing -------------------------------------------------------------------------

    def define(self, role: str, permissions: Iterable[str]) -> None:
        """Make ``role`` known, or change what it holds for everybody who has it."""
        self._change(role_mark(role))
        known = self._roles.get(role)
        if known is None:
            self._roles[role] = Role(role, frozenset(permissions))
        else:
            known.permissions = frozenset(permissions)

    def forget(self, role: str) -> None:
        """Make a role unknown; where it is bound still, it holds nothing from now on."""
        self._change(role_mark(role))
        if (known := self._roles.pop(role, None)) is not None:
            known.permissions = frozenset()

    def bind(self, subject: str, role: str, path: str) -> None:
        """Bind a role that is known."""
        self._change(subject)
        if is_shared(subject):
            bind_role(self._shared.setdefault(subject, {}), self._roles[role], path)
        elif (rights := self._rights.get(subject)) is not None:
            self._rows -= rights.rows
            bind_role(rights.own, self._roles[role], path)
            self._arranged(rights)

    def unbind(self, subject: str, role: str, path: str) -> None:
        """Take a binding away."""
        self._change(subject)
        if is_shared(subject):
            unbind_role(self._shared.get(subject, {}), role, path)
        elif (rights := self._rights.get(subject)) is not None:
            self._rows -= rights.rows
            unbind_role(rights.own, role, path)
            self._arranged(rights)

    def join(self, team: str, member_id: str) -> None:
        """Give a member what is bound to ``team`` (``team:<slug>``)."""
        self._change(member_id)
        self._shared.setdefault(team, {})
        if (rights := self._rights.get(member_id)) is not None:
            self._rows -= rights.rows
            rights.teams = tuple(sorted({*rights.teams, team}))
            self._arranged(rights)

    def leave(self, team: str, member_id: str) -> None:
        """Take from a member what is bound to ``team``."""
        self._change(member_id)
        if (rights := self._rights.get(member_id)) is not None:
            self._rows -= rights.rows
            rights.teams = tuple(one for one in rights.teams if one != team)
            self._arranged(rights)

    def disband(self, team: str, member_ids: Iterable[str]) -> None:
        """Forget a team with all that is bound to it; ``member_ids`` are its members."""
        self._change(team)
        for member_id in member_ids:
            self.leave(team, member_id)
        self._shared.pop(team, None)

    def ban(self, member_id: str, path: str, until_ms: int | None) -> None:
        """Deny all to a member at ``path`` and below, until then or for good."""
        self._change(member_id)
        if (rights := self._rights.get(member_id)) is not None:
            self._rows -= rights.rows
            rights.bans = {**rights.bans, path: until_ms}
            self._rows += rights.rows
            self._make_room()

    def lift(self, member_id: str, path: str) -> None:
        """End a ban."""
        self._change(member_id)
        if (rights := self._rights.get(member_id)) is not None:
            self._rows -= rights.rows
            rights.bans = {at: until for at, until in rights.bans.items() if at != path}
            self._rows += rights.rows

    # --- learning what was changed elsewhere ----------------------------------------------

    def replace(self, principal: str, held: Held) -> None:
        """Let a member who is in memory hold what the rows tell, and nothing else, in one step."""
        self._change(principal)
        self._expect(held)
        rights, fresh = self._rights[principal], self.make_rights(principal, held)
        self._rows -= rights.rows
        rights.own, rights.teams, rights.bans = fresh.own, fresh.teams, fresh.bans
        rights.places = fresh.places
        self._rows += rights.rows
        self._make_room()

    def replace_bound(self, subject: str, bound: Iterable[tuple[str, str]]) -> None:
        """Let exactly these roles and paths be bound to a team or to everyone."""
        self._change(subject)
        fresh: Places = {}
        for name, path in bound:
            # A role of a room that is not served any more waits in its rows for the room.
            if (role := self._roles.get(name)) is not None:
                bind_role(fresh, role, path)
        places = self._shared.setdefault(subject, {})
        places.update(fresh)
        for path in [path for path in places if path not in fresh]:
            del places[path]
        if not places and subject.startswith(TEAM_PREFIX) and not self.list_members_of(subject):
            del self._shared[subject]

    def forget_reading(self, principal: str | None = None) -> None:
        """Let rows count no more that are being read of somebody new, or of all of them."""
        for each in [principal] if principal is not None else list(self._marks):
            if is_member(each) and each not in self._rights:
                self._marks.pop(each, None)

    def list_remembered(self) -> list[str]:
        """Return the members who are in memory."""
        return [principal for principal in self._rights if is_member(principal)]

    def is_kept(self, principal: str) -> bool:
        """Tell whether somebody keeps in memory what ``principal`` holds."""
        return principal in self._rights and principal not in self._idle

    def list_members_of(self, team: str) -> list[str]:
        """Return the members in memory who belong to ``team`` (``team:<slug>``)."""
        return [who for who, rights in self._rights.items() if team in rights.teams]

    def list_holders(self, role: str) -> list[str]:
        """Return members in memory, teams and everyone, to whom ``role`` is bound somewhere."""

        def is_bound(places: Places) -> bool:
            return any(one.name == role for roles in places.values() for one in roles)

        shared = [subject for subject, places in self._shared.items() if is_bound(places)]
        return [who for who in self.list_remembered() if is_bound(self._rights[who].own)] + shared

    def list_held_at(self, path: str) -> list[str]:
        """Return who in memory has a binding or a ban at ``path`` or below it; teams too."""

        def reaches(places: Iterable[str]) -> bool:
            return any(covers(path, place) for place in places)

        shared = [subject for subject, places in self._shared.items() if reaches(places)]
        return [
            who
            for who in self.list_remembered()
            if reaches(self._rights[who].own) or reaches(self._rights[who].bans)
        ] + shared

    # --- inside ---------------------------------------------------------------------------

    def _make_room(self) -> None:
        """Drop whoever is not kept until the rest is within its bound."""
        while self._rows > self._rows_max and self._idle:
            self.drop(next(iter(self._idle)))

    def _change(self, what: str) -> None:
        """Begin a change; rows that are being read of it count no more."""
        self.version += 1
        self._marks.pop(what, None)

    def _expect(self, held: Held) -> None:
        """Make the places of teams, in which is found what is bound to them later."""
        for team in held.teams:
            self._shared.setdefault(TEAM_PREFIX + team, {})

    def _arranged(self, rights: Rights) -> None:
        """Say anew where a check looks, and count the rows again."""
        self._arrange(rights)
        self._rows += rights.rows
        self._make_room()

    def _arrange(self, rights: Rights) -> None:
        """Say where a check looks: own places, the teams', everyone's."""
        own = ((rights.principal, rights.own),) if rights.own else ()
        teams = tuple((team, self._shared.get(team, {})) for team in rights.teams)
        common = self._common if is_member(rights.principal) else ()
        rights.places = own + teams + common if own or teams else common


def is_member(principal: str) -> bool:
    """Tell whether a principal is a member: no room, team or server, not everyone or nobody."""
    return principal not in {"", EVERYONE} and ":" not in principal


def role_mark(role: str) -> str:
    """Return under what a role is read; no principal has a mark of this form."""
    return f"role: {role}"


def is_shared(subject: str) -> bool:
    """Tell whether what is bound to ``subject`` acts for several principals."""
    return subject in {EVERYONE, SERVERS} or subject.startswith(TEAM_PREFIX)
