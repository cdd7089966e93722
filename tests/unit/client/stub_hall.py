"""A hall of ten lines for the client's unit tests: it notes each request and answers as told."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from moothall.client import World

URL = "https://hall.example:8443"
LIFETIME_MS = 300_000

Reply = httpx.Response | Exception
Script = Callable[[httpx.Request], Reply]


def operation(
    name: str,
    effect: str,
    command: list[str],
    *,
    permission: str | None = "scores:write",
    request: Mapping[str, Any] | None = None,
    **extension: Any,
) -> dict[str, Any]:
    schema = request or {"type": "object", "properties": {}, "required": []}
    return {
        "post": {
            "operationId": name,
            "summary": f"Do {name}.",
            "description": f"Do {name}.\n\nMore about it.\n\nRaises:\n    Nothing.",
            "requestBody": {"content": {"application/json": {"schema": schema}}},
            "responses": {"200": {"content": {"application/json": {"schema": {}}}}},
            "x-moothall": {
                "effect": effect,
                "command": command,
                "permission": permission,
                **extension,
            },
        }
    }


SUBMIT = {
    "type": "object",
    "properties": {
        "board_id": {"type": "string", "description": "Which board."},
        "score": {"type": "number"},
        "description": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
    },
    "required": ["board_id", "score"],
}
CREATE = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "direction": {"$ref": "#/components/schemas/Direction"},
        "tags": {"type": "array", "items": {"type": "string"}, "default": []},
        "is_open": {"type": "boolean", "default": True},
        "limits": {"type": "object", "default": {}},
        "server": {"type": "string", "default": ""},
    },
    "required": ["name", "direction"],
}
KEY = {
    "type": "object",
    "properties": {
        "label": {"type": "string"},
        "secret": {"type": "string", "format": "password"},
    },
    "required": ["label", "secret"],
}
RANK = {
    "type": "object",
    "properties": {"board_id": {"type": "string"}, "member": {"type": "string", "default": ""}},
    "required": ["board_id"],
}

DOCUMENT = {
    "openapi": "3.1.0",
    "paths": {
        f"/v1/{name}": operation(name, *facts, **more)
        for name, facts, more in (
            ("hall.ping", ("read", ["hall", "ping"]), {"permission": None}),
            ("leaderboards.submit_score", ("write", ["score", "submit"]), {"request": SUBMIT}),
            ("leaderboards.get_rank", ("read", ["rank", "get"]), {"request": RANK}),
            ("leaderboards.create_board", ("write", ["board", "create"]), {"request": CREATE}),
            ("leaderboards.import_entries", ("write", ["entry", "import"]), {}),
            ("leaderboards.list_entries", ("read", ["entry", "list"]), {"request": RANK}),
            ("leaderboards.remove_entry", ("write", ["entry", "remove"]), {"request": RANK}),
            ("mail.send_letter", ("flow", ["letter", "send"]), {}),
            ("keys.add_key", ("flow", ["key", "add"]), {"request": KEY, "secret_reply": True}),
        )
    },
    "components": {"schemas": {"Direction": {"enum": ["ascending", "descending"]}}},
}


def problem(
    code: str = "unavailable", *, status: int = 503, retryable: bool = True, **details: Any
) -> httpx.Response:
    name = details.pop("name", code)
    return httpx.Response(
        status,
        json={
            "type": f"urn:moothall:problem:{name}",
            "title": f"It is {name}.",
            "status": status,
            "code": code,
            "name": name,
            "details": details,
            "retryable": retryable,
            "request_id": "r1",
        },
    )


UNAUTHENTICATED = {"status": 401, "retryable": False}


def tokens(generation: int = 1, *, now_ms: int = 0) -> dict[str, Any]:
    return {
        "session_id": "s1",
        "member_id": "m1",
        "name": "ann",
        "refresh_token": f"refresh-{generation}",
        "refresh_expires_at_ms": now_ms + 10**9,
        "access_token": f"access-{generation}",
        "access_expires_at_ms": now_ms + LIFETIME_MS,
    }


class StubHall:
    """Notes requests; answers sessions by itself and all else from a script."""

    def __init__(self, *replies: Reply, script: Script | None = None) -> None:
        self.replies = list(replies)
        self.script = script
        self.requests: list[httpx.Request] = []
        self.sign_ins: list[Any] = []
        self.documents = 0
        self.are_there = True
        self.document: Mapping[str, Any] = DOCUMENT
        self.description: Mapping[str, Any] | None = None
        self.generation = 0
        self.now_ms = 0

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.answer)

    def answer(self, request: httpx.Request) -> httpx.Response:
        match request.url.path:
            case "/openapi.json":
                if not self.are_there:
                    raise httpx.ConnectError("refused")
                self.documents += 1
                if request.headers.get("if-none-match") == '"v1"':
                    return httpx.Response(304)
                return httpx.Response(200, json=self.document, headers={"etag": '"v1"'})
            case "/.well-known/moothall":
                if not self.are_there:
                    raise httpx.ConnectError("refused")
                if self.description is None:
                    return problem("not_found", status=404, retryable=False)
                return httpx.Response(200, json=self.description)
            case "/v1/identity.open_session" | "/v1/identity.register_guest":
                self.sign_ins.append(json.loads(request.content))
                self.generation = 1
                return httpx.Response(200, json=tokens(now_ms=self.now_ms))
        self.requests.append(request)
        reply: Reply
        if self.script is not None:
            reply = self.script(request)
        else:
            reply = self.replies.pop(0) if self.replies else httpx.Response(200, json={"ok": True})
        if isinstance(reply, Exception):
            raise reply
        return reply

    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]

    def headers(self, name: str) -> list[str | None]:
        return [request.headers.get(name) for request in self.requests]


class ManualTime:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.seconds

    def now_ms(self) -> int:
        return int(self.seconds * 1_000)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds

    def world(self, hall: StubHall) -> World:
        keys = iter(range(1, 10_000))
        return World(
            monotonic=self.monotonic,
            now_ms=self.now_ms,
            sleep=self.sleep,
            fraction=lambda: 0.5,
            new_key=lambda: f"key-{next(keys)}",
            transport=hall.transport,
        )
