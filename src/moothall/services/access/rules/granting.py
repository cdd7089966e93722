"""Decisions about what may be handed out: roles, places in teams, bans."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from moothall.core.errors import InvalidArgumentError
from moothall.core.names import near_matches
from moothall.services.access.errors import BanExceedsOwnError, GrantExceedsOwnError
from moothall.services.access.model import ALL_PERMISSIONS

FindBan = Callable[[str], str | None]
"""Tells where the one who grants is banned at a path or below it."""


def check_grantable(
    may: Callable[[str, str], bool], find_ban: FindBan, permissions: Iterable[str], at: str
) -> None:
    """Refuse to hand out, or take away, what the one who does it does not hold there.

    A ban below ``at`` counts: what is bound at ``org`` would reach ``org/1`` too, where the
    one who is banned holds nothing.

    Raises:
        GrantExceedsOwnError: With the first permission that is missing, or the ban's path.
    """
    wanted = sorted(permissions)
    for permission in wanted:
        if not may(permission, at):
            raise GrantExceedsOwnError(
                f"you do not hold {permission} there yourself", permission=permission, path=at
            )
    if wanted and (banned_at := find_ban(at)) is not None:
        raise GrantExceedsOwnError(
            f"you are banned at {banned_at}, which this would reach",
            permission=wanted[0],
            path=banned_at,
        )


def check_all_grantable(
    may: Callable[[str, str], bool], find_ban: FindBan, held: Iterable[tuple[str, str]]
) -> None:
    """Refuse to put somebody into a team, or out of it, that holds more than one holds there.

    Args:
        may: What the one who does it may.
        find_ban: Where they are banned.
        held: Each (permission, path) that is bound to the team.

    Raises:
        GrantExceedsOwnError: With the first permission that is missing.
    """
    by_path: dict[str, set[str]] = {}
    for permission, path in held:
        by_path.setdefault(path, set()).add(permission)
    for path in sorted(by_path):
        check_grantable(may, find_ban, by_path[path], path)


def check_bannable(may: Callable[[str, str], bool], held: Iterable[tuple[str, str]]) -> None:
    """Refuse to ban, or to lift a ban of, somebody who holds more than one does.

    Args:
        may: What the one who bans may.
        held: Each (permission, path) that acts for the other where the ban would.

    Raises:
        BanExceedsOwnError: With the first permission that is missing.
    """
    for permission, path in sorted(set(held)):
        if not may(permission, path):
            raise BanExceedsOwnError(
                f"they hold {permission} there, and you do not", permission=permission, path=path
            )


def check_permission(permission: str, known: frozenset[str], field: str, remedy: str) -> None:
    """Refuse a permission that no action demands; a misspelt one would mean nothing.

    Raises:
        InvalidArgumentError: Names near matches, or else the ``remedy``.
    """
    if permission not in known and permission != ALL_PERMISSIONS:
        near = near_matches(permission, known)
        remedy = f"did you mean {', '.join(near)}?" if near else remedy
        raise InvalidArgumentError(field, f"no action demands {permission!r}", remedy)


def check_permissions(wanted: Sequence[str], known: frozenset[str]) -> None:
    """Refuse permissions that no action demands, and one that stands there twice.

    Raises:
        InvalidArgumentError: Names the first strange one and near matches, or the first
            that stands there twice.
    """
    for number, permission in enumerate(wanted):
        if permission in wanted[:number]:
            raise InvalidArgumentError(
                f"permissions[{number}]", f"{permission} stands there twice", "leave one out"
            )
        check_permission(permission, known, f"permissions[{number}]", "see list_roles")


def merge_roles(
    built_in: Mapping[str, tuple[str, ...]], defined: Iterable[tuple[str, tuple[str, ...]]]
) -> dict[str, tuple[str, ...]]:
    """Return all roles; a built-in one cannot be overridden by a row."""
    return {**dict(defined), **built_in}
