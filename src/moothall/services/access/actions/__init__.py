"""Public verbs of the access room; what others call stands here."""

from moothall.services.access.actions.bindings import (
    GrantRole,
    RevokeRole,
    grant_role,
    revoke_role,
)
from moothall.services.access.actions.claim import digest_secret

__all__ = ["GrantRole", "RevokeRole", "digest_secret", "grant_role", "revoke_role"]
