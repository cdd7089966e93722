"""The index of bindings that answers every check, and the decisions about granting."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from moothall.action import EVERYONE
from moothall.core.errors import InvalidArgumentError
from moothall.core.names import near_matches
from moothall.core.paths import enclosing
from moothall.services.access.errors import GrantExceedsOwnError
from moothall.services.access.model import ALL_PERMISSIONS


class BindingIndex:
    """Bindings in memory, by subject and path. Implements the Authority port.

    It is changed when the transaction that changed the rows has committed, so it never
    knows more than the disk does.
    """

    def __init__(self) -> None:
        """Begin with nothing granted to anybody."""
        self._roles: dict[str, frozenset[str]] = {}
        self._bound: dict[str, dict[str, dict[str, frozenset[str]]]] = {}

    def allows(self, principal: str, permission: str, path: str) -> bool:
        """Tell whether ``principal``, or everyone, holds ``permission`` at or above ``path``."""
        own = self._bound.get(principal)
        common = None if principal.startswith("room:") else self._bound.get(EVERYONE)
        if not own and not common:
            return False
        for place in enclosing(path):
            for held in (own, common):
                if held and (roles := held.get(place)):
                    for permissions in roles.values():
                        if permission in permissions or ALL_PERMISSIONS in permissions:
                            return True
        return False

    def define(self, role: str, permissions: Iterable[str]) -> None:
        """Make ``role`` known."""
        self._roles[role] = frozenset(permissions)

    def permissions_of(self, role: str) -> frozenset[str] | None:
        """Return what ``role`` holds, or None if there is no such role."""
        return self._roles.get(role)

    def bind(self, subject: str, role: str, path: str) -> None:
        """Bind a role that is known."""
        places = self._bound.setdefault(subject, {})
        places.setdefault(path, {})[role] = self._roles[role]

    def unbind(self, subject: str, role: str, path: str) -> None:
        """Take a binding away."""
        places = self._bound.get(subject, {})
        roles = places.get(path, {})
        roles.pop(role, None)
        if not roles:
            places.pop(path, None)
        if not places:
            self._bound.pop(subject, None)


def check_grantable(may: Callable[[str, str], bool], permissions: Iterable[str], at: str) -> None:
    """Refuse to hand out what the one who grants does not hold there.

    Raises:
        GrantExceedsOwnError: With the first permission that is missing.
    """
    for permission in sorted(permissions):
        if not may(permission, at):
            raise GrantExceedsOwnError(
                f"you do not hold {permission} there yourself", permission=permission, path=at
            )


def check_permissions(wanted: Sequence[str], known: frozenset[str]) -> None:
    """Refuse permissions that no action demands; a misspelt one would grant nothing.

    Raises:
        InvalidArgumentError: Names the first strange one and near matches, or the first
            that stands there twice.
    """
    for number, permission in enumerate(wanted):
        if permission in wanted[:number]:
            raise InvalidArgumentError(
                f"permissions[{number}]", f"{permission} stands there twice", "leave one out"
            )
        if permission not in known and permission != ALL_PERMISSIONS:
            near = near_matches(permission, known)
            remedy = f"did you mean {', '.join(near)}?" if near else "see list_roles"
            raise InvalidArgumentError(
                f"permissions[{number}]", f"no action demands {permission!r}", remedy
            )


def merge_roles(
    built_in: Mapping[str, tuple[str, ...]], defined: Iterable[tuple[str, tuple[str, ...]]]
) -> dict[str, tuple[str, ...]]:
    """Return all roles; a built-in one cannot be overridden by a row."""
    return {**dict(defined), **built_in}
