"""The index of bindings, filled from name plates and rows. It is the Authority."""

from collections.abc import Sequence

from moothall.action import EVERYONE, ROOM_PREFIX, Resources
from moothall.core.errors import OverloadedError
from moothall.core.paths import ROOT
from moothall.ports.database import Database, Transaction
from moothall.services.access.model import AccessSettings, Held
from moothall.services.access.rules.granting import merge_roles
from moothall.services.access.rules.index import BindingIndex
from moothall.services.access.rules.rights import Rights
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
                if self.insert(principal, mark, held):
                    return
            finally:
                self.end_reading(principal, mark)
        raise OverloadedError("what you hold changes too fast to be read", retry_after_ms=1_000)

    async def rights_of(self, tx: Transaction, principal: str) -> Rights:
        """Return what anybody holds, from memory or else as ``tx`` sees it."""
        found = self.find_rights(principal)
        # Not remembered: a write sees what its neighbours in the batch wrote and may still lose.
        return found or self.make_rights(principal, await find_held(tx, principal))

    async def list_rights(
        self, tx: Transaction, member_ids: Sequence[str]
    ) -> list[tuple[str, Rights]]:
        """Return the same of several members, in their order, by one read."""
        found = {member_id: self.find_rights(member_id) for member_id in member_ids}
        missing = [member_id for member_id, rights in found.items() if rights is None]
        held = await list_held(tx, missing)
        return [
            (member_id, found[member_id] or self.make_rights(member_id, held[member_id]))
            for member_id in member_ids
        ]
