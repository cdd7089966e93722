"""A room for tests: notes on shelves, with a misdeed for every fault."""

from moothall.action import Role, Service

SERVICE = Service(
    member_permissions=("notes:keep",),
    roles=(Role("librarian", ("shelves:open", "notes:read"), "Opens shelves."),),
)
