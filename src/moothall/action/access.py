"""Who may call an action: anybody, or a member with a permission at a resource.

There is no third way, and no default: an action that names neither does not start.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING, Any, TypeAlias

from moothall.core.errors import DeclarationError
from moothall.core.paths import ROOT, is_segment

if TYPE_CHECKING:
    from moothall.action.context import Context

_PERMISSION = re.compile(r"[a-z][a-z0-9_]*:[a-z][a-z0-9_]*\Z")

FindPath: TypeAlias = "Callable[[Context, Any], Awaitable[str | None]]"
"""A store function that finds the path of a resource, run in the call's transaction.

It returns None where the resource does not exist; only who holds the permission for
the whole hall learns that, everybody else is refused as for a hidden one.
"""


@dataclass(frozen=True, slots=True)
class Public:
    """Anybody may call, without a token."""


PUBLIC = Public()


@dataclass(frozen=True, slots=True)
class Signed:
    """A member may call who holds ``permission`` at the resource ``at``.

    Attributes:
        permission: ``noun:verb``.
        at: A path, a template over the request's fields (``board/{board_id}``), or a
            store function.
    """

    permission: str
    at: "str | FindPath" = ROOT

    def __post_init__(self) -> None:
        """Refuse a permission that is not spelled ``noun:verb``."""
        if not _PERMISSION.match(self.permission):
            msg = f"permission {self.permission!r} must be spelled noun:verb"
            raise DeclarationError(msg)


def compile_path(template: str, fields: frozenset[str]) -> Callable[[Any], str | None]:
    """Return a function from a request to its resource path.

    A field that cannot be a path segment (it holds ``/``, or is empty) gives None:
    there is no such resource, and nobody escapes upwards.

    Raises:
        DeclarationError: The template names a field that the request lacks.
    """
    pieces = list(Formatter().parse(template))
    names = [name for _, name, _, _ in pieces if name is not None]
    if strange := [name for name in names if name not in fields]:
        msg = f"path template {template!r} names {strange[0]!r}, which the request lacks"
        raise DeclarationError(msg)
    if not names:
        return lambda _request: template
    if len(names) == 1 and pieces[-1][1] is not None:
        prefix, name = pieces[-1][0], names[0]

        def one_field(request: object) -> str | None:
            value = getattr(request, name)
            return prefix + value if isinstance(value, str) and is_segment(value) else None

        return one_field

    def many_fields(request: object) -> str | None:
        values = {name: getattr(request, name) for name in names}
        if all(isinstance(value, str) and is_segment(value) for value in values.values()):
            return template.format_map(values)
        return None

    return many_fields
