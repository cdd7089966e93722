"""Keys, seals and password hashing, each by itself."""

import asyncio
import json
import threading

import pytest
from argon2 import PasswordHasher as Argon2
from argon2 import extract_parameters
from argon2.exceptions import VerifyMismatchError
from argon2.low_level import Type

from moothall.action import Resources
from moothall.core.errors import OverloadedError
from moothall.core.units import HOUR_MS
from moothall.services.identity.adapters.hashing import HASHES_WAITING_MAX, NOBODY, Argon2Pool
from moothall.services.identity.adapters.keys import SealedKeyRing
from moothall.services.identity.adapters.sessions import EndedSessions, RefreshSeal
from moothall.services.identity.rules.sessions import RefreshToken
from moothall.testing import ManualClock, OpenHall, SeededEntropy

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def pool() -> Argon2Pool:
    return Argon2Pool()


@pytest.mark.requirement("R6")
async def test_hash_is_argon2id_at_owasp_cost(pool: Argon2Pool) -> None:
    known = await pool.hash("correct horse")
    found = extract_parameters(known)
    assert found.type is Type.ID
    assert (found.memory_cost, found.time_cost, found.parallelism) == (19_456, 2, 1)
    assert found.salt_len >= 16
    assert known != await pool.hash("correct horse"), "each hash has a salt of its own"
    assert not pool.is_outdated(known)


@pytest.mark.requirement("R1")
async def test_right_password_is_known_and_all_else_is_not(pool: Argon2Pool) -> None:
    known = await pool.hash("correct horse\0tail")
    assert await pool.verify(known, "correct horse\0tail")
    assert not await pool.verify(known, "correct horse")
    assert not await pool.verify(None, "the password of nobody")
    assert not await pool.verify("no hash at all", "correct horse")


@pytest.mark.requirement("R6")
async def test_where_there_is_no_hash_the_comparison_costs_the_same(pool: Argon2Pool) -> None:
    assert extract_parameters(NOBODY) == extract_parameters(await pool.hash("correct horse"))
    with pytest.raises(VerifyMismatchError):  # and no InvalidHashError, which costs nothing
        Argon2().verify(NOBODY, "correct horse")


@pytest.mark.requirement("R6")
async def test_hash_of_other_parameters_is_verified_and_outdated(pool: Argon2Pool) -> None:
    weak = Argon2(time_cost=1, memory_cost=8, parallelism=1).hash("correct horse")
    assert await pool.verify(weak, "correct horse")
    assert pool.is_outdated(weak)


@pytest.mark.requirement("R35")
async def test_full_pool_refuses_and_recovers() -> None:
    pool, gate = Argon2Pool(), threading.Event()
    blocked = [asyncio.create_task(pool._run(gate.wait)) for _ in range(HASHES_WAITING_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError) as refusal:
        await pool.hash("correct horse")
    assert refusal.value.code == "unavailable"
    assert refusal.value.details["retry_after_ms"] == 1_000
    gate.set()
    await asyncio.gather(*blocked)
    assert await pool.hash("correct horse")


@pytest.mark.requirement("R35")
async def test_callers_who_leave_free_their_places() -> None:
    pool, gate = Argon2Pool(), threading.Event()
    blocked = [asyncio.create_task(pool._run(gate.wait)) for _ in range(HASHES_WAITING_MAX)]
    await asyncio.sleep(0)
    for task in blocked:
        task.cancel()
    await asyncio.gather(*blocked, return_exceptions=True)
    gate.set()
    assert await pool.hash("correct horse")


@pytest.mark.requirement("R2")
def test_refresh_token_opens_and_anything_else_does_not() -> None:
    seal, foreign = RefreshSeal(KEY), RefreshSeal(bytes(32))
    token = seal.token("a" * 24, 7)
    assert seal.open(token) == RefreshToken("a" * 24, 7)
    forged = [
        "",
        ".",
        "..",
        token[:-1],
        token + "A",
        token + "=",
        token.upper(),
        token.replace(".7.", ".8."),
        token.replace(".7.", ".07."),
        token.replace(".7.", ".\N{ARABIC-INDIC DIGIT SEVEN}."),
        token.replace(".7.", "..7."),
        f"{'a' * 24}.{'9' * 400}.x",
        f"{'a' * 24}.-1.x",
        f"{'b' * 24}{token[24:]}",
        foreign.token("a" * 24, 7),
        "é.1.x",
    ]
    assert [text for text in forged if seal.open(text) is not None] == []


@pytest.mark.requirement("R2")
def test_refresh_token_altered_in_any_character_is_refused() -> None:
    seal = RefreshSeal(KEY)
    token = seal.token("a" * 24, 7)
    for at, known in enumerate(token):
        for other in {"A", "B", "0", "1", ".", "-"} - {known}:
            assert seal.open(token[:at] + other + token[at + 1 :]) is None


@pytest.mark.requirement("R2")
def test_keys_for_two_purposes_differ_from_each_other_and_from_their_source() -> None:
    resources = Resources(
        clock=ManualClock(),
        entropy=SeededEntropy(),
        sealing_key=KEY,
        issuer="",
        audience="",
        services={},
    )
    keys = {resources.derive_key(purpose) for purpose in ("signing keys", "refresh tokens")}
    assert len({KEY, *keys}) == 3


@pytest.mark.requirement("R2")
async def test_published_keys_have_no_private_part(hall: OpenHall) -> None:
    published = json.loads(hall.hall.public_jwks())
    [key] = published["keys"]
    assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}
    assert (key["kty"], key["crv"]) == ("OKP", "Ed25519")


@pytest.mark.requirement("R2")
async def test_signing_key_rests_sealed(hall: OpenHall) -> None:
    [(sealed,)] = await hall.rows("SELECT sealed_hex FROM identity_key")
    private = hall.hall.keys.signing_key().raw_value.private_bytes_raw()  # type: ignore[union-attr]
    assert private.hex() not in sealed
    assert len(bytes.fromhex(sealed)) == 12 + 32 + 16


@pytest.mark.requirement("R2")
def test_unknown_key_verifies_nothing() -> None:
    ring = SealedKeyRing(KEY, SeededEntropy(), ManualClock())
    assert ring.verifying_key("0123") is None


@pytest.mark.requirement("R5")
def test_ended_sessions_are_swept_once_their_tokens_are_dead() -> None:
    clock = ManualClock()
    ended = EndedSessions(clock)
    for number in range(9_999):
        ended.add(f"old{number}", "closed")
    clock.advance(2 * HOUR_MS)
    ended.add("new", "closed")
    assert ended.has_ended("new")
    assert not ended.has_ended("old0")


@pytest.mark.requirement("R5")
def test_a_clock_that_is_set_sweeps_no_ended_session() -> None:
    clock = ManualClock()
    ended = EndedSessions(clock)
    for number in range(9_999):
        ended.add(f"old{number}", "closed")
    clock.set_wall(clock.now_ms() + 2 * HOUR_MS)
    ended.add("new", "closed")
    assert ended.has_ended("old0")
