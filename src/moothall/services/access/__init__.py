"""Who may do what, where: roles, bindings, the first administrator, the audit trail."""

from moothall.action import Role, Service

SERVICE = Service(
    depends_on=("identity",),
    needs=("members:read",),
    member_permissions=("permissions:check_own",),
    roles=(
        Role("administrator", ("*",), "Everything, at the resource where it is bound."),
        Role(
            "role_manager",
            ("roles:grant", "roles:list", "roles:define", "permissions:check"),
            "Grants and revokes what it holds itself.",
        ),
    ),
)
