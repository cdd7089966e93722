"""Boards of scores: submitted, verified, ranked, asked around."""

from moothall.action import Role, Service
from moothall.services.leaderboards.model import LEVEL_ROLES, BoardsSettings

SERVICE = Service(
    depends_on=("access", "files", "identity"),
    needs=(
        "files:hold",
        "members:add",
        "members:read",
        "roles:grant",
        "roles:revoke_all",
        "scores:read",
        "scores:write",
        "scores:moderate",
        "levels:set",
        "levels:list",
        "permissions:check",
        "permissions:check_own",
    ),
    settings={"boards": BoardsSettings},
    member_permissions=("boards:list",),
    roles=tuple(Role(role, held, summary) for role, held, summary in LEVEL_ROLES.values()),
)
