"""Whoever knows only the API document finds no call that breaks the hall, or breaks the document.

Schemathesis makes calls from the document that a real hall serves: such as it allows, and such
as it does not. In a third of them an id is one that is really there.
"""

import ssl
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema_rs import Draft202012Validator
from schemathesis.checks import (
    content_type_conformance,
    negative_data_rejection,
    not_a_server_error,
    status_code_conformance,
)
from schemathesis.generation import GenerationMode

from moothall.action.access import Signed
from moothall.action.catalog import Catalog
from moothall.action.declare import Action
from moothall.app.discovery import find_rooms
from tests.plays.conftest import PASSWORD, RunningHall

EXAMPLES = 8
"""Calls of each kind an action; with all actions some 30 seconds."""

DEADLINE_EXCEEDED = 504

CATALOG = Catalog(find_rooms((), ()))
LAST_CALLS = {"hall.shutdown"}
"""After these there is nobody to ask."""
OWN_END = {
    "identity.change_password",
    "identity.close_session",
    "identity.remove_account",
    "identity.rename_self",
}
"""These may end the session or account that calls."""


def no_fault(context: Any, response: Any, case: Any) -> bool | None:
    """Check that it is no fault of the hall; to be late is none if the caller set the time."""
    if response.status_code == DEADLINE_EXCEEDED and "Deadline-Ms" in (case.headers or {}):
        return None
    return not_a_server_error(context, response, case)


CHECKS = [
    no_fault,
    status_code_conformance,
    content_type_conformance,
    negative_data_rejection,
]
"""Whether an answer has the form it should have is looked at here: Schemathesis takes ``items``
beside ``prefixItems`` for what an older draft meant by it."""


class Site:
    """A hall with a board, an administrator and a member."""

    def __init__(self, hall: RunningHall, http: httpx.Client) -> None:
        self.http = http
        self.url = hall.url
        self.session = requests.Session()
        self.certificate = str(hall.folder / "tls" / "certificate.pem")
        self.session.trust_env = False
        self.administrator = self.join("boss")
        claim = {"secret": hall.secret}
        self.call("access.claim_administration", claim, self.administrator["access_token"])
        self.member = self.join("ada")
        board = {"name": "Main", "direction": "descending", "board_id": "main"}
        board["default_level"] = "write"
        self.call("leaderboards.create_board", board, self.administrator["access_token"])
        score = {"board_id": "main", "score": 7}
        entry = self.call("leaderboards.submit_score", score, self.member["access_token"])
        self.known = {
            "board_id": "main",
            "entry_id": entry["entry_id"],
            "member": "ada",
            "member_id": self.member["member_id"],
            "session_id": self.member["session_id"],
            "at": "board/main",
        }
        document = self.http.get("/openapi.json").json()
        self.result_forms = {
            action: self._form_of(document, answer)
            for action, answer in self._answers(document).items()
        }
        problem = {"$ref": "#/components/schemas/Problem"}
        self.problem_form = self._form_of(document, problem)
        self.schema = schemathesis.openapi.from_dict(self._with_known(document))

    def join(self, name: str) -> Any:
        fields = {"name": name, "password": PASSWORD}
        self.call("identity.register", fields)
        return self.call("identity.open_session", fields)

    def call(self, action: str, request: object, token: str = "") -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = self.http.post(f"/v1/{action}", json=request, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    @staticmethod
    def _answers(document: Any) -> dict[str, Any]:
        posts = [path["post"] for path in document["paths"].values() if "post" in path]
        return {
            post["operationId"]: post["responses"]["200"]["content"]["application/json"]["schema"]
            for post in posts
        }

    @staticmethod
    def _form_of(document: Any, schema: Any) -> Draft202012Validator:
        return Draft202012Validator({**schema, "components": document["components"]})

    def _with_known(self, document: Any) -> Any:
        """Return the document with values that are there beside all that could be there."""
        paths = document["paths"]
        document["paths"] = {path: paths[path] for path in paths if "post" in paths[path]}
        for schema in document["components"]["schemas"].values():
            fields = schema.get("properties", {})
            for name in fields.keys() & self.known.keys():
                fields[name] = {"anyOf": [fields[name], fields[name], {"const": self.known[name]}]}
        return document


@pytest.fixture(name="site", scope="module")
def open_site(
    tmp_path_factory: pytest.TempPathFactory,
    engine: str,  # on each engine its own
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("schemathesis")
    config = folder / "moothall.toml"
    config.write_text("limits_scale = 1000.0\n")
    hall = RunningHall(folder / "hall", "--config", str(config))
    try:
        trust = ssl.create_default_context(cafile=hall.folder / "tls" / "certificate.pem")
        with httpx.Client(base_url=hall.url, verify=trust, trust_env=False) as http:
            site = Site(hall, http)
            with site.session:
                yield site
            assert http.get("/healthz").status_code == 200
    finally:
        hall.stop()
    log = (folder / "hall.log").read_text()
    assert "Traceback" not in log, log


@pytest.mark.requirement("R32")
@pytest.mark.requirement("R40")
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda one: one.value)
@pytest.mark.parametrize(
    "action",
    [action for name, action in CATALOG.actions.items() if name not in LAST_CALLS],
    ids=lambda one: one.name,
)
def test_no_call_breaks_the_hall(
    site: Site, action: Action[Any, Any], mode: GenerationMode
) -> None:
    operation = site.schema[f"/v1/{action.name}"]["POST"]
    visitor = site.member if action.name in OWN_END else site.administrator
    headers = {}
    if isinstance(action.access, Signed):
        headers["Authorization"] = f"Bearer {visitor['access_token']}"

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        answer = case.call_and_validate(
            base_url=site.url,
            session=site.session,
            verify=site.certificate,
            headers=headers,
            checks=CHECKS,
        )
        is_result = answer.status_code == 200
        form = site.result_forms[action.name] if is_result else site.problem_form
        form.validate(answer.json())

    run()
