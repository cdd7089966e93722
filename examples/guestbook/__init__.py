"""A room of one's own: a guest book that every member may sign."""

from moothall.action import Service

SERVICE = Service(member_permissions=("guestbook:sign",))
