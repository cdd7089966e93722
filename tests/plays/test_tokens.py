"""Tokens on their way: renewed by many hands at once, revoked in between, carried elsewhere."""

import asyncio
import json
import random
import ssl
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc.jwk import OKPKey

from moothall.action.token import TokenVerifier
from moothall.app.world import SystemClock
from moothall.core.errors import UnauthenticatedError
from moothall.services.identity.adapters.sessions import EndedSessions
from moothall.services.identity.rules.sessions import REFRESH_GRACE_MS
from moothall.testing import OpenHall, ProblemError, open_test_hall
from moothall.testing.hall import PASSWORD
from tests.plays.conftest import NewPerson, RunningHall, StartHall

SCORES, SHOP = "https://scores.example", "https://shop.example"


async def sign_in(hall: OpenHall, name: str) -> Any:
    return await hall.call("identity.open_session", {"name": name, "password": PASSWORD})


async def refresh(hall: OpenHall, token: str) -> Any:
    """Return the opened session, or None where it is over."""
    try:
        return await hall.call("identity.refresh_session", {"refresh_token": token})
    except ProblemError as problem:
        if problem.name != "session_ended":
            raise
        return None


async def is_in(hall: OpenHall, token: str) -> bool:
    return (await hall.answer("identity.get_self", token=token)).problem is None


# --- one hall, many hands -------------------------------------------------------------------------


@pytest.mark.requirement("R4", "R5")
async def test_fifty_renewals_at_once_give_one_successor_and_one_too_late_ends_all(
    tmp_path: Path,
) -> None:
    async with open_test_hall(tmp_path) as hall:
        await hall.member("ada")
        opened = await sign_in(hall, "ada")
        renewed = await asyncio.gather(*(refresh(hall, opened.refresh_token) for _ in range(50)))
        assert len({one.refresh_token for one in renewed}) == 1
        assert renewed[0].refresh_token != opened.refresh_token
        assert await hall.rows(
            "SELECT generation FROM identity_session WHERE session_id = $1", opened.session_id
        ) == [(2,)]
        assert len({one.access_token for one in renewed}) == 50, "each has a token of its own"
        assert all([await is_in(hall, one.access_token) for one in renewed])

        hall.clock.advance(REFRESH_GRACE_MS + 1)
        late = await asyncio.gather(*(refresh(hall, opened.refresh_token) for _ in range(50)))
        assert late == [None] * 50
        assert await refresh(hall, renewed[0].refresh_token) is None, "the family has ended"
        assert not any([await is_in(hall, one.access_token) for one in [opened, *renewed]])
        ended = [event.data for event in await hall.events("identity") if "ended" in event.kind]
        assert [data["session_id"] for data in ended] == [opened.session_id], "told once"


@pytest.mark.requirement("R5")
@pytest.mark.parametrize("seed", range(8))
async def test_after_a_revocation_nothing_is_valid_whatever_raced_it(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    async with open_test_hall(tmp_path) as hall:
        ada = await hall.member("ada")
        phone = await sign_in(hall, "ada")
        boss = await hall.administrator("boss")
        revocations = [
            ("identity.revoke_session", {"session_id": phone.session_id}, ada),
            ("identity.close_other_sessions", {}, ada),
            ("identity.revoke_sessions_of", {"member": "ada"}, boss),
        ]
        action, request, who = revocations[seed % len(revocations)]
        given: list[Any] = [phone]

        async def renew() -> None:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            if (renewed := await refresh(hall, given[-1].refresh_token)) is not None:
                given.append(renewed)

        async def revoke() -> None:
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            await hall.call(action, request, as_=who)

        deeds = [renew() for _ in range(12)]
        deeds.insert(chance.randrange(13), revoke())
        await asyncio.gather(*deeds)
        for one in given:
            assert await refresh(hall, one.refresh_token) is None
            assert not await is_in(hall, one.access_token)
        [(ended,)] = await hall.rows(
            "SELECT ended_at_ms FROM identity_session WHERE session_id = $1", phone.session_id
        )
        assert ended == hall.clock.now_ms()


@pytest.mark.requirement("R2", "R3", "R5")
async def test_tokens_of_another_hall_open_nothing_and_end_nothing(tmp_path: Path) -> None:
    async with (
        open_test_hall(tmp_path / "one") as one,
        open_test_hall(tmp_path / "two") as two,
    ):
        await one.member("ada")
        await two.member("ada")
        opened, foreign = await sign_in(one, "ada"), await sign_in(two, "ada")
        assert not await is_in(one, foreign.access_token)
        assert await refresh(one, foreign.refresh_token) is None
        session, generation, _ = opened.refresh_token.split(".")
        mixed = f"{session}.{generation}.{foreign.refresh_token.rpartition('.')[2]}"
        assert await refresh(one, mixed) is None
        assert await is_in(one, opened.access_token), "a forgery ends nobody's session"
        assert await refresh(one, opened.refresh_token) is not None


# --- a hall and two resource servers --------------------------------------------------------------


class ResourceServer:
    """Verifies offline, with keys that it fetches over TLS from the hall it trusts."""

    def __init__(self, hall: RunningHall, audience: str, issuer: str) -> None:
        self.generation = 0
        self._keys: dict[str, OKPKey] = {}
        self._url = f"{hall.url}/.well-known/jwks.json"
        self._tls = ssl.create_default_context(cafile=hall.folder / "tls" / "certificate.pem")
        self.fetch()
        clock = SystemClock()
        # It is cut off from the hall, so tokens end by their life only.
        ended = EndedSessions(clock)
        self._verifier = TokenVerifier(self, ended, clock, issuer=issuer, audience=audience)

    def fetch(self) -> None:
        published = httpx.get(self._url, verify=self._tls).raise_for_status().json()["keys"]
        assert all("d" not in key for key in published)
        self._keys = {key["kid"]: OKPKey.import_key(key) for key in published}
        self.generation += 1

    def takes(self, token: str) -> bool:
        try:
            self._verifier.verify(token)
        except UnauthenticatedError:
            return False
        return True

    def verifying_key(self, kid: str) -> OKPKey | None:
        return self._keys.get(kid)

    def signing_key(self) -> OKPKey:
        raise NotImplementedError

    def public_jwks(self) -> dict[str, object]:
        return {}


def kid_of(token: str) -> str:
    """Return which key has signed a token."""
    head = token.partition(".")[0]
    return str(json.loads(urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"])


@pytest.mark.requirement("R3")
def test_resource_servers_verify_offline_through_a_rotation_and_while_the_hall_is_down(
    tmp_path: Path, start_hall: StartHall, new_person: NewPerson
) -> None:
    issuer, settings = "https://hall.example", tmp_path / "moothall.toml"
    settings.write_text(f'public_url = "{issuer}"\n')
    hall = start_hall("hall", "--config", str(settings))
    boss, ann = new_person(), new_person()
    boss.joins(hall, "boss")
    boss.does("administration", "claim", "--secret-stdin", stdin=f"{hall.secret}\n")
    for audience in (SCORES, SHOP):
        boss.does("audience", "add", audience, "--summary", "a server of this test")
    ann.joins(hall, "ann")
    scores, shop = (ResourceServer(hall, name, issuer) for name in (SCORES, SHOP))

    def get_token(audience: str) -> str:
        words = ("token", "issue", audience, "--json", "--show-secrets")
        return str(json.loads(ann.does(*words))["access_token"])

    before = get_token(SCORES)
    assert scores.takes(before)
    assert not shop.takes(before)
    boss.does("key", "rotate")
    assert scores.takes(get_token(SCORES)), "the next key is published, the first one signs"
    scores.fetch()
    assert scores.takes(before)

    boss.does("key", "rotate", "--now")
    after = get_token(SCORES)
    while kid_of(after) == kid_of(before):  # on several nodes all know a key before it signs
        after = get_token(SCORES)
    assert not scores.takes(after), "not fetched yet"
    scores.fetch()
    assert scores.takes(after)
    assert scores.takes(before)
    assert not shop.takes(after)

    states = [key["state"] for key in json.loads(boss.does("key", "list", "--json"))["keys"]]
    assert sorted(states) == ["current", "next", "old"]
    unknown = ann.moothall("token", "issue", "https://evil.example", "--json")
    assert unknown.returncode != 0

    hall.stop()
    assert scores.takes(before)
    assert scores.takes(after)
    assert not shop.takes(after)


@pytest.mark.requirement("R5")
def test_ann_finds_a_session_that_is_not_hers_and_ends_it(
    shared_hall: RunningHall, new_person: NewPerson
) -> None:
    here, elsewhere = new_person(), new_person()
    here.joins(shared_hall, "ann-of-tokens")
    elsewhere.meets(shared_hall)
    elsewhere.does("login", "ann-of-tokens", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert "ann-of-tokens" in elsewhere.does("whoami")
    found = json.loads(here.does("session", "list", "--json"))["sessions"]
    [strange] = [one["session_id"] for one in found if not one["is_current"]]
    here.does("session", "revoke", strange, "--yes")
    assert elsewhere.moothall("whoami").returncode == 11
    assert "ann-of-tokens" in here.does("whoami")
    elsewhere.does("login", "ann-of-tokens", "--password-stdin", stdin=f"{PASSWORD}\n")
    here.does("session", "close-others")
    assert elsewhere.moothall("whoami").returncode == 11
