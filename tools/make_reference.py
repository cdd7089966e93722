"""Writes what the reference pages say of the code: from actions and commands to settings.

    .venv/bin/python tools/make_reference.py

``docs/reference/actions.md``, ``commands.md`` and ``feeds.md`` are made whole; in ``errors.md``,
``metrics.md``, ``settings.md`` and ``writing-rooms.md`` only what stands between two marks is,
and the text around it is for people to write. A test compares the pages with what this script
would write, so a declaration cannot change behind their back.

For whoever edits it: the pages are made from the same declarations as ``/openapi.json``, and
from nothing else.
"""

import ast
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from moothall import services
from moothall.action.access import Signed
from moothall.action.catalog import Catalog
from moothall.action.declare import Action
from moothall.action.event import Event, kind_of
from moothall.action.feed import Feed
from moothall.action.limiter import PerActor
from moothall.app.config import PREFIX, TABLES, Settings
from moothall.app.discovery import find_rooms
from moothall.app.main import serve
from moothall.app.metrics import METRICS
from moothall.app.metrics import PREFIX as METRICS_PREFIX
from moothall.client.cli.derive import REPLACED
from moothall.core.codes import HTTP_STATUS, RETRYABLE, Code
from moothall.core.errors import FRAMEWORK_ERRORS, ActionError
from moothall.core.units import SAFE_INTEGER_MAX
from moothall.transports.http.openapi import build_openapi

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # when it is run as a script
    sys.path.insert(0, str(ROOT))

from tools.command_reference import make_commands_page  # noqa: E402 - found by the lines above
from tools.room_reference import make_parts  # noqa: E402 - the same

REFERENCE = ROOT / "docs" / "reference"

INSTEAD = {
    "identity.close_session": "`moothall logout`",
    "identity.open_session": "`moothall login`",
    "identity.register": "`moothall register`",
    "identity.register_guest": "`moothall login --guest`",
    "feeds.subscribe": "`moothall feed follow`",
    "identity.refresh_session": "none; the client renews its tokens by itself",
    "leaderboards.import_entries": "`moothall entry import FILE`",
}
"""Commands of the program's own that call an action for a person."""

_SECTION = re.compile(r"^(Args|Returns|Raises|Emits):\n((?:    .*\n?|\n)*)", re.MULTILINE)
_ARGUMENT = re.compile(r"^ {4}request\.(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)

_WORDS = {
    "boolean": "`true` or `false`",
    "integer": "whole number",
    "null": "`null`",
    "number": "number",
    "object": "object",
    "string": "text",
}

Schema = Mapping[str, Any]


def make_pages() -> dict[Path, str]:
    """Return the text that each page should have."""
    catalog = Catalog(find_rooms((), ()))
    errors, settings = REFERENCE / "errors.md", REFERENCE / "settings.md"
    rooms, metrics = REFERENCE / "writing-rooms.md", REFERENCE / "metrics.md"
    parts = {"codes": _codes(), "framework": _errors(FRAMEWORK_ERRORS), "rooms": _rooms(catalog)}
    return {
        REFERENCE / "actions.md": _actions(catalog),
        REFERENCE / "commands.md": make_commands_page(catalog),
        REFERENCE / "feeds.md": _feeds(catalog),
        errors: _put(errors.read_text("utf-8"), parts),
        metrics: _put(metrics.read_text("utf-8"), {"metrics": _metrics()}),
        rooms: _put(rooms.read_text("utf-8"), make_parts()),
        settings: _put(
            settings.read_text("utf-8"), {"settings": _settings(), "tables": _tables(catalog)}
        ),
    }


def main() -> None:
    """Write the pages that differ."""
    for path, text in make_pages().items():
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            print(f"wrote {path.relative_to(REFERENCE.parents[1])}")


def _put(page: str, parts: Mapping[str, str]) -> str:
    """Return ``page`` with each part between its marks."""
    for name, text in parts.items():
        begin, end = (
            f"<!-- {name}: made by tools/make_reference.py -->\n",
            f"<!-- end of {name} -->",
        )
        before, found, rest = page.partition(begin)
        _, ended, after = rest.partition(end)
        if not (found and ended):
            msg = f"the page lacks the marks {begin.strip()} and {end}"
            raise ValueError(msg)
        page = f"{before}{begin}\n{text}\n{end}{after}"
    return page


# --- errors ---------------------------------------------------------------------------------------


def _codes() -> str:
    rows = (
        (f"`{code.value}`", str(HTTP_STATUS[code]), "yes" if code in RETRYABLE else "no")
        for code in Code
    )
    return _table(("code", "status", "retryable"), rows)


def _errors(errors: Iterable[type[ActionError]]) -> str:
    rows = ((f"`{one.name}`", f"`{one.code.value}`", _plain(one.title)) for one in errors)
    return _table(("name", "code", "meaning"), rows)


def _rooms(catalog: Catalog) -> str:
    """Return a section for each room that has errors."""
    return "\n".join(
        f"### {name}\n\n{_errors(sorted(room.errors, key=lambda error: error.name))}"
        for name, room in sorted(catalog.rooms.items())
        if room.errors
    )


# --- settings -------------------------------------------------------------------------------------


def _settings() -> str:
    flags = {param.name: param.opts[0] for param in serve.params}
    meanings = _docstrings_of_fields(Settings)
    rows = []
    for field in msgspec.structs.fields(Settings):
        if field.name == "tables":
            continue  # made up of those that the rooms bring along
        flag = flags.get(field.name)
        rows.append(
            (
                f"`{field.name}`",
                _default_of(field.default),
                _range_of(field.type),
                f"`{PREFIX}{field.name.upper()}`",
                f"`{flag}`" if flag else "",
                _plain(meanings[field.name]),
            )
        )
    return _table(("setting", "default", "value", "environment", "flag", "meaning"), rows)


def _tables(catalog: Catalog) -> str:
    """Return a section for each table of settings that a room or the hall itself has."""
    parts = []
    for table, kind in sorted({**catalog.settings, **TABLES}.items()):
        meanings = _docstrings_of_fields(kind)
        rows = (
            (
                f"`{field.name}`",
                _default_of(field.default),
                _range_of(field.type),
                f"`{PREFIX}{table.upper()}__{field.name.upper()}`",
                _plain(meanings[field.name]),
            )
            for field in msgspec.structs.fields(kind)
        )
        head = ("setting", "default", "value", "environment", "meaning")
        parts.append(f"### [{table}]\n\n{(inspect.getdoc(kind) or '')}\n\n{_table(head, rows)}")
    return "\n".join(parts)


def _metrics() -> str:
    rows = (
        (
            f"`{METRICS_PREFIX}{name}`",
            metric.kind,
            ", ".join(f"`{label}`" for label in metric.labels),
            metric.meaning,
        )
        for name, metric in METRICS.items()
    )
    return _table(("metric", "kind", "labels", "meaning"), rows)


def _docstrings_of_fields(cls: type) -> dict[str, str]:
    """Return the text that stands below each field in the source."""
    [body] = ast.parse(inspect.getsource(cls)).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            assert isinstance(text, ast.Expr)
            found[field.target.id] = str(ast.literal_eval(text.value))
    return found


def _default_of(value: object) -> str:
    match value:
        case "" | None:
            return "empty"
        case ():
            return "none"
        case bool():
            return "`true`" if value else "`false`"
        case int() | float():
            return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
        case _:
            return f"`{value}`"


def _range_of(annotation: Any) -> str:
    """Return what a setting may be, in words."""
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if get_origin(annotation) is tuple:
        return "list of texts"
    if type(None) in get_args(annotation):  # left out, it follows from another setting
        [annotation] = [one for one in get_args(annotation) if one is not type(None)]
    plain, meta = annotation, None
    if hasattr(annotation, "__metadata__"):
        plain, meta = get_args(annotation)
    words = {bool: "`true` or `false`", int: "whole number", float: "number", str: "text"}[plain]
    return f"{words}, {meta.ge:,} to {meta.le:,}" if meta else words


# --- actions --------------------------------------------------------------------------------------


def _actions(catalog: Catalog) -> str:
    document = json.loads(build_openapi(catalog.actions.values()))
    schemas = document["components"]["schemas"]
    lines = [_HEAD]
    for room in sorted(catalog.rooms):
        lines.append(f"## {room}\n")
        for name in sorted(catalog.actions):
            if catalog.actions[name].room == room:
                operation = document["paths"][f"/v1/{name}"]["post"]
                lines.append(_action(catalog.actions[name], operation, schemas))
    lines.append("## Objects\n\nWhat stands in requests and results above.\n")
    requests = {action.request_type.__name__ for action in catalog.actions.values()}
    for name, schema in sorted(schemas.items()):
        if name not in requests | {"Problem"} and "properties" in schema:
            lines.append(f"### {name}\n\n{_text_of(schema)}\n\n{_fields(schema, schemas, {})}")
    return "\n".join(lines)


_HEAD = """\
# Actions

Everything that a client may call, as a hall declares it. This page is made from the
declarations: `.venv/bin/python tools/make_reference.py` writes it anew.

Each action is called with `POST /v1/<action>`; the body is the request, the answer is the
result. [Errors](errors.md) lists what any action may answer besides its own errors. Times end in
`_at_ms` and are UTC epoch milliseconds. The same facts stand in `/openapi.json` of a hall, with
those of your own rooms.

How to read the facts of an action:

- **who may**: `PUBLIC` is anybody, without a token; otherwise a permission, and the resource
  where it is needed.
- **effect**: `read` changes nothing. `write` is one transaction and takes an idempotency key.
  `flow` is several steps; it takes no key.
- **limit**: beyond it a call answers `rate_limited`, with `details.retry_after_ms`.
"""


def _action(action: Action[Any, Any], operation: Schema, schemas: Schema) -> str:
    """Return the section of one action."""
    parts = dict(_SECTION.findall(action.description))
    words = {name: _join(text) for name, text in _ARGUMENT.findall(parts.get("Args", ""))}
    request = operation["requestBody"]["content"]["application/json"]["schema"]
    result = operation["responses"]["200"]["content"]["application/json"]["schema"]
    facts = [
        ("command", _command(action)),
        ("who may", _access(action)),
        ("effect", f"`{action.effect.value}`"),
        ("limit", _limit(action)),
        ("result", _type_of(result, schemas)),
        ("own errors", ", ".join(f"`{error.name}`" for error in action.raises) or "none"),
    ]
    if emits := parts.get("Emits"):
        facts.append(("events", _join(emits)))
    if action.secret_reply:
        facts.append(("secret", "the result holds a secret; it is never kept for a repeated call"))
    text = _plain(_SECTION.sub("", action.description).strip())
    fields = _fields(_resolve(request, schemas), schemas, words)
    return f"### {action.name}\n\n{text}\n\n{_table(('fact', ''), facts)}\n{fields}"


def _command(action: Action[Any, Any]) -> str:
    if action.name in REPLACED:
        return INSTEAD.get(action.name, "one of the program's own; see `moothall --help`")
    return f"`moothall {' '.join(action.command)}`"


def _access(action: Action[Any, Any] | Feed) -> str:
    if not isinstance(action.access, Signed):
        return "`PUBLIC`"
    if callable(action.access.at):
        return f"`{action.access.permission}` where the resource lies"
    at = f" at `{action.access.at}`" if action.access.at else ""
    return f"`{action.access.permission}`{at}"


def _limit(action: Action[Any, Any]) -> str:
    who = "member" if isinstance(action.limit, PerActor) else "client address"
    return f"{action.limit.calls:,} calls in {action.limit.window_ms / 1_000:g} s for each {who}"


def _fields(schema: Schema, schemas: Schema, words: Mapping[str, str]) -> str:
    """Return a table of the fields of an object."""
    properties = schema.get("properties", {})
    if not properties:
        return "No fields.\n"
    needed = set(schema.get("required", ()))
    rows = []
    for name, one in properties.items():
        default = "" if name in needed else f"`{json.dumps(one.get('default'))}`"
        text = words.get(name) or _text_of(one) or _text_of(_without_null(one))
        rows.append((f"`{name}`", _type_of(one, schemas), default, text))
    is_request = schema.get("additionalProperties") is False
    third = "default (else required)" if is_request else "default"
    return _table(("field", "type", third, "meaning"), rows)


def _type_of(schema: Schema, schemas: Schema) -> str:
    """Return the type of a value in words."""
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return _type_of(schemas[name], schemas) if "enum" in schemas[name] else _link(name)
    if "anyOf" in schema:
        return " or ".join(_type_of(one, schemas) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    if "prefixItems" in schema:
        return f"list of {len(schema['prefixItems'])} texts"
    if schema.get("type") == "array":
        most = schema.get("maxItems")
        bound = f", at most {most:,}" if most else ""
        return f"list of {_type_of(schema['items'], schemas)}{bound}"
    if schema.get("format") == "password":
        return "secret"
    return _WORDS[schema["type"]] + _bounds(schema)


def _bounds(schema: Schema) -> str:
    """Return the bounds of a value, unless its description tells them."""
    if "description" in schema:
        return ""
    if "maxLength" in schema:
        return f", at most {schema['maxLength']:,} characters"
    if "maximum" in schema and schema["maximum"] != SAFE_INTEGER_MAX:
        return f", {schema['minimum']:,} to {schema['maximum']:,}"
    return ""


def _without_null(schema: Schema) -> Schema:
    options = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    return options[0] if len(options) == 1 else schema


def _resolve(schema: Schema, schemas: Schema) -> Schema:
    found: Schema = schemas[schema["$ref"].rpartition("/")[2]]
    return found


def _text_of(schema: Schema) -> str:
    return _plain(_join(str(schema.get("description", ""))))


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"


# --- feeds and events -----------------------------------------------------------------------------


def _feeds(catalog: Catalog) -> str:
    rows = (
        (f"`{each.template}`", _access(each), _plain(each.summary))
        for each in sorted(catalog.feeds.feeds, key=lambda each: each.template)
    )
    lines = [_FEEDS_HEAD, _table(("feed", "who may", "what comes"), rows), _EVENTS_HEAD]
    for room in sorted(catalog.rooms):
        lines += [_event(kind) for kind in _events_of(room)]
    return "\n".join(lines)


_FEEDS_HEAD = """\
# Feeds and events

What can be followed, as a hall declares it, and what comes then. This page is made from the
declarations: `.venv/bin/python tools/make_reference.py` writes it anew. [The wire](wire.md)
says how a feed is followed at each door.
"""

_EVENTS_HEAD = """\
## Events

The `data` of an event, by its `kind`. Fields may be added later; ignore those that you do not know.
"""


def _events_of(room: str) -> list[type[Event]]:
    """Return the events that a room declares, by name."""
    name = f"{services.__name__}.{room}.events"
    if importlib.util.find_spec(name) is None:
        return []
    found = vars(importlib.import_module(name)).values()
    kinds = [one for one in found if isinstance(one, type) and issubclass(one, Event)]
    return sorted((one for one in kinds if one.__module__ == name), key=lambda one: one.__name__)


def _event(kind: type[Event]) -> str:
    [schema], components = msgspec.json.schema_components([kind], ref_template="{name}")
    fields = _fields(_resolve(schema, components), components, {})
    return f"### {kind_of(kind)}\n\n{_plain(inspect.getdoc(kind) or '')}\n\n{fields}"


# --- words ----------------------------------------------------------------------------------------


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    def lines() -> Iterator[str]:
        yield _row(head)
        yield _row(tuple("---" for _ in head))
        for row in rows:
            yield _row(row)

    return "\n".join(lines()) + "\n"


def _row(cells: tuple[str, ...]) -> str:
    return "|" + "|".join(f" {_join(cell)} ".replace("|", "\\|") for cell in cells) + "|"


def _join(text: str) -> str:
    return " ".join(text.split())


def _plain(text: str) -> str:
    """Return the text of a docstring as Markdown."""
    return text.replace("``", "`")


if __name__ == "__main__":
    main()
