"""Discovery: rooms are folders, and a folder's name is its room's name."""

import importlib
import inspect
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from moothall import services
from moothall.action.catalog import Room
from moothall.action.checks import Check
from moothall.action.declare import Action
from moothall.action.feed import Feed
from moothall.action.jobs import Job
from moothall.action.model import Request, Result
from moothall.action.restore import AfterRestore
from moothall.action.service import Personal, Service
from moothall.core.errors import ActionError, ConfigurationError, DeclarationError
from moothall.core.names import near_matches

FURNITURE = frozenset(
    {
        "model",
        "errors",
        "events",
        "rules",
        "store",
        "actions",
        "feeds",
        "subscribers",
        "jobs",
        "personal",
        "adapters",
        "checks",
        "restore",
        "migrations",
    }
)
"""What may stand in a room, as a module or as a folder of the same name."""

ENTRY_POINTS = "moothall.services"
"""Entry point group by which an installed package brings rooms along."""

_ROOM_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")


ALWAYS_SERVED = ("access", "feeds", "hall")
"""Built-in rooms that no hall can do without."""


def find_rooms(
    built_in: Iterable[str], folders: Iterable[Path], *, is_follower: bool = False
) -> list[Room]:
    """Return the rooms to serve: built-in ones, installed ones, and the user's own.

    What they depend on comes along, by their name plates.

    Args:
        built_in: Names of built-in rooms; empty means all.
        folders: Each is one room, or holds one room per sub-folder.
        is_follower: Return each as it is on a resource server (``Service.follower``).

    Raises:
        ConfigurationError: A folder is missing or holds no room.
        DeclarationError: A room holds a strange file or is declared wrongly.
    """
    rooms = [_open_room(module_name) for module_name in _installed(ENTRY_POINTS)]
    for folder in folders:
        for path in _rooms_in(folder):
            if path.name in sys.stdlib_module_names or path.name == "moothall":
                msg = f"{path}: {path.name!r} is the name of a Python module; rename the folder"
                raise DeclarationError(msg)
            # At the end: what lies beside a room must not stand before what is installed.
            if str(path.parent) not in sys.path:
                sys.path.append(str(path.parent))
            rooms.append(_open_room(path.name, path))
    known = {module.name for module in pkgutil.iter_modules(services.__path__) if module.ispkg}
    chosen = _choose(set(built_in), known)
    needed = {name for room in rooms for name in room.service.depends_on}
    own = _open_with_needed((chosen | needed) & known)
    return [room.shape(is_follower=is_follower) for room in [*own, *rooms]]


@cache
def _installed(group: str) -> tuple[str, ...]:
    """Return the modules of rooms that installed packages bring along.

    Asked once: it reads the metadata of all that is installed, a file each.
    """
    return tuple(point.value for point in entry_points(group=group))


def _choose(wanted: set[str], known: set[str]) -> set[str]:
    """Return names of built-in rooms.

    Raises:
        ConfigurationError: There is none of such a name.
    """
    for name in sorted(wanted - known):
        near = near_matches(name, known)
        msg = f"rooms: there is no room {name!r}; did you mean {', '.join(near or sorted(known))}?"
        raise ConfigurationError(msg)
    return wanted or known


def _open_with_needed(names: set[str]) -> list[Room]:
    """Return built-in rooms and all that they depend on, by name."""
    found: dict[str, Room] = {}
    while missing := sorted(names - found.keys()):
        for name in missing:
            found[name] = _open_built_in(name)
            names = names | set(found[name].service.depends_on)
    return [found[name] for name in sorted(found)]


@cache
def _open_built_in(name: str) -> Room:
    """Return a built-in room, which stays as it is while the process lives.

    The rooms of users are opened anew by each hall: they may have been edited.
    """
    return _open_room(f"{services.__name__}.{name}")


def _rooms_in(folder: Path) -> Iterator[Path]:
    """Yield the room that ``folder`` is, or the rooms that it holds."""
    folder = folder.resolve()
    if not folder.is_dir():
        msg = f"functions: {folder} is not a folder"
        raise ConfigurationError(msg)
    if (folder / "actions.py").exists() or (folder / "actions").is_dir():
        yield folder
        return
    found = [
        path
        for path in sorted(folder.iterdir())
        if (path / "actions.py").exists() or (path / "actions").is_dir()
    ]
    if not found:
        msg = f"functions: {folder} holds no room (a folder with an actions.py)"
        raise ConfigurationError(msg)
    yield from found


def _open_room(module_name: str, expected: Path | None = None) -> Room:
    """Import a room, which must lie where it is expected, and return what it declares."""
    name = module_name.rpartition(".")[2]
    if not _ROOM_NAME.match(name):
        msg = f"{module_name}: a room's name is lower-case letters, digits and '_', at most 32"
        raise DeclarationError(msg)
    try:
        package = importlib.import_module(module_name)
    except Exception as error:
        raise _explained(f"room {name}: cannot be imported", error) from error
    folder = Path(next(iter(getattr(package, "__path__", ["."]))))
    if not hasattr(package, "__path__") or (expected and folder.resolve() != expected):
        msg = f"{expected or name}: another Python module has the name {name!r}; rename the folder"
        raise DeclarationError(msg)
    modules = {
        piece: _import(f"{module_name}.{piece}", name)
        for piece in sorted(_furniture_in(folder))
        if piece != "migrations"
    }
    _check_types(name, modules.values())
    service = getattr(package, "SERVICE", None) or Service()
    if not isinstance(service, Service):
        msg = f"room {name}: SERVICE must be a Service(...), not {service!r}"
        raise DeclarationError(msg)
    migrations = folder / "migrations"
    return Room(
        name=name,
        service=service,
        actions=tuple(_actions_in(modules.get("actions"))),
        migrations=migrations if migrations.is_dir() else None,
        provide=getattr(modules.get("adapters"), "provide", None),
        errors=frozenset(_errors_in(modules.get("errors"))),
        jobs=tuple(_jobs_in(modules.get("jobs"))),
        personal=_personal_in(name, modules.get("personal")),
        feeds=tuple(_feeds_in(modules.get("feeds"))),
        checks=tuple(_checks_in(modules.get("checks"))),
        after_restore=_after_restore_in(name, modules.get("restore")),
    )


def _import(module_name: str, room: str) -> ModuleType:
    """Import one piece of a room."""
    try:
        return importlib.import_module(module_name)
    except Exception as error:
        raise _explained(f"room {room}: {module_name} cannot be imported", error) from error


def _explained(told: str, error: Exception) -> DeclarationError:
    """Return why a module cannot be imported, with the line of the room that is to be mended."""
    lines = [
        f"{frame.filename}:{frame.lineno}: "
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and not _is_of_house(Path(frame.filename))
    ]
    where = lines[-1] if lines else ""
    if isinstance(error, SyntaxError):  # it has a place, and no frame
        where = f"{error.filename}:{error.lineno}: "
    if isinstance(error, DeclarationError):
        return DeclarationError(f"{where}{error}")
    return DeclarationError(f"{where}{told}: {type(error).__name__}: {error}")


def _is_of_house(file: Path) -> bool:
    """Tell whether a file is of the program itself, and of none of its rooms."""
    house = Path(services.__file__).parent
    return house.parent in file.parents and house not in file.parents


def _furniture_in(folder: Path) -> list[str]:
    """Return the pieces of a room; refuse what does not belong there."""
    pieces = []
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name in {"__init__.py", "__pycache__"}:
            continue
        piece = path.stem if path.suffix == ".py" else path.name
        if piece not in FURNITURE:
            near = near_matches(piece, FURNITURE)
            known = ", ".join(near) if near else ", ".join(sorted(FURNITURE))
            msg = f"{path}: a room has no {path.name!r}; it may have {known}"
            raise DeclarationError(msg)
        if piece in pieces:
            msg = f"{path}: {piece!r} is there as a file and as a folder; keep one of them"
            raise DeclarationError(msg)
        pieces.append(piece)
    return pieces


def _check_types(room: str, modules: Iterable[ModuleType]) -> None:
    """Refuse two types of one name that go over the wire.

    The API document would call both by their Python modules then, and whoever wrote a client
    for the one would find it gone.
    """
    found: dict[str, type] = {}
    for part in (part for module in modules for part in _parts_of(module)):
        for value in vars(part).values():
            if not (inspect.isclass(value) and issubclass(value, Request | Result)):
                continue
            if value.__module__ != part.__name__:
                continue  # only used here
            other = found.setdefault(value.__name__, value)
            if other is not value:
                msg = (
                    f"room {room}: {other.__module__} and {value.__module__} both declare "
                    f"{value.__name__}; clients tell types apart by name, so rename one"
                )
                raise DeclarationError(msg)


def _actions_in(module: ModuleType | None) -> Iterator[Action[object, object]]:  # type: ignore[type-var]
    """Yield the actions of ``actions.py``, or of each module of the folder ``actions``."""
    for part in _parts_of(module):
        for value in vars(part).values():
            if isinstance(value, Action) and value.handler.__module__ == part.__name__:
                yield value


def _errors_in(module: ModuleType | None) -> Iterator[type[ActionError]]:
    """Yield the errors that a room declares."""
    for part in _parts_of(module):
        for value in vars(part).values():
            if (
                inspect.isclass(value)
                and issubclass(value, ActionError)
                and value.__module__ == part.__name__
            ):
                yield value


def _jobs_in(module: ModuleType | None) -> Iterator[Job]:
    """Yield the jobs that a room declares."""
    for part in _parts_of(module):
        for value in vars(part).values():
            if isinstance(value, Job) and value.handler.__module__ == part.__name__:
                yield value


def _feeds_in(module: ModuleType | None) -> Iterator[Feed]:
    """Yield the feeds that a room declares."""
    for part in _parts_of(module):
        for value in vars(part).values():
            if isinstance(value, Feed) and value.find_streams.__module__ == part.__name__:
                yield value


def _checks_in(module: ModuleType | None) -> Iterator[Check]:
    """Yield the checks that a room declares."""
    for part in _parts_of(module):
        for value in vars(part).values():
            if isinstance(value, Check) and value.handler.__module__ == part.__name__:
                yield value


def _after_restore_in(room: str, module: ModuleType | None) -> AfterRestore | None:
    """Return what a room does when a backup of its rows was restored."""
    if module is None:
        return None
    found: Any = getattr(module, "after_restore", None)
    if not inspect.iscoroutinefunction(found):
        msg = f"room {room}: restore.py declares 'async def after_restore(ctx, restored)'"
        raise DeclarationError(msg)
    return cast("AfterRestore", found)


def _personal_in(room: str, module: ModuleType | None) -> Personal | None:
    """Return how a room exports and erases what it holds of one member."""
    if module is None:
        return None
    found: list[Any] = [getattr(module, name, None) for name in ("export_rows", "erase_rows")]
    leave: Any = getattr(module, "leave", None)
    if not all(map(inspect.iscoroutinefunction, found if leave is None else [*found, leave])):
        msg = (
            f"room {room}: personal.py declares 'async def export_rows' and 'erase_rows', "
            "and 'leave' if it must be asked"
        )
        raise DeclarationError(msg)
    export_rows, erase_rows = found
    return Personal(export_rows, erase_rows, leave)


def _parts_of(module: ModuleType | None) -> Iterator[ModuleType]:
    """Yield a module, or a package and its modules."""
    if module is None:
        return
    yield module
    for info in pkgutil.iter_modules(getattr(module, "__path__", ())):
        yield _import(f"{module.__name__}.{info.name}", module.__name__.split(".")[-2])
