"""Who may call an action: anybody, or a member with a permission at a resource.

There is no third way, and no default: an action that names neither does not start.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING, Any, TypeAlias

from moothall.core.errors import DeclarationError
from moothall.core.names import near_matches
from moothall.core.paths import ROOT, is_path, is_segment

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
        permission: object = self.permission
        at: object = self.at
        if not isinstance(permission, str) or not _PERMISSION.match(permission):
            msg = f"permission {permission!r} must be spelled noun:verb, as in 'scores:write'"
            raise DeclarationError(msg)
        if not isinstance(at, str) and not callable(at):
            msg = f"at must be a path, a template or a store function, not {at!r}"
            raise DeclarationError(msg)


def compile_path(template: str, fields: frozenset[str]) -> Callable[[Any], str | None]:
    """Return a function from a request to its resource path.

    A field that cannot be a path segment (it holds ``/``, or is empty) gives None:
    there is no such resource, and nobody escapes upwards.

    Raises:
        DeclarationError: The template is no path, or names a field that the request lacks.
    """
    pieces = _parse(template)
    for _, name in pieces:
        if name is not None and name not in fields:
            near = near_matches(name, fields)
            remedy = f"; did you mean {near[0]!r}?" if near else ""
            msg = f"path template {template!r} names {name!r}, which the request lacks{remedy}"
            raise DeclarationError(msg)
    if all(name is None for _, name in pieces):
        return lambda _request: template

    def fill(request: object) -> str | None:
        path = ""
        for text, name in pieces:
            path += text
            if name is not None:
                value = getattr(request, name)
                if not (isinstance(value, str) and is_segment(value)):
                    return None
                path += value
        return path

    return fill


def _parse(template: str) -> list[tuple[str, str | None]]:
    """Return the pieces of a template, each a text and the name of the field after it.

    A segment holds one field at most: from two, ``1`` and ``23`` would lead where ``12``
    and ``3`` do.
    """
    try:
        found = list(Formatter().parse(template))
    except ValueError as error:
        msg = f"path template {template!r}: {error}"
        raise DeclarationError(msg) from None
    pieces = [(text, name) for text, name, _, _ in found]
    plain = "".join(text + ("" if name is None else "{" + name + "}") for text, name in pieces)
    sample = "".join(text + ("" if name is None else "x") for text, name in pieces)
    is_crowded = any(segment.count("{") > 1 for segment in plain.split("/"))
    if plain != template or is_crowded or not is_path(sample):
        msg = (
            f"path template {template!r} must be segments joined by '/', each of letters, "
            "digits, '_', '.', ':', '-' and at most one {field}, as in 'board/{board_id}'"
        )
        raise DeclarationError(msg)
    return pieces
