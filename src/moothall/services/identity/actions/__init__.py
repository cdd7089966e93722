"""Public verbs of the identity room; what other rooms call stands here."""

from moothall.services.identity.actions.members import (
    AddMembers,
    FindMember,
    NameMembers,
    NameOrId,
    RefusedName,
    add_members,
    find_member,
    name_members,
)

__all__ = [
    "AddMembers",
    "FindMember",
    "NameMembers",
    "NameOrId",
    "RefusedName",
    "add_members",
    "find_member",
    "name_members",
]
