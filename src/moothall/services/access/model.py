"""Roles and bindings."""

from moothall.action import Result

ALL_PERMISSIONS = "*"
"""Stands in a role for every permission there is and will be."""

ADMINISTRATOR = "administrator"


class RoleView(Result):
    """A role: a named set of permissions."""

    name: str
    permissions: tuple[str, ...]
    summary: str
    is_built_in: bool


class Binding(Result):
    """A role bound to a subject at a resource; it covers what lies below."""

    subject: str
    """A member's id, or ``everyone``."""
    role: str
    at: str
    granted_by: str
    granted_at_ms: int
