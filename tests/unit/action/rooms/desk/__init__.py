"""A room for tests that calls another one."""

from moothall.action import Service

SERVICE = Service(depends_on=("notes",), needs=("notes:keep",), member_permissions=("desk:relay",))
