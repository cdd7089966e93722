"""The API document of a real hall: all that is declared, nothing else, and true to form."""

import ssl
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

from moothall import __version__
from moothall.action.access import Signed
from moothall.action.catalog import Catalog
from moothall.action.declare import READ, WRITE, Action
from moothall.app.discovery import find_rooms
from moothall.core.errors import FRAMEWORK_ERRORS, ActionError
from tests.plays.conftest import RunningHall

FILES = {"/v1/files/{sha256}"}
DOCUMENTS = {"/.well-known/jwks.json", "/.well-known/moothall", "/healthz", "/openapi.json"}
CATALOG = Catalog(find_rooms((), ()))
PUBLIC_MEMBERS = {"alg", "crv", "key_ops", "kid", "kty", "use", "x"}
SECRET_FIELDS = {
    "assertion",
    "code",
    "invitation",
    "new_password",
    "password",
    "refresh_token",
    "secret",
    "token",
}

# The description is made of declarations, and rests on no rows.
pytestmark = pytest.mark.sqlite

each_action = pytest.mark.parametrize("action", CATALOG.actions.values(), ids=lambda one: one.name)

Schema = Mapping[str, Any]


@pytest.fixture(name="door", scope="module")
def open_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    hall = RunningHall(tmp_path_factory.mktemp("openapi") / "hall")
    try:
        trust = ssl.create_default_context(cafile=hall.folder / "tls" / "certificate.pem")
        with httpx.Client(base_url=hall.url, verify=trust, trust_env=False) as client:
            yield client
    finally:
        hall.stop()


@pytest.fixture(name="document", scope="module")
def fetch_document(door: httpx.Client) -> Any:
    answer = door.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def operation_of(document: Schema, action: Action[Any, Any]) -> Any:
    return document["paths"][f"/v1/{action.name}"]["post"]


def objects_in(schema: Any, schemas: Schema, seen: set[str]) -> Iterator[tuple[str, Schema]]:
    """Yield each object that a schema holds, by the name where it was found."""
    if isinstance(schema, list):
        for one in schema:
            yield from objects_in(one, schemas, seen)
    if not isinstance(schema, dict):
        return
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        if name not in seen:
            seen.add(name)
            yield from objects_in({**schemas[name], "title": name}, schemas, seen)
    if "properties" in schema:
        yield schema.get("title", "?"), schema
    for key, one in schema.items():
        if key not in {"$ref", "default", "description", "title"}:
            yield from objects_in(one, schemas, seen)


def request_objects(document: Schema, action: Action[Any, Any]) -> list[tuple[str, Schema]]:
    content = operation_of(document, action)["requestBody"]["content"]
    assert set(content) == {"application/json"}
    schemas = document["components"]["schemas"]
    return list(objects_in(content["application/json"]["schema"], schemas, set()))


@pytest.mark.requirement("R40")
def test_it_is_a_valid_document(document: Any) -> None:
    validate(document)
    assert document["openapi"].startswith("3.1")


@pytest.mark.requirement("R40")
@pytest.mark.requirement("R41")
def test_every_declared_action_is_there_and_nothing_else(document: Any) -> None:
    actions = {f"/v1/{name}" for name in CATALOG.actions}
    assert set(document["paths"]) == actions | DOCUMENTS | FILES
    assert all(set(document["paths"][path]) == {"post"} for path in actions)
    assert all(set(document["paths"][path]) == {"get"} for path in DOCUMENTS)
    assert all(set(document["paths"][path]) == {"get", "put", "parameters"} for path in FILES)


@each_action
@pytest.mark.requirement("R40")
def test_its_facts_are_told(document: Any, action: Action[Any, Any]) -> None:
    operation = operation_of(document, action)
    assert operation["summary"].endswith(".")
    assert operation["operationId"] == action.name
    permission = action.access.permission if isinstance(action.access, Signed) else None
    assert operation["security"] == ([{"bearer": []}] if permission else [])
    facts = operation["x-moothall"]
    assert facts["effect"] == action.effect
    assert facts["command"] == list(action.command)
    assert facts["permission"] == permission
    assert facts["limit"]["calls"] == action.limit.calls
    assert facts["limit"]["window_ms"] == action.limit.window_ms
    deadline, *key = [one["$ref"].rpartition("/")[2] for one in operation["parameters"]]
    assert deadline == "DeadlineMs"
    takes_key = permission is not None and action.effect is WRITE
    assert key == (["IdempotencyKey"] if takes_key else [])


@each_action
@pytest.mark.requirement("R40")
def test_its_errors_are_named(document: Any, action: Action[Any, Any]) -> None:
    operation = operation_of(document, action)
    told = [error["name"] for error in operation["x-moothall"]["errors"]]
    expected: tuple[type[ActionError], ...] = (*action.raises, *FRAMEWORK_ERRORS)
    assert told == [error.name for error in expected]
    answers = operation["responses"]
    shared = document["components"]["responses"]
    texts = [shared[one["$ref"].rpartition("/")[2]] if "$ref" in one else one
             for status, one in answers.items() if status != "200"]  # fmt: skip
    described = " ".join(one["description"] for one in texts)
    assert all(f"`{name}`" in described for name in told)
    assert all(set(one["content"]) == {"application/problem+json"} for one in texts)


@each_action
@pytest.mark.requirement("R32")
def test_its_request_refuses_unknown_fields(document: Any, action: Action[Any, Any]) -> None:
    found = request_objects(document, action)
    assert found
    for name, one in found:
        assert one["additionalProperties"] is False, name
        # Whoever sends nothing needs no field: an empty body is an empty object.
        assert set(one.get("required", ())) <= set(one["properties"])


@pytest.mark.requirement("R110")
def test_secret_fields_say_so(document: Any) -> None:
    found = set()
    for action in CATALOG.actions.values():
        for _, one in request_objects(document, action):
            for name, whole in one["properties"].items():
                # What may be left out is a secret or null.
                field = whole.get("anyOf", [whole])[0]
                is_secret = field.get("format") == "password"
                assert is_secret == (name in SECRET_FIELDS), f"{action.name}: {name}"
                assert not is_secret or field["writeOnly"]
                found |= {name} if is_secret else set()
    assert found == SECRET_FIELDS


@pytest.mark.requirement("R41")
@each_action
def test_it_is_reachable(door: httpx.Client, action: Action[Any, Any]) -> None:
    """Each action answers a call without token in its own way, and none is unknown."""
    answer = door.post(f"/v1/{action.name}", json={})
    if answer.status_code == 200:
        assert not isinstance(action.access, Signed)
        assert action.effect is READ
        return
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    told = {"unauthenticated", "invalid_argument"}
    if not isinstance(action.access, Signed):
        told |= {error.code for error in action.raises}  # its own answer to whoever asks
    assert problem["code"] in told
    assert problem["status"] == answer.status_code
    assert problem["request_id"]


@pytest.mark.requirement("R41")
def test_what_is_not_declared_is_refused_by_name(door: httpx.Client) -> None:
    answer = door.post("/v1/hall.pong", json={})
    assert answer.status_code == 501, answer.text
    assert answer.json()["name"] == "unknown_action"
    assert "hall.ping" in answer.json()["details"]["near"]
    inside = door.post("/v1/identity.store", json={})
    assert inside.json()["name"] == "unknown_action"


def test_the_hall_says_that_it_answers(door: httpx.Client) -> None:
    answer = door.get("/healthz")
    assert answer.status_code == 200
    assert isinstance(answer.json(), dict)


@pytest.mark.requirement("R3")
def test_anybody_learns_whose_tokens_the_hall_takes(door: httpx.Client) -> None:
    answer = door.get("/.well-known/moothall")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "max-age=60")
    told = answer.json()
    described = door.get("/openapi.json").json()["paths"]["/.well-known/moothall"]["get"]
    schema = described["responses"]["200"]["content"]["application/json"]["schema"]
    assert set(told) == set(schema["required"]) == set(schema["properties"])
    assert told["issuer"] == told["audience"]
    assert told["issuer"]
    assert (told["is_issuer"], told["issuer_url"]) == (True, None)
    assert told["rooms"] == sorted(CATALOG.rooms)
    assert told["version"] == __version__
    assert door.post("/.well-known/moothall").status_code == 405


@pytest.mark.requirement("R2")
@pytest.mark.requirement("R3")
def test_the_keys_are_public_only(door: httpx.Client) -> None:
    answer = door.get("/.well-known/jwks.json")
    assert answer.status_code == 200
    keys = answer.json()["keys"]
    assert keys
    for key in keys:
        assert (key["kty"], key["crv"]) == ("OKP", "Ed25519")
        assert key["kid"]
        assert set(key) <= PUBLIC_MEMBERS, "a member of a private key is shown"
