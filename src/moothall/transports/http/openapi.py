"""The API document: OpenAPI 3.1 from the declared actions, always in the same order.

The extension ``x-moothall`` of each operation holds what OpenAPI has no words for; the
command line and the SDK are derived from it, so its members are part of the promise.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from moothall import __version__
from moothall.action.access import Signed
from moothall.action.declare import Action, Effect
from moothall.action.limiter import PerActor
from moothall.core.codes import HTTP_STATUS
from moothall.core.errors import FRAMEWORK_ERRORS, ActionError, Problem
from moothall.core.units import DEADLINE_MS_MAX
from moothall.transports.http.files import RangeNotSatisfiableError

_REF = "#/components/schemas/{name}"
_JSON = "application/json"
_PROBLEM_JSON = "application/problem+json"
_DESCRIPTION = (
    "Every action is called with POST at /v1/<room>.<action>; the body is the request and the"
    " answer is the result. A call that fails answers a problem object (RFC 9457): decide by"
    " `code`, tell errors apart by `name`. Ids are strings, times are UTC epoch milliseconds,"
    " and integers stay within 2^53-1. Ignore members of a result that you do not know."
)


def build_openapi(actions: Iterable[Action[Any, Any]]) -> bytes:
    """Return the API document of ``actions`` as JSON text."""
    ordered = sorted(actions, key=lambda action: action.name)
    types = [type_ for action in ordered for type_ in (action.request_type, action.result_type)]
    schemas, components = msgspec.json.schema_components(
        [*types, Problem], schema_hook=_schema_of_other, ref_template=_REF
    )
    _let_answer(schemas[1::2], components, set())
    paths = {}
    for action, request, result in zip(ordered, schemas[::2], schemas[1::2], strict=False):
        paths[f"/v1/{action.name}"] = {"post": _operation(action, request, result)}
    paths |= _documents() | _files({action.name: action for action in ordered}, paths)
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Moothall", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": room} for room in sorted({action.room for action in ordered})],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "parameters": {"DeadlineMs": _deadline_ms(), "IdempotencyKey": _idempotency_key()},
            "responses": {
                _shared_name(status): _problem_response(errors)
                for status, errors in sorted(_by_status(FRAMEWORK_ERRORS).items())
            },
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }
    return msgspec.json.encode(document)


def _schema_of_other(type_: type) -> dict[str, Any]:
    """Return the schema of a type that msgspec has none for: ``object`` is any JSON value."""
    if type_ is object:
        return {"description": "Any JSON value."}
    raise NotImplementedError


def _let_answer(schema: object, components: Mapping[str, Any], seen: set[str]) -> None:
    """Take ``writeOnly`` off what a result holds: there, a secret is handed out.

    It would say that no answer ever holds the value (JSON Schema Validation 2020-12, 9.4).
    """
    if isinstance(schema, list | tuple):
        for one in schema:
            _let_answer(one, components, seen)
    elif isinstance(schema, dict):
        if schema.get("writeOnly") is True:  # and no property of that name
            del schema["writeOnly"]
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        if name in components and name not in seen:
            seen.add(name)
            _let_answer(components[name], components, seen)
        for one in schema.values():
            _let_answer(one, components, seen)


def _operation(
    action: Action[Any, Any], request: Mapping[str, Any], result: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the operation object of one action."""
    fields = msgspec.structs.fields(action.request_type)
    operation: dict[str, Any] = {
        "operationId": action.name,
        "tags": [action.room],
        "summary": action.summary,
        "description": action.description,
        "security": [{"bearer": []}] if isinstance(action.access, Signed) else [],
        "parameters": [{"$ref": "#/components/parameters/DeadlineMs"}],
        "requestBody": {
            "required": any(field.required for field in fields),
            "content": {_JSON: {"schema": request}},
        },
        "responses": {
            "200": {"description": "The result.", "content": {_JSON: {"schema": result}}},
            **_problem_responses(action),
        },
        "x-moothall": _extension(action),
    }
    if action.effect is Effect.WRITE and isinstance(action.access, Signed):
        operation["parameters"].append({"$ref": "#/components/parameters/IdempotencyKey"})
    return operation


def _extension(action: Action[Any, Any]) -> dict[str, Any]:
    """Return the facts of the declaration."""
    access = action.access if isinstance(action.access, Signed) else None
    return {
        "effect": action.effect.value,
        "command": list(action.command),
        "permission": access.permission if access else None,
        # A store function finds the place in the database; a client cannot.
        "at": access.at if access and isinstance(access.at, str) else None,
        "limit": {
            "per": "actor" if isinstance(action.limit, PerActor) else "source",
            "calls": action.limit.calls,
            "window_ms": action.limit.window_ms,
        },
        "secret_reply": action.secret_reply,
        "errors": [
            {"name": error.name, "code": error.code.value, "title": error.title}
            for error in _errors_of(action)
        ],
    }


def _errors_of(action: Action[Any, Any]) -> tuple[type[ActionError], ...]:
    """Return what a call can fail with, the room's own errors first."""
    return (*action.raises, *FRAMEWORK_ERRORS)


def _problem_responses(action: Action[Any, Any]) -> dict[str, Any]:
    """Return a response for each status; what only the framework answers is shared."""
    own = _by_status(action.raises)
    framework = _by_status(FRAMEWORK_ERRORS)
    return {
        str(status): _problem_response([*own[status], *framework.get(status, ())])
        if status in own
        else {"$ref": f"#/components/responses/{_shared_name(status)}"}
        for status in sorted({*own, *framework})
    }


def _by_status(errors: Iterable[type[ActionError]]) -> dict[int, list[type[ActionError]]]:
    found: dict[int, list[type[ActionError]]] = defaultdict(list)
    for error in errors:
        found[HTTP_STATUS[error.code]].append(error)
    return dict(found)


def _problem_response(errors: Iterable[type[ActionError]]) -> dict[str, Any]:
    lines = [f"- `{error.name}` ({error.code.value}): {error.title}" for error in errors]
    schema = {"$ref": _REF.format(name=Problem.__name__)}
    return {"description": "\n".join(lines), "content": {_PROBLEM_JSON: {"schema": schema}}}


def _shared_name(status: int) -> str:
    return f"Problem{status}"


def _idempotency_key() -> dict[str, Any]:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": (
            "Chosen by the client, new for each deed. The same call with the same key within"
            " 24 hours answers the same again and changes nothing."
        ),
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    }


def _deadline_ms() -> dict[str, Any]:
    return {
        "name": "Deadline-Ms",
        "in": "header",
        "required": False,
        "description": (
            "How long the client waits for the answer, in milliseconds. A call that has not begun"
            " by then is not begun any more, and one of several steps (effect flow) is given up;"
            " both answer deadline_exceeded."
        ),
        "schema": {"type": "integer", "minimum": 1, "maximum": DEADLINE_MS_MAX},
    }


def _documents() -> dict[str, Any]:
    """Return the paths that are not actions."""

    def reading(operation_id: str, summary: str, description: str) -> dict[str, Any]:
        content = {_JSON: {"schema": {"type": "object"}}}
        return {
            "get": {
                "operationId": operation_id,
                "summary": summary,
                "security": [],
                "responses": {"200": {"description": description, "content": content}},
            }
        }

    return {
        "/.well-known/jwks.json": reading(
            "jwks", "The keys that sign access tokens (RFC 7517).", "A JSON Web Key Set."
        ),
        "/.well-known/moothall": _description(),
        "/healthz": reading("healthz", "Tell that the hall answers.", "It does."),
        "/openapi.json": reading("openapi", "This document.", "An OpenAPI document."),
    }


def _files(actions: Mapping[str, Action[Any, Any]], paths: Mapping[str, Any]) -> dict[str, Any]:
    """Return the path of whole files, where the room of files is served.

    Args:
        actions: All of them, by name.
        paths: Those of the actions.
    """
    if "files.put_chunk" not in actions:
        return {}
    put, get = actions["files.put_chunk"], actions["files.get_chunk"]
    whole: dict[str, Any] = {"application/octet-stream": {"schema": {}}}
    upload = paths[f"/v1/{put.name}"]["post"]["responses"]["200"]["content"]
    sha256 = {
        "name": "sha256",
        "in": "path",
        "required": True,
        "description": "SHA-256 of all bytes of the file, in small letters.",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    }
    part = {
        "name": "Range",
        "in": "header",
        "required": False,
        "description": "One range of bytes (RFC 9110, section 14.2); several give the whole.",
        "schema": {"type": "string"},
    }
    sending = {
        "operationId": "put_file",
        "tags": ["files"],
        "summary": "Upload a whole file.",
        "description": (
            "The body is the file, with Content-Length or in chunks, and at least 64 KiB of it"
            " come in 30 s. It is files.put_chunk, 256 KiB at a time: one that was cut off goes on"
            " by that, at the offset of files.get_upload. A file that was uploaded before is sent"
            " again, whole."
        ),
        "security": [{"bearer": []}],
        "requestBody": {"required": True, "content": whole},
        "responses": {
            "200": {"description": "You had uploaded this file before.", "content": upload},
            "201": {"description": "The file is there.", "content": upload},
            **_problem_responses(put),
        },
    }
    reading = {
        "tags": ["files"],
        "summary": "Read a whole file, or a part of it.",
        "description": (
            "Whoever uploaded it reads it, and whoever may see what refers to it. The entity tag"
            " is the hash; If-None-Match and If-Range compare it."
        ),
        "security": [{"bearer": []}],
        "parameters": [part],
        "responses": {
            "200": {"description": "The file.", "content": whole},
            "206": {"description": "The part that was asked for.", "content": whole},
            "304": {"description": "The client has it."},
            "416": _problem_response([RangeNotSatisfiableError]),
            **_problem_responses(get),
        },
    }
    return {
        "/v1/files/{sha256}": {
            "parameters": [sha256],
            "put": sending,
            "get": {"operationId": "get_file", **reading},
        }
    }


def _description() -> dict[str, Any]:
    """Return the path of what a hall says of itself before anybody signs in."""
    members: dict[str, dict[str, Any]] = {
        "issuer": {"type": "string", "description": "`iss` of the tokens that it takes."},
        "audience": {"type": "string", "description": "`aud` of the tokens that it takes."},
        "is_issuer": {"type": "boolean", "description": "Whether it makes them itself."},
        "issuer_url": {
            "type": ["string", "null"],
            "description": "Where it fetches the keys of tokens; null if it makes them itself.",
        },
        "rooms": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Names of what it serves.",
        },
        "version": {"type": "string", "description": "Release of the program."},
    }
    schema = {"type": "object", "properties": members, "required": list(members)}
    return {
        "get": {
            "operationId": "describe",
            "summary": "Tell whose tokens this hall takes, and what it serves.",
            "security": [],
            "responses": {
                "200": {
                    "description": "What the hall says of itself.",
                    "content": {_JSON: {"schema": schema}},
                }
            },
        }
    }
