"""Fields of a request as parameters of a command: names, kinds, values. Pure but for @FILE.

The rule: a required single value stands in its place, in the order of the schema, and
after them a resource path called ``at``, even one that may be left out; a choice and all
else is an option. An option that would be mistaken for a global one is
called ``--field-NAME``. A secret is never an argument.
"""

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

import click

from moothall.client.catalog import Catalog, Schema
from moothall.client.cli.settings import RESERVED
from moothall.client.cli.text import neutralise
from moothall.client.marks import override

NEGATIVE_MARK = "\0"
"""Stands before a word such as ``-5`` while click reads the line; no word can hold it."""


PLACE = "at"
"""The field that says at which resource, as in ``role grant NAME ROLE board/7``."""


class Kind(Enum):
    """How a field is given."""

    TEXT = auto()
    INTEGER = auto()
    NUMBER = auto()
    FLAG = auto()
    CHOICE = auto()
    SECRET = auto()
    REPEATED = auto()
    JSON = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a request.

    Attributes:
        name: On the wire.
        kind: How it is given; for ``REPEATED``, ``item`` is how each one is.
        is_required: It has no default.
        summary: What it is.
        default: Its default as text, or ''.
        choices: Values of a choice.
        item: Kind of each value of a repeated one.
    """

    name: str
    kind: Kind
    is_required: bool
    summary: str = ""
    default: str = ""
    choices: tuple[str, ...] = ()
    item: Kind = Kind.TEXT

    @property
    def option(self) -> str:
        """Name of its option, without the leading hyphens."""
        name = self.name.replace("_", "-")
        return f"field-{name}" if name in RESERVED else name

    @property
    def is_positional(self) -> bool:
        """Whether it stands in its place, without a name."""
        is_place = self.name == PLACE and self.kind is Kind.TEXT
        return is_place or (
            self.is_required and self.kind in {Kind.TEXT, Kind.INTEGER, Kind.NUMBER}
        )


def fields_of(schema: Schema, catalog: Catalog) -> list[Field]:
    """Return the fields of a request, in the order of its schema."""
    properties = schema.get("properties")
    required = schema.get("required")
    if not isinstance(properties, Mapping):
        return []
    needed = set(required) if isinstance(required, list) else set()
    fields = [
        _field(name, one, name in needed, catalog)
        for name, one in properties.items()
        if isinstance(name, str) and isinstance(one, Mapping)
    ]
    # What may be left out comes last, or a word for what follows would be taken for it.
    return sorted(fields, key=lambda field: field.name == PLACE and not field.is_required)


def _field(name: str, schema: Schema, is_required: bool, catalog: Catalog) -> Field:  # noqa: FBT001
    core = _core(schema, catalog)
    kind = _kind(core, catalog)
    items = _core(core.get("items"), catalog) if kind is Kind.REPEATED else {}
    summary = schema.get("description") or core.get("description") or ""
    default = schema.get("default")
    return Field(
        name=name,
        kind=kind,
        is_required=is_required,
        summary=neutralise(str(summary)),
        default="" if default in (None, "") else neutralise(json.dumps(default).strip('"')),
        choices=_choices(core) or _choices(items),
        item=_kind(items, catalog) if items else Kind.TEXT,
    )


def _core(schema: object, catalog: Catalog) -> Schema:
    """Return the schema of the value itself: without references and without null."""
    found = catalog.resolve(schema)
    for word in ("anyOf", "oneOf", "allOf"):
        options = found.get(word)
        if isinstance(options, list):
            real = [catalog.resolve(one) for one in options]
            real = [one for one in real if one.get("type") != "null"]
            if len(real) == 1:
                return real[0]
    return found


_SIMPLE = {
    "string": Kind.TEXT,
    "integer": Kind.INTEGER,
    "number": Kind.NUMBER,
    "boolean": Kind.FLAG,
}


def _kind(core: Schema, catalog: Catalog) -> Kind:
    if _choices(core):
        return Kind.CHOICE
    word = core.get("type")
    if isinstance(word, list):
        word = next((one for one in word if one != "null"), None)
    if word == "string" and core.get("format") == "password":
        return Kind.SECRET
    if word == "array" and "prefixItems" not in core:
        item = _kind(_core(core.get("items"), catalog), catalog)
        return (
            Kind.REPEATED if item in {Kind.CHOICE, *_SIMPLE.values()} - {Kind.FLAG} else Kind.JSON
        )
    return _SIMPLE.get(word, Kind.JSON) if isinstance(word, str) else Kind.JSON


def _choices(core: Schema) -> tuple[str, ...]:
    values = core.get("enum")
    if isinstance(values, list) and values and all(isinstance(one, str) for one in values):
        return tuple(values)
    return ()


# --- as parameters of click ---------------------------------------------------------------------


class FieldType(click.ParamType[Any]):
    """Turns a word of the command line into a value of the wire."""

    def __init__(self, field: Field, kind: Kind) -> None:
        self.name = {Kind.INTEGER: "integer", Kind.NUMBER: "number", Kind.JSON: "json|@file"}.get(
            kind, "text"
        )
        self._field = field
        self._kind = kind

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value that a word means."""
        if not isinstance(value, str):
            return value
        word = value.removeprefix(NEGATIVE_MARK)
        try:
            return read_value(word, self._kind)
        except ValueError as error:
            self.fail(f"{neutralise(word)!r}: {error}", param, ctx)


class ChoiceType(click.Choice[str]):
    """A choice whose words may begin with a hyphen."""

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the choice that a word means."""
        word = value.removeprefix(NEGATIVE_MARK) if isinstance(value, str) else value
        return super().convert(word, param, ctx)


def read_value(word: str, kind: Kind) -> Any:
    """Return the value that a word of the command line means.

    Raises:
        ValueError: It means none; the message says what is expected.
    """
    match kind:
        case Kind.INTEGER:
            return _integer(word)
        case Kind.NUMBER:
            return _number(word)
        case Kind.JSON:
            return read_json(word)
        case _:
            return word


def read_json(word: str) -> Any:
    """Return the JSON value in a word, in a file (``@FILE``) or on standard input (``-``).

    Raises:
        ValueError: There is none.
    """
    try:
        if word in {"-", "@-"}:
            text = sys.stdin.read()
        elif word.startswith("@"):
            text = Path(word[1:]).read_text(encoding="utf-8-sig")
        else:
            text = word
        return json.loads(text, parse_constant=_refuse_constant)
    except OSError as error:
        raise ValueError(f"the file cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise ValueError("this is no JSON text") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"this is no JSON text ({error})") from error


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON number")


def _integer(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise ValueError("give a whole number") from None


def _number(word: str) -> int | float:
    try:
        value = float(word)
    except ValueError:
        raise ValueError("give a number such as 128.99") from None
    if not math.isfinite(value):
        raise ValueError("give a finite number")
    try:
        return int(word)
    except ValueError:
        return value


def parameters_of(field: Field) -> list[click.Parameter]:
    """Return the parameters of a command through which a field is given."""
    summary = field.summary
    if field.kind is Kind.SECRET:
        word = f"--{field.option}-stdin"
        text = f"Read {field.name} from standard input, one line. Without this it is asked for."
        return [click.Option([f"{field.name}__stdin", word], is_flag=True, help=text)]
    if field.is_positional:
        name = field.name.replace("_", "-").upper().replace("-", "_")
        return [
            click.Argument(
                [field.name],
                type=_type(field, field.kind),
                required=field.is_required,
                metavar=name if field.is_required else f"[{name}]",
                help=summary or None,
            )
        ]
    if field.default:
        summary = f"{summary} [default: {field.default}]".strip()
    if field.kind is Kind.FLAG:
        words = f"--{field.option}/--no-{field.option}"
        return [
            click.Option(
                [field.name, words], default=None, required=field.is_required, help=summary
            )
        ]
    is_many = field.kind is Kind.REPEATED
    if is_many:
        summary = f"{summary} May be repeated.".strip()
    return [
        click.Option(
            [field.name, f"--{field.option}"],
            type=_type(field, field.item if is_many else field.kind),
            required=field.is_required,
            multiple=is_many,
            help=summary,
        )
    ]


def _type(field: Field, kind: Kind) -> click.ParamType[Any]:
    return ChoiceType(field.choices) if kind is Kind.CHOICE else FieldType(field, kind)
