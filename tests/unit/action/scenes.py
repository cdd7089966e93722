"""What the tests of the framework share: rooms that are written for one test."""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

from moothall.testing import OpenHall, Visitor

ROOMS = Path(__file__).parent / "rooms"

IMPORTS = """
from moothall.action import *
from moothall.core.codes import Code
from moothall.core.errors import ActionError
"""

GOOD = f"""{IMPORTS}
class DoThing(Request):
    number: SafeInteger = 0

class Done(Result):
    number: int

@action(access=PUBLIC, effect=READ, limit=PerSource(calls=9, window_ms=9), raises=())
async def do_thing(ctx: Context, request: DoThing) -> Done:
    "Do it."
    return Done(number=request.number)
"""


def write_room(folder: Path, name: str, **files: str) -> Path:
    """Write a room; ``actions="..."`` becomes ``actions.py``."""
    room = folder / name
    room.mkdir(parents=True)
    for piece, text in {"__init__": "", "actions": GOOD, **files}.items():
        (room / f"{piece}.py").write_text(dedent(text), encoding="utf-8")
    importlib.invalidate_caches()
    return room


@contextmanager
def forget_rooms(folder: Path) -> Iterator[None]:
    """Undo what importing rooms from ``folder`` leaves behind in this process."""
    path, modules, writes_none = list(sys.path), set(sys.modules), sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    yield
    sys.dont_write_bytecode = writes_none
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        places = [getattr(sys.modules[name], "__file__", None) or ""]
        places += list(getattr(sys.modules[name], "__path__", []))
        if any(place.startswith(str(folder)) for place in places):
            del sys.modules[name]


async def grant(hall: OpenHall, admin: Visitor, to: Visitor, role: str, at: str = "") -> None:
    fields: Mapping[str, Any] = {"member": to.name, "role": role, "at": at}
    await hall.call("access.grant_role", fields, as_=admin)
