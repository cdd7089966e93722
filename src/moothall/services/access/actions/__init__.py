"""Public verbs of the access room; what others call stands here."""

from moothall.services.access.actions.bindings import (
    GrantRole,
    ListBindings,
    RevokeRole,
    grant_role,
    list_bindings,
    revoke_role,
)
from moothall.services.access.actions.checks import CheckMembers, check_members
from moothall.services.access.actions.claim import digest_secret
from moothall.services.access.actions.removal import RevokeAll, revoke_all

__all__ = [
    "CheckMembers",
    "GrantRole",
    "ListBindings",
    "RevokeAll",
    "RevokeRole",
    "check_members",
    "digest_secret",
    "grant_role",
    "list_bindings",
    "revoke_all",
    "revoke_role",
]
