"""What names look like, for accounts that are older than the check for it."""

from moothall.ports.database import Transaction
from moothall.services.identity.rules.names import skeleton_of
from moothall.services.identity.store import members


class NameSkeletons:
    """Fills in the skeletons that a migration, being SQL, cannot make."""

    async def load(self, tx: Transaction) -> None:
        """Give each account its skeleton, the oldest first.

        Of two accounts that look alike already, the younger has none: it keeps its name, and
        nobody else can take a third of the kind.
        """
        for member_id, name in await members.list_without_skeleton(tx):
            await members.update_skeleton(tx, member_id, skeleton_of(name))
