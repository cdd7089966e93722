"""Who people are: accounts, passwords, sessions, and the keys that sign tokens."""

from moothall.action import Role, Service
from moothall.services.identity.model import (
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
)
