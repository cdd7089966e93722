"""The name plate of a room: what it needs from others and what it brings along."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from moothall.action.model import WireMeta
from moothall.core.errors import DeclarationError
from moothall.ports.clock import Clock
from moothall.ports.entropy import Entropy
from moothall.ports.heads import HeadLog
from moothall.ports.sender import Sender

if TYPE_CHECKING:
    from moothall.action.context import Context
    from moothall.action.personal import PersonalRow

S = TypeVar("S", bound="RoomSettings")

EVERYONE = "everyone"
"""The subject of a binding that holds for every signed-in member."""

ROOM_PREFIX = "room:"
"""How the principal of a room begins, as which it calls other rooms: ``room:<room>``."""


class RoomSettings(msgspec.Struct, metaclass=WireMeta, frozen=True, forbid_unknown_fields=True):
    """One table of settings of a room: fields with defaults, and units in their names."""


@dataclass(frozen=True, slots=True)
class Role:
    """A named set of permissions that a room brings along."""

    name: str
    permissions: tuple[str, ...]
    summary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """What a room serves on a resource server, where another hall is the issuer (decision 0010).

    A room without it is the same on both.

    Attributes:
        actions: Names of the functions that are served there, and no other.
        jobs: Names of the jobs that run there, and no other.
        jobs_of_its_own: Those of them that run nowhere else.
        feeds: Names of the feeds that can be followed there.
        member_permissions: What every signed-in member may do there.
        roles: Roles that administrators can bind there.
    """

    actions: tuple[str, ...]
    jobs: tuple[str, ...] = ()
    jobs_of_its_own: tuple[str, ...] = ()
    feeds: tuple[str, ...] = ()
    member_permissions: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """``SERVICE`` in a room's ``__init__``; a room that needs nothing may leave it out.

    Attributes:
        depends_on: Rooms whose actions this one calls.
        needs: Permissions that it holds, in the whole hall, when it calls them.
        permissions: Those that its code asks for by ``ctx.may`` or ``ctx.demand``, beside
            those that its actions and feeds demand.
        member_permissions: What every signed-in member may do without being granted it.
        roles: Roles that administrators can bind.
        settings: Tables of ``moothall.toml`` by name; an action reads one by
            ``ctx.use(TheType)``, an adapter by ``resources.use(TheType)``.
        follower: What is left of it on a resource server; None for all.
    """

    depends_on: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    member_permissions: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ()
    settings: Mapping[str, type[RoomSettings]] = field(default_factory=dict)
    follower: Follower | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a room's ``adapters.provide`` may build its adapters from.

    ``sealing_key`` is 32 secret bytes that rest outside the database; it is never used
    itself, see :meth:`derive_key`.
    """

    clock: Clock
    entropy: Entropy
    sealing_key: bytes = field(repr=False)
    issuer: str
    """Name under which this hall signs tokens; empty on a resource server."""
    audience: str
    is_follower: bool = False
    """Whether this is a resource server, which has its members from another hall."""
    is_shared: bool = False
    """Whether this process is one node of a hall that may have several."""
    services: Mapping[str, Service]
    settings: Mapping[type, RoomSettings] = field(default_factory=dict)
    senders: Mapping[str, Sender] = field(default_factory=dict)
    """Ways to reach a person, by kind of address: ``email``, ``phone``."""
    heads: HeadLog | None = None
    """Where signed heads of the audit trail are kept, outside the database."""
    node: str = ""
    """Name of this node in a hall of several; empty where the hall is one process."""

    def derive_key(self, purpose: str) -> bytes:
        """Return 32 secret bytes for one purpose (HKDF, RFC 5869), always the same."""
        return HKDF(hashes.SHA256(), 32, None, b"moothall " + purpose.encode()).derive(
            self.sealing_key
        )

    def use(self, kind: type[S]) -> S:
        """Return the settings of one table of the room.

        Raises:
            DeclarationError: No name plate lists it.
        """
        found = self.settings.get(kind)
        if not isinstance(found, kind):
            msg = f"{kind.__name__} stands on no name plate: Service(settings={{...}})"
            raise DeclarationError(msg)
        return found


@dataclass(frozen=True, slots=True)
class Personal:
    """``personal.py`` of a room: what it holds of one member.

    Attributes:
        export_rows: ``(ctx, member_id, after, limit)`` returns at most ``limit`` rows after
            the cursor ``after`` (empty at first), and the next cursor or None.
        erase_rows: ``(ctx, member_id)`` removes what nobody else relies on, or takes the
            name off it, at most 500 rows at a time; True when nothing is left to do.
            It may be run again after a crash.
        leave: ``(ctx, member_id)`` runs in the transaction that removes the member, and
            returns why that cannot be, as a sentence, or None. What others must no longer
            count on from that moment it takes away itself. A room may do without it.
    """

    export_rows: (
        "Callable[[Context, str, str, int], Awaitable[tuple[list[PersonalRow], str | None]]]"
    )
    erase_rows: "Callable[[Context, str], Awaitable[bool]]"
    leave: "Callable[[Context, str], Awaitable[str | None]] | None" = None


Provide = Callable[[Resources], Mapping[type, object]]
"""``provide`` of a room's ``adapters.py``: implementations by port."""
