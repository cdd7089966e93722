"""Facts of the access room."""

from moothall.action import Event


class RoleGranted(Event):
    """A role was bound."""

    subject: str
    role: str
    at: str


class RoleRevoked(Event):
    """A binding was taken away."""

    subject: str
    role: str
    at: str


class RoleDefined(Event):
    """A role was made."""

    name: str
    permissions: tuple[str, ...]
