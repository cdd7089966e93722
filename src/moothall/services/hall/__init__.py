"""The house itself: whether it is there, who is connected, and stopping it."""

from moothall.action import Role, Service

SERVICE = Service(
    roles=(
        Role(
            "operator",
            ("connections:read", "connections:close", "hall:shutdown"),
            "Sees and closes connections, and stops the hall.",
        ),
    )
)
