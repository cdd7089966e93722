"""What a hall offers, read from its `/openapi.json`. Pure.

The document comes from another machine, so nothing in it is taken for granted: an
operation that is not understood is left out, a document that is none is an error.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from moothall.client.errors import HallUnreachableError
from moothall.client.retry import Effect
from moothall.core.names import command_words

Schema = Mapping[str, Any]

_REFERENCE_PREFIX = "#/components/schemas/"
_REFERENCES_MAX = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One action as its declaration says.

    Attributes:
        name: Wire name, such as ``leaderboards.submit_score``.
        effect: What it does.
        is_public: Anybody may call; it takes no token and no idempotency key.
        command: Noun and verb on the command line.
        summary: First line of its description.
        description: The rest of it.
        request: Schema of the request, resolved.
        result: Schema of the result, resolved.
        secret_reply: The result holds a secret.
    """

    name: str
    effect: Effect
    is_public: bool
    command: tuple[str, str]
    summary: str = ""
    description: str = ""
    request: Schema = field(default_factory=dict)
    result: Schema = field(default_factory=dict)
    secret_reply: bool = False


@dataclass(frozen=True, slots=True)
class Catalog:
    """All actions of a hall by wire name, and the schemas that they share."""

    operations: Mapping[str, Operation]
    schemas: Mapping[str, Schema]

    def find(self, noun: str, verb: str) -> Operation | None:
        """Return the operation of a command, or None."""
        for operation in self.operations.values():
            if operation.command == (noun, verb):
                return operation
        return None

    def resolve(self, schema: object) -> Schema:
        """Follow references until a schema comes that is none."""
        for _ in range(_REFERENCES_MAX):
            if not isinstance(schema, Mapping):
                return {}
            reference = schema.get("$ref")
            if not isinstance(reference, str):
                return schema
            schema = self.schemas.get(reference.removeprefix(_REFERENCE_PREFIX))
        return {}


EMPTY = Catalog({}, {})


def read_catalog(document: bytes) -> Catalog:
    """Return what an OpenAPI document declares.

    Raises:
        HallUnreachableError: It is no OpenAPI document, so no hall answers there.
    """
    try:
        tree = msgspec.json.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        tree = None
    if not isinstance(tree, dict) or not isinstance(tree.get("paths"), dict):
        raise HallUnreachableError(
            "what answers there is no hall: its /openapi.json is not understood",
            "check the address",
        )
    schemas = _mapping(_mapping(tree.get("components")).get("schemas"))
    catalog = Catalog({}, schemas)
    found = {one.name: one for one in _operations(tree["paths"], catalog)}
    return Catalog(found, schemas)


def _operations(paths: Mapping[str, Any], catalog: Catalog) -> Iterator[Operation]:
    for path in paths.values():
        verbs = _mapping(path)
        operation = _operation(_mapping(verbs.get("post")), catalog)
        if operation is not None:
            yield operation


def _operation(spec: Mapping[str, Any], catalog: Catalog) -> Operation | None:
    name = spec.get("operationId")
    ours = _mapping(spec.get("x-moothall"))
    if not isinstance(name, str) or name.count(".") != 1 or ours.get("effect") not in set(Effect):
        return None
    room, _, verb_noun = name.partition(".")
    return Operation(
        name=name,
        effect=Effect(ours["effect"]),
        is_public=not ours.get("permission"),
        command=_command(ours.get("command")) or command_words(room, verb_noun),
        summary=_text(spec.get("summary")),
        description=_text(spec.get("description")),
        request=_body_schema(_mapping(spec.get("requestBody")), catalog),
        result=_body_schema(_mapping(_mapping(spec.get("responses")).get("200")), catalog),
        secret_reply=bool(ours.get("secret_reply")),
    )


def _body_schema(holder: Mapping[str, Any], catalog: Catalog) -> Schema:
    content = _mapping(holder.get("content"))
    return catalog.resolve(_mapping(content.get("application/json")).get("schema"))


def _command(words: object) -> tuple[str, str] | None:
    match words:
        case [str() as noun, str() as verb]:
            return noun, verb
        case _:
            return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
