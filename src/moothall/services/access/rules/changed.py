"""What a change of roles, bindings, teams and bans touches, as other nodes are told."""

from enum import StrEnum

TOPIC = "access.binding"


class Changed(StrEnum):
    """What kind of thing a notice names."""

    SUBJECT = "subject"
    """What is bound to a member, a team or everyone; of a member also teams and bans."""
    ROLE = "role"
    """What a role holds."""
    ROLE_GONE = "role_gone"
    """A role, and all to whom it was bound."""
    TEAM_GONE = "team_gone"
    """A team (``team:<slug>``), and all who belonged to it."""
    BELOW = "below"
    """All bindings and bans at a resource and below it."""

    def key(self, name: str) -> str:
        """Return the key of a notice."""
        return f"{self} {name}"
