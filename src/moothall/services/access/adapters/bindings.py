"""The index of bindings, filled from name plates and rows. It is the Authority."""

from moothall.action import EVERYONE, Resources
from moothall.core.paths import ROOT
from moothall.ports.database import Transaction
from moothall.services.access.model import TEAM_PREFIX
from moothall.services.access.rules.granting import merge_roles
from moothall.services.access.rules.index import BindingIndex
from moothall.services.access.store import bans, bindings, roles, teams
from moothall.services.identity.model import SERVER_ROLE, SERVERS

_ROOM = "room:"
"""How the principals of rooms begin, and the roles that hold what each room needs."""

MEMBER_ROLE = "member"
"""What every signed-in member holds in the whole hall; rooms add to it by their name plates."""


class StoredBindings(BindingIndex):
    """The index, filled from the name plates and, at start, from the rows."""

    def __init__(self, resources: Resources) -> None:
        """Take built-in roles and what rooms need from the name plates."""
        super().__init__(resources.clock.now_ms)
        services = resources.services
        member = [p for service in services.values() for p in service.member_permissions]
        self.built_in = {MEMBER_ROLE: tuple(sorted(set(member)))}
        self.summaries = {MEMBER_ROLE: "What every signed-in member may do."}
        for service in services.values():
            for role in service.roles:
                self.built_in[role.name] = role.permissions
                self.summaries[role.name] = role.summary
        for name, service in services.items():
            self.define(f"{_ROOM}{name}", service.needs)

    def list_grantable(self, permission: str) -> tuple[str, ...]:
        """Return names of the roles that hold ``permission`` and that people can be given."""
        found = self.list_roles_with(permission)
        return tuple(name for name in found if not name.startswith(_ROOM))

    @staticmethod
    def is_built_in(subject: str, role: str, path: str) -> bool:
        """Tell whether the name plates make this binding, which nobody can change."""
        return (subject, role, path) == (EVERYONE, MEMBER_ROLE, ROOT)

    async def load(self, tx: Transaction) -> None:
        """Read roles, teams, bindings and bans."""
        defined = [(name, permissions) for name, permissions, _ in await roles.list_roles(tx)]
        known = merge_roles(self.built_in, defined)
        for role, permissions in known.items():
            self.define(role, permissions)
        self.bind(EVERYONE, MEMBER_ROLE, ROOT)
        if SERVER_ROLE in self.built_in:  # where another hall is the issuer, no server signs in
            self.bind(SERVERS, SERVER_ROLE, ROOT)
        for role in [name for name in self._roles if name.startswith(_ROOM)]:
            self.bind(role, role, ROOT)
        for team, member_id in await teams.list_all_members(tx):
            self.join(TEAM_PREFIX + team, member_id)
        for subject, role, path in await bindings.list_all_bindings(tx):
            # A role of a room that is not served any more waits in its rows for the room.
            if role in known:
                self.bind(subject, role, path)
        for member_id, path, until_ms in await bans.list_all_bans(tx):
            self.ban(member_id, path, until_ms)
