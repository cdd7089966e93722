"""The index of bindings, filled from name plates and rows. It is the Authority."""

from collections.abc import Callable, Iterator, Sequence

from moothall.action import EVERYONE, ROOM_PREFIX, Resources
from moothall.core.errors import OverloadedError
from moothall.core.paths import ROOT
from moothall.ports.database import Database, Transaction
from moothall.services.access.model import TEAM_PREFIX, AccessSettings, Held
from moothall.services.access.rules.changed import TOPIC, Changed
from moothall.services.access.rules.granting import merge_roles
from moothall.services.access.rules.index import BindingIndex, is_member
from moothall.services.access.rules.rights import Places, Rights, Role, bind_role
from moothall.services.access.store import bindings, roles
from moothall.services.access.store.held import find_held, list_held
from moothall.services.identity.model import SERVER_ROLE, SERVERS

MEMBER_ROLE = "member"
"""What every signed-in member holds in the whole hall; rooms add to it by their name plates."""


READS_MAX = 20
"""How often what a member holds is read again because it changed meanwhile."""


class StoredBindings(BindingIndex):
    """The index, filled from the name plates and the rows. Implements the Authority port."""

    def __init__(self, resources: Resources) -> None:
        """Take built-in roles and what rooms need from the name plates."""
        settings = resources.use(AccessSettings)
        super().__init__(resources.clock.now_ms, settings.remembered_rows_max)
        self._is_shared = resources.is_shared
        self.reads = 0
        """How often rows were read for this index."""
        self.doubtful: set[str] = set()
        """What was changed by hooks that ran too late to be sure of it; to be read again."""
        services = resources.services
        member = [p for service in services.values() for p in service.member_permissions]
        self.built_in = {MEMBER_ROLE: tuple(sorted(set(member)))}
        self.summaries = {MEMBER_ROLE: "What every signed-in member may do."}
        for service in services.values():
            for role in service.roles:
                self.built_in[role.name] = role.permissions
                self.summaries[role.name] = role.summary
        for name, service in services.items():
            # What a room needs it holds by a role that is called as its principal is.
            self.define(f"{ROOM_PREFIX}{name}", service.needs)

    def knows_role(self, role: str) -> bool:
        """Tell whether a role is known here; another node may just have made it."""
        return role in self._roles

    def list_defined(self) -> list[str]:
        """Return names of the known roles that administrators made."""
        return [
            name
            for name in self._roles
            if name not in self.built_in and not name.startswith(ROOM_PREFIX)
        ]

    def list_shared(self) -> list[str]:
        """Return everyone, and the known teams to which something may be bound."""
        return [name for name in self._shared if name != SERVERS]

    def list_grantable(self, permission: str) -> tuple[str, ...]:
        """Return names of the roles that hold ``permission`` and that people can be given."""
        found = self.list_roles_with(permission)
        return tuple(name for name in found if not name.startswith(ROOM_PREFIX))

    @staticmethod
    def is_built_in(subject: str, role: str, path: str) -> bool:
        """Tell whether the name plates make this binding, which nobody can change."""
        return (subject, role, path) == (EVERYONE, MEMBER_ROLE, ROOT)

    async def load(self, tx: Transaction) -> None:
        """Read roles, and what is bound to teams and to everyone."""
        defined = [(name, permissions) for name, permissions, _ in await roles.list_roles(tx)]
        known = merge_roles(self.built_in, defined)
        for role, permissions in known.items():
            self.define(role, permissions)
        self.bind(EVERYONE, MEMBER_ROLE, ROOT)
        if SERVER_ROLE in self.built_in:  # where another hall is the issuer, no server signs in
            self.bind(SERVERS, SERVER_ROLE, ROOT)
        for room in [name for name in self._roles if name.startswith(ROOM_PREFIX)]:
            # A room is kept for good.
            self.insert(room, self.begin_reading(room), Held(bindings=((room, ROOT),)))
        for subject, role, path in await bindings.list_shared_bindings(tx):
            # A role of a room that is not served any more waits in its rows for the room.
            if role in known:
                self.bind(subject, role, path)

    async def change(self, tx: Transaction, hook: Callable[[], None], *keys: str) -> None:
        """Change memory with the commit: here by ``hook``, at the other nodes by the keys.

        Every change of the room goes this way, so that no node is forgotten.

        Args:
            tx: The transaction that changes the rows.
            hook: Changes the index; it must bear repeating.
            keys: All that it touches, each by ``Changed``.
        """
        reads = self.reads

        def change() -> None:
            hook()
            if self._is_shared and self.reads != reads:
                # The commit may have been read already, with what another node did after it.
                self.doubtful.update(keys)

        tx.on_commit(change)
        for key in keys:
            await tx.tell_nodes(TOPIC, key)

    async def admit(self, database: Database, principal: str) -> None:
        """Read what ``principal`` holds, and keep it in memory.

        Raises:
            StorageUnavailableError: The disk cannot be read.
            OverloadedError: It changes faster than it can be read.
        """
        for _ in range(READS_MAX):
            if self.keep(principal):  # another call of theirs was quicker
                return
            mark = self.begin_reading(principal)
            try:
                held = await database.read(lambda tx: find_held(tx, principal))
                self.reads += 1
                if self.insert(principal, mark, held):
                    if self._is_shared and any(
                        role not in self._roles for role, _ in held.bindings
                    ):
                        # It may be new at another node, whose word is on its way.
                        self.doubtful.add(Changed.SUBJECT.key(principal))
                    return
            finally:
                self.end_reading(principal, mark)
        raise OverloadedError("what you hold changes too fast to be read", retry_after_ms=1_000)

    async def rights_of(self, tx: Transaction, principal: str) -> Rights:
        """Return what anybody holds: from memory, or else as ``tx`` sees it.

        On several nodes always by the rows: memory may be behind another node.
        """
        if self._is_shared:
            return await self.read_rights(tx, principal)
        found = self.find_rights(principal)
        # Not remembered: a write sees what its neighbours in the batch wrote and may still lose.
        return found or self.make_rights(principal, await find_held(tx, principal))

    async def read_rights(self, tx: Transaction, principal: str) -> Rights:
        """Return what anybody holds by the rows, for what a write decides.

        Memory may be half a second behind another node: who was just made an administrator
        there must not be banned here as if they were none. What is bound to everyone comes from
        memory, and so does all of a room.
        """
        if not is_member(principal):
            return self.rights_in_memory(principal)
        held = await find_held(tx, principal)
        teams = [TEAM_PREFIX + team for team in sorted(held.teams)]
        bound = [(principal, role, path) for role, path in held.bindings]
        bound += await bindings.list_bound(tx, teams)
        places = await self._places_of(tx, bound)
        rights = Rights(principal, self._now_ms)
        rights.own, rights.teams = places.get(principal, {}), tuple(teams)
        rights.bans = held.bans or rights.bans
        rights.places = (
            *((who, places.get(who, {})) for who in (principal, *teams)),
            *self._common,
        )
        return rights

    async def read_bound(self, tx: Transaction, subject: str) -> Iterator[tuple[str, str]]:
        """Return each (permission, place) that is bound to a team by the rows."""
        places = await self._places_of(tx, await bindings.list_bound(tx, [subject]))
        return (
            (permission, place)
            for place, bound in places.get(subject, {}).items()
            for role in bound
            for permission in role.permissions
        )

    async def _places_of(
        self, tx: Transaction, bound: Sequence[tuple[str, str, str]]
    ) -> dict[str, Places]:
        """Return where roles are bound, by subject; the roles hold what their rows say."""
        names = sorted({role for _, role, _ in bound} - self.built_in.keys())
        known = {name: self._roles[name] for name in self.built_in}
        for name, permissions in (await roles.list_permissions(tx, names)).items():
            known[name] = Role(name, frozenset(permissions))
        places: dict[str, Places] = {}
        for subject, name, path in bound:
            # A role of a room that is not served any more waits in its rows for the room.
            if name in known:
                bind_role(places.setdefault(subject, {}), known[name], path)
        return places

    async def list_rights(
        self, tx: Transaction, member_ids: Sequence[str]
    ) -> list[tuple[str, Rights]]:
        """Return the same of several members, in their order, by one read."""
        found = {
            member_id: None if self._is_shared else self.find_rights(member_id)
            for member_id in member_ids
        }
        missing = [member_id for member_id, rights in found.items() if rights is None]
        held = await list_held(tx, missing)
        return [
            (member_id, found[member_id] or self.make_rights(member_id, held[member_id]))
            for member_id in member_ids
        ]
