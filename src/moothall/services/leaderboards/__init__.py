"""Boards of scores: submitted, verified, ranked, asked around."""

from moothall.action import Role, Service
from moothall.services.leaderboards.model import LEVEL_ROLES

SERVICE = Service(
    depends_on=("access", "identity"),
    needs=(
        "members:add",
        "members:read",
        "roles:grant",
        "scores:read",
        "scores:write",
        "scores:moderate",
    ),
    member_permissions=("boards:list",),
    roles=tuple(Role(role, held, summary) for role, held, summary in LEVEL_ROLES.values()),
)
