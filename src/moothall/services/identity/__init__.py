"""Who people are: accounts, passwords, sessions, and the keys that sign tokens."""

from moothall.action import Role, Service

SERVICE = Service(
    member_permissions=("sessions:own", "members:read"),
    roles=(Role("member_manager", ("members:add", "members:read"), "Adds members for others."),),
)
