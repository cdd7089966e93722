"""Who may do what, where: roles, bindings, the first administrator, the audit trail."""

from moothall.action import Role, Service
from moothall.services.access.model import AccessSettings, AuditSettings

SERVICE = Service(
    depends_on=("identity",),
    needs=("members:read",),
    settings={"access": AccessSettings, "audit": AuditSettings},
    member_permissions=("permissions:check_own",),
    roles=(
        Role("administrator", ("*",), "Everything, at the resource where it is bound."),
        Role(
            "role_manager",
            ("roles:grant", "roles:list", "roles:define", "permissions:check"),
            "Grants and revokes what it holds itself.",
        ),
        Role(
            "team_manager",
            ("teams:manage", "teams:list"),
            "Makes teams, and adds members where it holds what the team holds.",
        ),
        Role(
            "warden",
            ("members:ban", "permissions:check"),
            "Bans those who hold no more than it does.",
        ),
        Role("auditor", ("audit:read", "audit:verify"), "Reads and verifies the audit trail."),
    ),
)
