"""The name plate of a room: what it needs from others and what it brings along."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from moothall.ports.clock import Clock
from moothall.ports.entropy import Entropy

EVERYONE = "everyone"
"""The subject of a binding that holds for every signed-in member."""


@dataclass(frozen=True, slots=True)
class Role:
    """A named set of permissions that a room brings along."""

    name: str
    permissions: tuple[str, ...]
    summary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """``SERVICE`` in a room's ``__init__``; a room that needs nothing may leave it out.

    Attributes:
        depends_on: Rooms whose actions this one calls.
        needs: Permissions that it holds, in the whole hall, when it calls them.
        member_permissions: What every signed-in member may do without being granted it.
        roles: Roles that administrators can bind.
    """

    depends_on: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    member_permissions: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a room's ``adapters.provide`` may build its adapters from.

    ``sealing_key`` is 32 secret bytes that rest outside the database; derive a key per
    purpose from it and never use it itself.
    """

    clock: Clock
    entropy: Entropy
    sealing_key: bytes = field(repr=False)
    issuer: str
    audience: str
    services: Mapping[str, Service]
    settings: Mapping[str, Any] = field(default_factory=dict)


Provide = Callable[[Resources], Mapping[type, object]]
"""``provide`` of a room's ``adapters.py``: implementations by port."""
