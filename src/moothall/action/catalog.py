"""Catalogue: the rooms that are served, checked whole before anything is served.

What is wrong with a declaration is told at start-up, by name, and stops it: a hole
in the walls must not be found by the first visitor.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar, get_args, get_origin, is_typeddict

import msgspec
import structlog

from moothall.action.access import Signed
from moothall.action.checks import Check
from moothall.action.declare import Action
from moothall.action.feed import Feed, FeedIndex
from moothall.action.jobs import Job
from moothall.action.personal import FRAMEWORK_PERSONAL
from moothall.action.restore import AfterRestore
from moothall.action.service import Personal, Provide, RoomSettings, Service
from moothall.core.errors import FRAMEWORK_ERRORS, ActionError, DeclarationError
from moothall.core.names import near_matches

COMMANDS_RESERVED = frozenset(
    {
        "backup",
        "call",
        "config",
        "doctor",
        "login",
        "logout",
        "register",
        "restore",
        "serve",
        "server",
        "whoami",
    }
)
"""First words of commands that belong to the program itself."""

EVERY_PERMISSION = "*"
"""Stands in a role for every permission there is and will be."""

_log = structlog.get_logger("moothall.rooms")


@dataclass(frozen=True, slots=True)
class Room:
    """One folder of actions, as discovery found it."""

    name: str
    service: Service
    actions: tuple[Action[Any, Any], ...]
    migrations: Path | None = None
    provide: Provide | None = None
    errors: frozenset[type[ActionError]] = field(default_factory=frozenset)
    jobs: tuple[Job, ...] = ()
    personal: Personal | None = None
    feeds: tuple[Feed, ...] = ()
    checks: tuple[Check, ...] = ()
    after_restore: AfterRestore | None = None

    def shape(self, *, is_follower: bool) -> "Room":
        """Return the room as it is served on a resource server, or on any other hall.

        Raises:
            DeclarationError: The name plate names something that the room does not have.
        """
        follower = self.service.follower
        if follower is None:
            return self
        if not is_follower:
            own = _named(self, "jobs_of_its_own", self.jobs, follower.jobs_of_its_own)
            return replace(self, jobs=tuple(each for each in self.jobs if each not in own))
        plate = replace(
            self.service,
            member_permissions=follower.member_permissions,
            roles=follower.roles,
        )
        return replace(
            self,
            service=plate,
            actions=_named(self, "actions", self.actions, follower.actions),
            jobs=_named(self, "jobs", self.jobs, follower.jobs),
            feeds=_named(self, "feeds", self.feeds, follower.feeds),
        )


T = TypeVar("T", Action[Any, Any], Job, Feed)


def _named(room: Room, field: str, found: tuple[T, ...], names: tuple[str, ...]) -> tuple[T, ...]:
    """Return those of a room's declarations that its ``Follower`` names.

    Raises:
        DeclarationError: One of the names is nobody's.
    """
    chosen = {_own_name(each): each for each in found}
    for name in names:
        if name not in chosen:
            near = near_matches(name, chosen)
            remedy = f"; did you mean {', '.join(near)}?" if near else ""
            msg = f"room {room.name!r}: Follower({field}=...) names {name!r}, which is not there"
            raise DeclarationError(msg + remedy)
    return tuple(each for name, each in chosen.items() if name in names)


def _own_name(declared: Action[Any, Any] | Job | Feed) -> str:
    """Return a name as it stands in the room: of the function, or of the feed."""
    if isinstance(declared, Feed):
        return declared.template
    return declared.name.partition(".")[2]


class Catalog:
    """Actions by wire name, rooms by name."""

    def __init__(self, rooms: Iterable[Room]) -> None:
        """Take the rooms and check them.

        Raises:
            DeclarationError: Two things have one name, a room needs one that is missing, a
                request takes unknown fields or has no bound, a role holds a permission that
                nothing demands, or an action raises what it does not list.
        """
        self.rooms: dict[str, Room] = {}
        self.actions: dict[str, Action[Any, Any]] = {}
        for room in rooms:
            if room.name in self.rooms:
                msg = f"there are two rooms of the name {room.name!r}"
                raise DeclarationError(msg)
            self.rooms[room.name] = room
            for action in room.actions:
                self._add(room, action)
        _check_commands(self.actions.values())
        _check_dependencies(self.rooms)
        self.feeds = FeedIndex(each for room in self.rooms.values() for each in room.feeds)
        _check_held(self.rooms.values(), self.demanded)
        for room in self.rooms.values():
            for action in room.actions:
                _check_alone(action)
                _check_listed(action, self._errors_within_reach(room))

    @property
    def settings(self) -> dict[str, type[RoomSettings]]:
        """Tables of settings that the rooms have, by name.

        Raises:
            DeclarationError: Two rooms have a table of one name.
        """
        found: dict[str, type[RoomSettings]] = {}
        for room in self.rooms.values():
            for table, kind in room.service.settings.items():
                if table in found:
                    msg = f"room {room.name!r}: another room has the settings [{table}] already"
                    raise DeclarationError(msg)
                found[table] = kind
        return found

    @property
    def personal(self) -> dict[str, Personal]:
        """What holds something of members: the rooms with a ``personal.py``, and the framework."""
        found = {name: room.personal for name, room in self.rooms.items() if room.personal}
        return {"action": FRAMEWORK_PERSONAL, **dict(sorted(found.items()))}

    def near(self, name: str) -> list[str]:
        """Return names of actions that ``name`` may have meant."""
        return near_matches(name, self.actions)

    @property
    def migrations(self) -> list[tuple[str, Path | None]]:
        """The folder of each room's migrations, by its name."""
        return [(room.name, room.migrations) for room in self.rooms.values()]

    @property
    def demanded(self) -> frozenset[str]:
        """All permissions that an action or a feed demands, or the code of a room asks for."""
        found = {a.access.permission for a in self.actions.values() if isinstance(a.access, Signed)}
        found.update(each.access.permission for each in self.feeds.feeds)
        found.update(*(room.service.permissions for room in self.rooms.values()))
        return frozenset(found)

    @property
    def permissions(self) -> frozenset[str]:
        """All permissions that are demanded somewhere or that some room hands out."""
        found = set(self.demanded)
        for room in self.rooms.values():
            found.update(room.service.member_permissions)
            for role in room.service.roles:
                found.update(role.permissions)
        return frozenset(found)

    def _add(self, room: Room, action: Action[Any, Any]) -> None:
        """Add one action under its wire name."""
        if action.room != room.name:
            msg = f"{action.name} was found in room {room.name!r}"
            raise DeclarationError(msg)
        if action.name in self.actions:
            msg = f"there are two actions of the name {action.name!r}"
            raise DeclarationError(msg)
        self.actions[action.name] = action

    def _errors_within_reach(self, room: Room) -> frozenset[type[ActionError]]:
        """Return the errors that actions of ``room`` may list: its own and its neighbours'."""
        neighbours = (self.rooms[name].errors for name in room.service.depends_on)
        return room.errors.union(*neighbours)


def _check_commands(actions: Iterable[Action[Any, Any]]) -> None:
    """Refuse two actions of one command, and a noun that the program needs itself."""
    known: dict[tuple[str, str], str] = {}
    for action in actions:
        if other := known.get(action.command):
            words = " ".join(action.command)
            msg = f"{action.name} and {other} would both be the command {words!r}; set command="
            raise DeclarationError(msg)
        if action.command[0] in COMMANDS_RESERVED:
            msg = f"{action.name}: the command word {action.command[0]!r} is taken; set command="
            raise DeclarationError(msg)
        known[action.command] = action.name


def _check_dependencies(rooms: Mapping[str, Room]) -> None:
    """Refuse rooms that are missing and rooms that need each other in a circle."""
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            msg = f"rooms depend on each other in a circle: {' -> '.join((*way, name))}"
            raise DeclarationError(msg)
        if name in done:
            return
        for other in rooms[name].service.depends_on:
            if other not in rooms:
                msg = f"room {name!r} depends on {other!r}, which is not served"
                raise DeclarationError(msg)
            visit(other, (*way, name))
        done.add(name)

    for name in rooms:
        visit(name, ())


def _check_held(rooms: Iterable[Room], demanded: frozenset[str]) -> None:
    """Refuse a permission on a name plate that nothing asks for: it is misspelt."""
    for room in rooms:
        plate = room.service
        held = {
            "member_permissions": plate.member_permissions,
            "needs": plate.needs,
            **{f"role {role.name!r}": role.permissions for role in plate.roles},
        }
        for holder, permissions in held.items():
            for permission in permissions:
                if permission in demanded or permission == EVERY_PERMISSION:
                    continue
                near = near_matches(permission, demanded)
                remedy = (
                    f"did you mean {', '.join(near)}?"
                    if near
                    else "if your code asks for it by ctx.may, name it in Service(permissions=...)"
                )
                msg = (
                    f"room {room.name!r}: {holder} holds {permission!r}, "
                    f"which nothing demands; {remedy}"
                )
                raise DeclarationError(msg)


@cache
def _check_alone(action: Action[Any, Any]) -> None:
    """Check what an action says by itself; once, because that never changes."""
    _check_request(action.name, action.request_type)
    _check_bounds(action.name, action.request_type)
    _check_raised(action)
    if not action.summary:
        remedy = "write one; its first line is the help of the command"
        _log.warning("action without a docstring", action=action.name, remedy=remedy)


def _check_request(name: str, request_type: Any, seen: frozenset[Any] = frozenset()) -> None:
    """Refuse a request, or an object within it, that lets unknown fields pass."""
    if request_type in seen:
        return
    config = getattr(get_origin(request_type) or request_type, "__struct_config__", None)
    if config is None or not config.forbid_unknown_fields:
        shown = getattr(request_type, "__name__", request_type)
        msg = f"{name}: {shown} must refuse unknown fields; make it a subclass of Request"
        raise DeclarationError(msg)
    for info in msgspec.structs.fields(request_type):
        for inner in _objects_in(info.type):
            _check_request(name, inner, seen | {request_type})


def _check_bounds(name: str, request_type: type) -> None:
    """Refuse what a client could make as large as it likes: a database column is not."""
    seen: set[int] = set()

    def visit(info: Any, field: str) -> None:
        if id(info) in seen:
            return
        seen.add(id(info))
        if remedy := _missing_bound(info):
            raise DeclarationError(f"{name}: {field} is {remedy}")
        for inner in getattr(info, "fields", ()):
            visit(inner.type, f"{field}.{inner.name}")
        for part in ("type", "item_type", "key_type", "value_type"):
            if isinstance(inner := getattr(info, part, None), msgspec.inspect.Type):
                visit(inner, field)
        for part in ("types", "item_types"):
            for inner in getattr(info, part, ()):
                visit(inner, field)

    visit(msgspec.inspect.type_info(request_type), request_type.__name__)


def _missing_bound(info: Any) -> str:
    """Return what lacks a bound and what to use instead, or nothing."""
    kinds = msgspec.inspect
    match info:
        case kinds.IntType():
            is_bounded = None not in {
                info.gt if info.ge is None else info.ge,
                info.lt if info.le is None else info.le,
            }
            told = "an integer without bounds; use SafeInteger or Meta(ge=, le=)"
        case kinds.StrType():
            is_bounded = info.max_length is not None or _bounds_text(info.pattern or "")
            told = "text without a bound; use Text, Name, Slug, Id or Meta(max_length=)"
        case kinds.BytesType() | kinds.ByteArrayType() | kinds.MemoryViewType():
            is_bounded = info.max_length is not None
            told = "bytes without a bound; use Annotated[bytes, Meta(max_length=)]"
        case kinds.ListType() | kinds.SetType() | kinds.FrozenSetType() | kinds.VarTupleType():
            is_bounded = info.max_length is not None
            told = "a list without a bound; use Annotated[list[...], Meta(max_length=)]"
        case kinds.DictType():
            is_bounded = info.max_length is not None
            told = "an object without a bound; use Annotated[dict[...], Meta(max_length=)]"
        case _:
            return ""
    return "" if is_bounded else told


def _bounds_text(pattern: str) -> bool:
    """Tell whether a pattern covers a whole text and says of each part how often it may come."""
    if not (pattern.startswith("^") and pattern.endswith("$")):
        return False
    # What is escaped, or stands in a set of characters, is meant literally.
    signs = re.sub(r"\\.|\[\^?\]?[^\]]*\]", "", pattern)
    return re.search(r"[*+|]|,\}", signs) is None


def _objects_in(annotation: Any) -> list[Any]:
    """Return the types with named fields that stand anywhere in a type annotation."""
    # A NewType and an alias stand for what is behind them.
    for behind in ("__supertype__", "__value__"):
        if hasattr(annotation, behind):
            return _objects_in(getattr(annotation, behind))
    plain = get_origin(annotation) or annotation
    inner = [found for part in get_args(annotation) for found in _objects_in(part)]
    if isinstance(plain, type) and (
        issubclass(plain, msgspec.Struct) or is_dataclass(plain) or is_typeddict(plain)
    ):
        return [annotation, *inner]
    return inner


def _check_listed(action: Action[Any, Any], known: frozenset[type[ActionError]]) -> None:
    """Refuse an action that lists strange errors."""
    for error in action.raises:
        if error not in known:
            msg = (
                f"{action.name}: {error.__name__} is declared neither in the errors.py of its room "
                "nor in that of a room it depends on"
            )
            raise DeclarationError(msg)


def _check_raised(action: Action[Any, Any]) -> None:
    """Refuse an action that raises an error which it does not list."""
    for error in _raised_in(action):
        if not issubclass(error, FRAMEWORK_ERRORS + action.raises):
            msg = f"{action.name} raises {error.__name__} but does not list it in raises="
            raise DeclarationError(msg)


def _raised_in(action: Action[Any, Any]) -> Iterable[type[ActionError]]:
    """Yield the action errors in the ``raise`` statements of the handler itself.

    What is raised further down (in rules and stores) is checked when it happens.
    """
    if not _mentions_unlisted(action):
        return
    for target in _raise_targets(action.handler):
        found = _found(target, action.handler.__globals__)
        if isinstance(found, type) and issubclass(found, ActionError):
            yield found


def _mentions_unlisted(action: Action[Any, Any]) -> bool:
    """Tell whether the handler so much as names an error that the action does not list.

    Hardly any does. The names in its code tell so a thousand times faster than its source.
    """
    listed = FRAMEWORK_ERRORS + action.raises
    for name in _names_in(inspect.unwrap(action.handler).__code__):
        value = action.handler.__globals__.get(name)
        if isinstance(value, type) and issubclass(value, ActionError):
            if not issubclass(value, listed):
                return True
        elif name.endswith("Error"):  # perhaps the SomeError of errors.SomeError
            return True
    return False


def _names_in(code: CodeType) -> Iterator[str]:
    """Yield the names of globals and attributes in ``code``, and in functions within it."""
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names_in(inner)


def _raise_targets(handler: Callable[..., Any]) -> tuple[ast.expr, ...]:
    """Return what stands behind ``raise`` in the source of ``handler``, which is slow to read."""
    try:
        source = textwrap.dedent(inspect.getsource(handler))
    except OSError:
        return ()
    raised = (node.exc for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Raise))
    return tuple(
        exc.func if isinstance(exc, ast.Call) else exc for exc in raised if exc is not None
    )


def _found(target: ast.expr, names: Mapping[str, Any]) -> Any:
    """Return what ``SomeError`` or ``errors.SomeError`` stands for, or None."""
    if isinstance(target, ast.Name):
        return names.get(target.id)
    if isinstance(target, ast.Attribute):
        return getattr(_found(target.value, names), target.attr, None)
    return None
