"""What `docs/reference/writing-rooms.md` says of the code, made from its docstrings.

Whoever adds something to :class:`Context`, :class:`Transaction` or :class:`Service` that rooms
use: name it here, and run ``tools/make_reference.py``. A test tells when a name is missing.
"""

import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, get_args, get_origin

import msgspec

from moothall.action import fields
from moothall.action.context import Context
from moothall.action.service import Role, Service
from moothall.ports.database import Transaction

CONTEXT = (
    "actor",
    "now_ms",
    "tx",
    "new_id",
    "emit",
    "may",
    "demand",
    "call",
    "read",
    "write",
    "use",
)
"""What a room uses of a context, in the order of the page."""

CONTEXT_ELSEWHERE = frozenset(
    {
        "action",
        "audit_row",
        "concern",
        "connection",
        "device",
        "events",
        "is_audited",
        "known_permissions",
        "path",
        "personal_rooms",
        "principal",
        "request_id",
        "resource_is_missing",
        "session_id",
        "source",
    }
)
"""What only the built-in rooms and the framework use; the page says nothing of it."""

TRANSACTION = ("fetch_one", "fetch_all", "execute", "nested", "on_commit")
TRANSACTION_ELSEWHERE = frozenset(
    {
        "append",
        "append_returning",
        "execute_script",
        "find_horizon",
        "lift_limits",
        "lock",
        "lock_rows",
        "tell_nodes",
    }
)

PLATE_ELSEWHERE = frozenset({"follower"})

_ATTRIBUTES = re.compile(r"^Attributes:\n((?: {4}.*\n?|\n)*)", re.MULTILINE)
_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def make_parts() -> dict[str, str]:
    """Return the tables of the page, by the name of their marks."""
    return {
        "fields": _table("type", _field_rows()),
        "context": _table("write", _member_rows("ctx", Context, CONTEXT)),
        "transaction": _table("write", _member_rows("ctx.tx", Transaction, TRANSACTION)),
        "service": _table("write", [*_plate_rows(Service), _role_row()]),
    }


def public_names(kind: type) -> set[str]:
    """Return the names of attributes and methods that others may use."""
    named = {*vars(kind), *getattr(kind, "__slots__", ())}
    return {name for name in named if not name.startswith("_")}


def _table(head: str, rows: Iterable[tuple[str, str]]) -> str:
    lines = [f"| {head} | what it is |", "|---|---|"]
    lines += [f"| `{name}` | {text} |" for name, text in rows]
    return "\n".join(lines) + "\n"


def _field_rows() -> Iterator[tuple[str, str]]:
    for name, kind in vars(fields).items():
        if get_origin(kind) is Annotated:
            [meta] = [one for one in get_args(kind) if isinstance(one, msgspec.Meta)]
            yield name, meta.description or ""


def _member_rows(owner: str, kind: type, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    attributes = _attributes_of(kind)
    for name in names:
        member: Any = getattr(kind, name)
        if name in attributes:
            yield f"{owner}.{name}", attributes[name]
        elif isinstance(member, property):
            yield f"{owner}.{name}", _first_line(member)
        else:
            awaited = "await " if inspect.iscoroutinefunction(member) else ""
            yield f"{awaited}{owner}.{name}({_parameters_of(member)})", _first_line(member)


def _parameters_of(method: Any) -> str:
    """Return the parameters that a caller must give."""
    found = list(inspect.signature(method).parameters.values())[1:]
    return ", ".join(
        f"*{one.name}" if one.kind is one.VAR_POSITIONAL else one.name
        for one in found
        if one.default is one.empty
    )


def _plate_rows(kind: type) -> Iterator[tuple[str, str]]:
    for name, text in _attributes_of(kind).items():
        if name not in PLATE_ELSEWHERE:
            yield name, text


def _role_row() -> tuple[str, str]:
    parameters = ", ".join(inspect.signature(Role).parameters)
    return f"Role({parameters})", _first_line(Role)


def _attributes_of(kind: type) -> dict[str, str]:
    """Return what a class's docstring says of its attributes."""
    found = _ATTRIBUTES.search(inspect.getdoc(kind) or "")
    rows = _ATTRIBUTE.findall(found[1]) if found else []
    return {name: _plain(text) for name, text in rows}


def _first_line(member: object) -> str:
    return _plain((inspect.getdoc(member) or "").partition("\n")[0])


def _plain(text: str) -> str:
    """Return a text of a docstring as a cell of a table."""
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")
