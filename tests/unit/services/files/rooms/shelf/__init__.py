"""A room that holds files, as any room may."""

from moothall.action import Service

SERVICE = Service(depends_on=("files",), needs=("files:hold",), member_permissions=("shelf:use",))
