import re
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import validate

from moothall import __version__
from moothall.action import (
    PUBLIC,
    READ,
    WRITE,
    Context,
    PerActor,
    PerSource,
    Request,
    Result,
    Secret,
    Signed,
    action,
)
from moothall.action.catalog import Catalog
from moothall.action.declare import Action
from moothall.app.discovery import find_rooms
from moothall.core.codes import Code
from moothall.core.errors import ActionError
from moothall.transports.http import build_openapi


class BoardNotFoundError(ActionError):
    """There is no such board that you may read."""

    code = Code.NOT_FOUND


class Ping(Request, frozen=True):
    """Asks for nothing."""


class Pong(Result, frozen=True):
    answer: str


class SubmitScore(Request, frozen=True):
    board_id: str
    score: float


class Standing(Result, frozen=True):
    place: int | None


@action(
    access=PUBLIC, effect=READ, limit=PerSource(calls=10, window_ms=1_000), raises=(), room="hall"
)
async def ping(ctx: Context, request: Ping) -> Pong:
    """Answer pong.

    It shows that the hall is there.
    """
    return Pong(answer="pong")


@action(
    access=Signed("scores:write", at="board/{board_id}"),
    effect=WRITE,
    limit=PerActor(calls=30, window_ms=1_000),
    raises=(BoardNotFoundError,),
    room="leaderboards",
)
async def submit_score(ctx: Context, request: SubmitScore) -> Standing:
    """Submit a score."""
    return Standing(place=None)


@action(
    access=Signed("scores:read"),
    effect=READ,
    limit=PerActor(calls=30, window_ms=1_000),
    raises=(),
    room="leaderboards",
    secret_reply=True,
)
async def list_scores(ctx: Context, request: Ping) -> list[Standing]:
    """List scores."""
    return []


ACTIONS: list[Action[Any, Any]] = [submit_score, ping, list_scores]


@pytest.fixture(name="document", scope="module")
def build_document() -> Any:
    return msgspec.json.decode(build_openapi(ACTIONS))


def test_it_is_openapi(document: Any) -> None:
    validate(document)
    assert document["openapi"].startswith("3.1")
    assert document["info"]["version"] == __version__


def test_an_empty_hall_has_a_document_too() -> None:
    validate(msgspec.json.decode(build_openapi([])))


def test_its_order_does_not_depend_on_discovery() -> None:
    assert build_openapi(ACTIONS) == build_openapi(reversed(ACTIONS))


def test_each_action_has_its_operation(document: Any) -> None:
    operation = document["paths"]["/v1/leaderboards.submit_score"]["post"]
    assert operation["operationId"] == "leaderboards.submit_score"
    assert operation["tags"] == ["leaderboards"]
    assert operation["summary"] == "Submit a score."
    assert operation["security"] == [{"bearer": []}]
    assert operation["parameters"] == [
        {"$ref": "#/components/parameters/DeadlineMs"},
        {"$ref": "#/components/parameters/IdempotencyKey"},
    ]
    assert operation["requestBody"]["required"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/SubmitScore"}
    assert "board_not_found" in operation["responses"]["404"]["description"]
    assert operation["responses"]["401"] == {"$ref": "#/components/responses/Problem401"}


def test_a_public_read_needs_neither_token_nor_key(document: Any) -> None:
    operation = document["paths"]["/v1/hall.ping"]["post"]
    assert operation["security"] == []
    assert operation["parameters"] == [{"$ref": "#/components/parameters/DeadlineMs"}]
    assert not operation["requestBody"]["required"]
    assert "It shows that the hall is there." in operation["description"]


def test_the_facts_of_a_declaration_are_told(document: Any) -> None:
    facts = document["paths"]["/v1/leaderboards.submit_score"]["post"]["x-moothall"]
    errors = facts.pop("errors")
    assert facts == {
        "effect": "write",
        "command": ["score", "submit"],
        "permission": "scores:write",
        "at": "board/{board_id}",
        "limit": {"per": "actor", "calls": 30, "window_ms": 1_000},
        "secret_reply": False,
    }
    assert errors[0] == {
        "name": "board_not_found",
        "code": "not_found",
        "title": "There is no such board that you may read.",
    }
    assert {"rate_limited", "internal"} <= {error["name"] for error in errors}
    public = document["paths"]["/v1/hall.ping"]["post"]["x-moothall"]
    assert (public["permission"], public["at"], public["limit"]["per"]) == (None, None, "source")
    secret = document["paths"]["/v1/leaderboards.list_scores"]["post"]["x-moothall"]
    assert secret["secret_reply"]


class MakeKey(Request, frozen=True):
    password: Secret


class Link(Result, frozen=True):
    code: Secret


class MadeKey(Result, frozen=True):
    key_id: str
    token: Secret
    links: tuple[Link, ...] = ()


@action(
    access=PUBLIC,
    effect=WRITE,
    limit=PerSource(calls=10, window_ms=1_000),
    raises=(),
    room="keys",
    secret_reply=True,
)
async def make_key(ctx: Context, request: MakeKey) -> MadeKey:
    """Make a key."""
    return MadeKey(key_id="7", token="hush")


def test_secrets_are_marked_in_requests_and_in_results() -> None:
    document = msgspec.json.decode(build_openapi([make_key]))
    schemas = document["components"]["schemas"]
    asked, answered = schemas["MakeKey"]["properties"], schemas["MadeKey"]["properties"]
    assert asked["password"]["format"] == answered["token"]["format"] == "password"
    # What is `writeOnly` may not stand in an answer.
    assert asked["password"]["writeOnly"]
    assert "writeOnly" not in answered["token"]
    assert "writeOnly" not in schemas["Link"]["properties"]["code"]
    assert "format" not in schemas["MadeKey"]["properties"]["key_id"]


def test_every_secret_of_the_rooms_is_marked() -> None:
    actions = Catalog(find_rooms((), ())).actions.values()
    schemas = msgspec.json.decode(build_openapi(actions))["components"]["schemas"]
    found = {
        f"{name}.{field}": schema.get("format")
        for name, one in schemas.items()
        for field, schema in one.get("properties", {}).items()
        if re.search(r"(^|_)(password|secret|token)$", field)
    }
    assert {"OpenedSession.access_token", "OpenedSession.refresh_token"} <= set(found)
    assert set(found.values()) == {"password"}
