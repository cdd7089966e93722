"""Who people are: accounts, passwords, sessions, and the keys that sign tokens."""

from moothall.action import Follower, Role, Service
from moothall.services.identity.model import (
    SERVER_ROLE,
    KeySettings,
    LockoutSettings,
    PasswordSettings,
    RecoverySettings,
    RegistrationSettings,
    SessionSettings,
    TokenSettings,
)

SERVICE = Service(
    # A ban from the whole hall leaves the first: whoever is banned may still leave.
    member_permissions=("sessions:own", "account:use", "members:read"),
    roles=(
        Role(
            "member_manager",
            ("members:add", "members:invite", "members:read", "members:rename"),
            "Adds, invites and renames members.",
        ),
        Role(
            "credentials_manager",
            ("credentials:import", "members:read", "members:recover", "members:unlock"),
            "Imports accounts, unlocks them, and hands over codes for forgotten passwords.",
        ),
        Role(
            "data_officer",
            ("members:export", "members:read", "members:remove"),
            "Exports what the hall holds of a member, and removes members.",
        ),
        Role(
            "session_manager",
            ("sessions:read", "sessions:revoke", "members:read"),
            "Sees where members are signed in, and signs them out.",
        ),
        Role(
            "key_manager",
            ("keys:rotate", "audiences:manage"),
            "Rotates signing keys, and says for which servers tokens are made.",
        ),
        Role(
            SERVER_ROLE,
            ("feeds:own", "members:read", "revocations:read"),
            "What a resource server with a registered key may: learn who signed out or went.",
        ),
    ),
    settings={
        "registration": RegistrationSettings,
        "sessions": SessionSettings,
        "keys": KeySettings,
        "tokens": TokenSettings,
        "lockout": LockoutSettings,
        "passwords": PasswordSettings,
        "recovery": RecoverySettings,
    },
    follower=Follower(
        actions=(
            "authenticate",
            "get_self",
            "find_member",
            "list_members",
            "name_members",
            "add_members",
            "export_self",
            "export_member",
        ),
        jobs=(
            "finish_removals",
            "fetch_issuer_keys",
            "follow_issuer",
            "sweep_ended_sessions",
        ),
        jobs_of_its_own=("fetch_issuer_keys", "follow_issuer", "sweep_ended_sessions"),
        member_permissions=("sessions:own", "members:read"),
        roles=(
            Role("member_manager", ("members:add", "members:read"), "Adds members."),
            Role(
                "data_officer",
                ("members:export", "members:read"),
                "Exports what this server holds of a member.",
            ),
        ),
    ),
)
