"""A room for tests of several nodes: whoever sends a word along wires is told of it there."""

from moothall.action import Service

SERVICE = Service(member_permissions=("wires:use",))
