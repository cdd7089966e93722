"""Tokens, from the attacker's side: nothing but the very token that was signed is taken."""

import asyncio
import base64
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import OKPKey

from moothall.action import token as token_module
from moothall.action.assertion import read_assertion
from moothall.action.token import (
    LIFE_SECONDS,
    NAME_LENGTH_MAX,
    SKEW_SECONDS,
    TOKEN_LENGTH_MAX,
    TokenVerifier,
    sign_token,
)
from moothall.core.errors import UnauthenticatedError
from moothall.services.identity.adapters.sessions import EndedSessions
from moothall.testing import ManualClock, OpenHall
from moothall.testing.clock import NEW_YEAR_MS
from moothall.testing.hall import ISSUER

HALL = "https://hall.test"
FAR_OFF_MS = NEW_YEAR_MS * 2


def b64(raw: bytes | str | dict[str, Any]) -> str:
    if isinstance(raw, dict):
        raw = json.dumps(raw)
    data = raw.encode() if isinstance(raw, str) else raw
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def make_key(kid: str, seed: bytes) -> tuple[Ed25519PrivateKey, OKPKey]:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    fields: dict[str, str | list[str]] = {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": b64(private.public_key().public_bytes_raw()),
        "d": b64(private.private_bytes_raw()),
        "kid": kid,
        "use": "sig",
        "alg": "EdDSA",
    }
    return private, OKPKey.import_key(fields)


class Keys:
    """A key ring with one key, which may be retired."""

    def __init__(self) -> None:
        self.private, key = make_key("k1", b"\x01" * 32)
        self.keys: dict[str, OKPKey] = {"k1": key}
        self.generation = 0

    def retire(self, kid: str) -> None:
        del self.keys[kid]
        self.generation += 1

    def signing_key(self) -> OKPKey:
        return self.keys["k1"]

    def verifying_key(self, kid: str) -> OKPKey | None:
        return self.keys.get(kid)

    def public_jwks(self) -> dict[str, object]:
        return {}


class Door:
    """A verifier with all that it depends on."""

    def __init__(self) -> None:
        self.keys, self.clock = Keys(), ManualClock()
        self.sessions = EndedSessions(self.clock)
        self.verifier = TokenVerifier(
            self.keys, self.sessions, self.clock, issuer=HALL, audience=HALL
        )

    def sign(self, session_expires_at_ms: int = FAR_OFF_MS, **changed: str) -> str:
        facts = {"issuer": HALL, "audience": HALL, "member_id": "ada", "session_id": "s1"}
        token, _ = sign_token(
            self.keys,
            **{**facts, "token_id": "t1", **changed},
            session_expires_at_ms=session_expires_at_ms,
            now_ms=self.clock.now_ms(),
        )
        return token

    def forge(self, header: Any = None, body: Any = None) -> str:
        """Sign with the hall's own key what the hall would never sign."""
        head, claims, _ = self.sign().split(".")
        if header is not None:
            head = b64({**parse(head), **header} if isinstance(header, dict) else header)
        if body is not None:
            claims = b64({**parse(claims), **body} if isinstance(body, dict) else body)
        return f"{head}.{claims}." + b64(self.keys.private.sign(f"{head}.{claims}".encode()))

    def refuses(self, token: str) -> bool:
        """Tell whether the token is refused, in the one way in which tokens are refused."""
        try:
            self.verifier.verify(token)
        except UnauthenticatedError:
            return True
        return False


def parse(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.mark.requirement("R2")
def test_the_token_that_was_signed_is_taken(door: Door) -> None:
    token, expires_at_ms = sign_token(
        door.keys,
        issuer=HALL,
        audience=HALL,
        member_id="ada",
        session_id="s1",
        session_expires_at_ms=FAR_OFF_MS,
        token_id="t1",
        now_ms=door.clock.now_ms(),
    )
    claims = door.verifier.verify(token)
    assert (claims.member_id, claims.session_id) == ("ada", "s1")
    assert expires_at_ms == door.clock.now_ms() + 1_000 * LIFE_SECONDS
    assert parse(token.split(".")[0]) == {"typ": "at+jwt", "alg": "EdDSA", "kid": "k1"}
    assert not door.refuses(door.forge({}, {}))  # so the forger below forges well


@pytest.mark.requirement("R3")
@pytest.mark.parametrize("name", ["", "Ada L", "x" * NAME_LENGTH_MAX, "Ж" * 32])
def test_a_token_may_carry_the_name_of_its_member(door: Door, name: str) -> None:
    token = door.sign(name=name)
    assert parse(token.split(".")[1]).get("name", "") == name
    assert door.verifier.verify(token).name == name
    assert len(token) <= TOKEN_LENGTH_MAX


@pytest.mark.requirement("R2")
@pytest.mark.parametrize("name", ["x" * (NAME_LENGTH_MAX + 1), None, 7, ["Ada"], {}])
def test_a_name_in_a_token_is_a_text_of_bounded_length(door: Door, name: Any) -> None:
    assert door.refuses(door.forge(body={"name": name}))


@pytest.mark.requirement("R2")
def test_an_assertion_of_the_very_key_is_no_token(door: Door) -> None:
    """Nor is a token an assertion: each says what it is for (RFC 8725, section 3.11)."""
    claims = {"iss": HALL, "sub": HALL, "jti": "a1", "exp": parse(door.sign().split(".")[1])["exp"]}
    for header in ({"typ": "client-authentication+jwt"}, {"typ": "CLIENT-AUTHENTICATION+JWT"}):
        assert door.refuses(door.forge(header=header, body=claims))
    assert not door.refuses(door.forge(body=claims))
    assert read_assertion(door.sign()) is None


@pytest.mark.requirement("R2")
def test_the_algorithm_is_taken_under_its_newer_name_too(door: Door) -> None:
    """RFC 9864 calls it Ed25519; a signature is bound to the name it was made under."""
    token = door.forge(header={"alg": "Ed25519"})
    assert door.verifier.verify(token).member_id == "ada"
    renamed = token.split(".")[0] + "." + door.sign().split(".", 1)[1]
    assert door.refuses(renamed)
    assert door.refuses(token[:-4] + "AAAA")


@pytest.mark.requirement("R2", "R5")
def test_a_token_does_not_outlive_its_session(door: Door) -> None:
    now_ms = door.clock.now_ms()
    token = door.sign(session_expires_at_ms=now_ms + 10_999)
    assert parse(token.split(".")[1])["exp"] == now_ms // 1_000 + 10
    door.clock.advance(9_999)
    assert not door.refuses(token)
    door.clock.advance(1)
    assert door.refuses(token)


@pytest.mark.requirement("R2")
def test_no_bit_can_be_changed(door: Door) -> None:
    token = door.sign()
    door.verifier.verify(token)
    for place, letter in enumerate(token):
        for bit in range(8):
            changed = token[:place] + chr(ord(letter) ^ (1 << bit)) + token[place + 1 :]
            assert door.refuses(changed), (place, bit)
    assert not door.refuses(token)


@pytest.mark.requirement("R2")
@pytest.mark.parametrize("header", [
    {"alg": "none"}, {"alg": "None"}, {"alg": ""}, {"alg": "HS256"}, {"alg": "ES256"},
    {"alg": "RS256"}, {"alg": "eddsa"}, {"alg": ["EdDSA"]}, {"alg": None},
    {"alg": "ed25519"}, {"alg": "Ed448"}, {"alg": "EdDSA "}, {"alg": "Ed25519ph"},
    {"typ": "JWT"}, {"typ": "at+jwt "}, {"typ": ""}, {"typ": None},
    {"kid": "k2"}, {"kid": ""}, {"kid": None}, {"kid": "../k1"},
    {"jku": "https://evil.test/jwks"}, {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AA"}},
    {"x5u": "https://evil.test/x"}, {"x5c": ["AA"]}, {"crit": ["exp"]}, {"b64": False},
    {"cty": "JWT"}, {"zip": "DEF"}, {"x5t": "AA"}, {"x5t#S256": "AA"}, {"kid": "K1"},
    {"kid": 1}, {"kid": ["k1"]}, {"kid": {"k1": 1}}, {"kid": True}, {"kid": "k1 "}, {"kid": " k1"},
    {"kid": "k1\x00"}, {"kid": "/etc/passwd"}, {"kid": "' OR 1=1 --"}, {"typ": ["at+jwt"]},
])  # fmt: skip
def test_a_header_says_nothing_else_even_well_signed(door: Door, header: dict[str, Any]) -> None:
    assert door.refuses(door.forge(header=header))


@pytest.mark.requirement("R2", "R3")
@pytest.mark.parametrize("body", [
    {"iss": "https://evil.test"}, {"iss": None}, {"iss": [HALL]},
    {"aud": "https://other.test"}, {"aud": [HALL]}, {"aud": None}, {"aud": ""},
    {"sub": None}, {"sub": 7}, {"sid": None}, {"exp": "9999999999"}, {"exp": None}, {"exp": 1e10},
    {"exp": 0}, {"exp": -1}, {"exp": True}, {"iat": 99_999_999_999}, {"iat": None}, {"jti": None},
    {"aud": [HALL, "https://other.test"]}, {"aud": {}}, {"aud": HALL + "/"}, {"aud": HALL.upper()},
    {"iss": HALL + "/"}, {"iss": ""}, {"iat": "0"}, {"iat": True}, {"nbf": 99_999_999_999},
    {"nbf": "0"}, {"nbf": None}, {"exp": 10**400}, {"exp": 99_999_999_999}, {"sid": 7}, {"jti": 7},
    {"exp": float("inf")}, {"exp": float("nan")},
])  # fmt: skip
def test_claims_are_of_this_hall_and_whole(door: Door, body: dict[str, Any]) -> None:
    assert door.refuses(door.forge(body=body))


@pytest.mark.requirement("R2")
@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "exp", "iat", "jti", "sid"])
def test_no_claim_can_be_left_out_even_well_signed(door: Door, claim: str) -> None:
    claims = parse(door.sign().split(".")[1])
    del claims[claim]
    assert door.refuses(door.forge(body=json.dumps(claims)))


@pytest.mark.requirement("R2")
@pytest.mark.parametrize("member", ["alg", "typ", "kid"])
def test_no_member_of_the_header_can_be_left_out_even_well_signed(door: Door, member: str) -> None:
    header = parse(door.sign().split(".", maxsplit=1)[0])
    del header[member]
    assert door.refuses(door.forge(header=json.dumps(header)))


@pytest.mark.requirement("R2")
def test_keys_of_other_kinds_sign_nothing(door: Door) -> None:
    """Each key says in the header what it is, under the id of the hall's own key."""
    _, claims, _ = door.sign().split(".")
    rsa_key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    ec_key = ec.generate_private_key(ec.SECP256R1())
    signers = {
        "RS256": lambda text: rsa_key.sign(text, padding.PKCS1v15(), hashes.SHA256()),
        "ES256": lambda text: ec_key.sign(text, ec.ECDSA(hashes.SHA256())),
        "EdDSA": Ed25519PrivateKey.from_private_bytes(b"\x07" * 32).sign,
    }
    for alg, sign in signers.items():
        head = b64({"alg": alg, "typ": "at+jwt", "kid": "k1"})
        assert door.refuses(f"{head}.{claims}." + b64(sign(f"{head}.{claims}".encode()))), alg
    own = b64(
        {
            "alg": "EdDSA",
            "typ": "at+jwt",
            "kid": "k1",
            "jwk": make_key("k1", b"\x07" * 32)[1].as_dict(private=False),
        }
    )
    signature = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32).sign(f"{own}.{claims}".encode())
    assert door.refuses(f"{own}.{claims}." + b64(signature))


@pytest.mark.requirement("R2")
def test_a_token_of_another_key_of_the_ring_is_not_taken_under_this_one(door: Door) -> None:
    other, key = make_key("k2", b"\x02" * 32)
    door.keys.keys["k2"] = key
    head, claims, _ = door.sign().split(".")
    assert door.refuses(f"{head}.{claims}." + b64(other.sign(f"{head}.{claims}".encode())))
    right = b64({**parse(head), "kid": "k2"})
    token = f"{right}.{claims}." + b64(other.sign(f"{right}.{claims}".encode()))
    assert not door.refuses(token)
    door.keys.retire("k2")
    assert door.refuses(token)


@pytest.mark.requirement("R2")
def test_unsigned_self_signed_and_confused_tokens(door: Door) -> None:
    head, claims, signature = door.sign().split(".")
    unsigned = b64({"alg": "none", "typ": "at+jwt", "kid": "k1"})
    for token in (f"{unsigned}.{claims}.", f"{unsigned}.{claims}.{signature}", f"{head}.{claims}."):
        assert door.refuses(token)

    public = door.keys.private.public_key().public_bytes_raw()
    confused = b64({"alg": "HS256", "typ": "at+jwt", "kid": "k1"})
    for secret in (public, b64(public).encode()):
        mac = b64(hmac.digest(secret, f"{confused}.{claims}".encode(), "sha256"))
        assert door.refuses(f"{confused}.{claims}.{mac}")

    foreign, _ = make_key("k1", b"\x02" * 32)
    assert door.refuses(f"{head}.{claims}." + b64(foreign.sign(f"{head}.{claims}".encode())))


@pytest.mark.requirement("R2")
def test_only_the_canonical_spelling_is_taken(door: Door) -> None:
    token = door.sign()
    head, claims, signature = token.split(".")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(signature) % 4 == 2  # so that four bits of the last letter mean nothing
    twins = [signature[:-1] + letter for letter in letters if letter != signature[-1]]
    assert all(door.refuses(f"{head}.{claims}.{twin}") for twin in twins)
    for changed in (
        token + "=",
        token + "==",
        f"{head}=.{claims}.{signature}",
        token + "\n",
        " " + token,
        token.replace(".", ". "),
        token + ".",
        f"{head}.{claims}.{signature}.{signature}",
        f".{claims}.{signature}",
        f"{head}\r\n.{claims}.{signature}",
        token.replace("-", "+").replace("_", "/") + "!",
    ):
        assert door.refuses(changed)


@pytest.mark.requirement("R2")
def test_a_name_that_stands_twice_is_refused_even_well_signed(door: Door) -> None:
    head, claims, _ = door.sign().split(".")
    text = json.dumps(parse(claims))
    assert door.refuses(door.forge(body=text[:-1] + ', "sub": "admin"}'))
    text = json.dumps(parse(head))
    assert door.refuses(door.forge(header=text[:-1] + ', "alg": "none"}'))
    for name, value in parse(head).items():  # though it says the same thing twice
        twice = text[:-1] + f', "{name}": {json.dumps(value)}' + "}"
        assert door.refuses(door.forge(header=twice)), name


@pytest.mark.requirement("R2")
@pytest.mark.parametrize("token", [
    "", ".", "..", "...", "a.b.c", "é.é.é", "\ud800.a.b", "\x00", "a" * 5_000,
    "a" * 1_000_000, "." * 100_000, b64("[]") + "." + b64("[]") + ".AA",
    b64("[" * 700) + "." + b64("[" * 700) + ".AA", b64('{"a":' * 200) + "." + b64("{}") + ".AA",
    b64(b"\xff") + "." + b64(b"\xff") + ".AA",
])  # fmt: skip
def test_rubbish_is_refused_at_once(door: Door, token: str) -> None:
    assert door.refuses(token)


@pytest.mark.requirement("R2")
def test_depth_in_a_signed_token_breaks_nothing(door: Door) -> None:
    deep = "[" * 600 + "]" * 600
    body = json.dumps(parse(door.sign().split(".")[1]))[:-1] + f', "x": {deep}' + "}"
    token = door.forge(body=body)
    assert len(token) <= TOKEN_LENGTH_MAX
    assert not door.refuses(token)  # a claim that nobody reads
    assert door.refuses(token[:-4] + "AAAA")


@given(st.text(max_size=60))
def test_any_text_is_refused_and_nothing_else_happens(text: str) -> None:
    assert Door().refuses(text)


@pytest.mark.requirement("R2")
def test_an_expired_token_is_refused_remembered_or_not(door: Door) -> None:
    token, other = door.sign(), door.sign(token_id="t2")
    door.verifier.verify(token)
    door.clock.advance(LIFE_SECONDS * 1_000 - 1)
    assert not door.refuses(token)
    door.clock.advance(1)
    assert door.refuses(token)
    assert door.refuses(other)


@pytest.mark.requirement("R2")
def test_setting_the_clock_back_lengthens_no_remembered_token(door: Door) -> None:
    token = door.sign()
    door.verifier.verify(token)
    door.clock.set_wall(door.clock.now_ms() - 3_600_000)
    assert not door.refuses(token)
    door.clock.advance(LIFE_SECONDS * 1_000)
    assert door.refuses(token)


def test_setting_the_clock_forward_ends_a_token(door: Door) -> None:
    token = door.sign()
    door.verifier.verify(token)
    door.clock.set_wall(door.clock.now_ms() + LIFE_SECONDS * 1_000)
    assert door.refuses(token)


@pytest.mark.requirement("R2")
def test_a_token_of_the_far_future_is_refused(door: Door) -> None:
    token = door.sign()
    door.clock.set_wall(door.clock.now_ms() - 3_600_000)
    assert door.refuses(token)


@pytest.mark.requirement("R2")
def test_a_signed_token_cannot_live_longer_than_tokens_do(door: Door) -> None:
    now = door.clock.now_ms() // 1_000
    assert not door.refuses(door.forge(body={"iat": now, "exp": now + LIFE_SECONDS}))
    for body in (
        {"exp": now + LIFE_SECONDS + 1},
        {"exp": 99_999_999_999},
        {"iat": 0},
        {"iat": -(2**53), "exp": 2**53},
        {"iat": now + SKEW_SECONDS, "exp": now + SKEW_SECONDS + LIFE_SECONDS + 1},
    ):
        assert door.refuses(door.forge(body=body)), body


@pytest.mark.requirement("R2")
def test_a_token_begins_when_it_says_give_or_take_the_clocks(door: Door) -> None:
    now = door.clock.now_ms() // 1_000
    assert not door.refuses(door.forge(body={"nbf": now + SKEW_SECONDS}))
    late = {"iat": now + SKEW_SECONDS, "exp": now + SKEW_SECONDS + LIFE_SECONDS}
    assert not door.refuses(door.forge(body=late))
    for claim in ("iat", "nbf"):
        assert door.refuses(door.forge(body={claim: now + SKEW_SECONDS + 1})), claim


@pytest.mark.requirement("R2")
def test_a_token_that_a_fast_clock_signed_lives_no_longer_by_it(door: Door) -> None:
    now = door.clock.now_ms() // 1_000
    token = door.forge(body={"iat": now + SKEW_SECONDS, "exp": now + SKEW_SECONDS + LIFE_SECONDS})
    assert not door.refuses(token)
    door.clock.advance((LIFE_SECONDS + SKEW_SECONDS) * 1_000)
    assert door.refuses(token)


@pytest.mark.requirement("R2", "R5")
def test_a_retired_key_and_an_ended_session_end_remembered_tokens(door: Door) -> None:
    token, other = door.sign(), door.sign(session_id="s2")
    assert not door.refuses(token)
    assert not door.refuses(other)
    door.sessions.add("s1", "closed")
    assert door.refuses(token)
    assert not door.refuses(other)
    door.keys.retire("k1")
    assert door.refuses(other)
    assert not door.verifier._remembered


def test_memory_of_tokens_is_bounded(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_module, "REMEMBERED_MAX", 16)
    tokens = [door.sign(token_id=f"t{number}") for number in range(50)]
    for token in tokens:
        door.verifier.verify(token)
        assert len(door.verifier._remembered) <= 16
    assert not door.refuses(tokens[0])  # forgotten, and verified afresh


def test_refused_tokens_are_not_remembered(door: Door) -> None:
    for number in range(20):
        assert door.refuses(door.sign()[:-4] + f"{number:04}")
    assert not door.verifier._remembered


@pytest.mark.requirement("R2")
async def test_every_bad_token_gets_the_same_answer_from_a_hall(hall: OpenHall) -> None:
    ada = await hall.member("ada")
    head, claims, signature = ada.token.split(".")
    header, facts = parse(head), parse(claims)
    key = hall.hall.keys.signing_key()

    def forge(changed_header: dict[str, Any], changed_claims: dict[str, Any]) -> str:
        """Sign with the hall's own key."""
        signed = b64({**header, **changed_header}) + "." + b64({**facts, **changed_claims})
        return f"{signed}.{b64(key.raw_value.sign(signed.encode()))}"  # type: ignore[union-attr]

    accepted = await hall.answer("identity.get_self", token=forge({}, {}))
    assert accepted.problem is None  # so the forger forges well
    now = facts["iat"]
    bad = [
        *(f"{head}.{claims}.", f"{claims}.{head}.{signature}", "x", ada.token + "A", ada.token[1:]),
        *(ada.token + "=", f" {ada.token}", f"{ada.token}\n", f"{ada.token}.{signature}"),
        *(forge({"alg": alg}, {}) for alg in ("none", "HS256", "RS256", "ES256", "")),
        *(forge({name: "x"}, {}) for name in ("jku", "jwk", "x5u", "crit", "typ", "kid")),
        *(forge({}, {name: "x"}) for name in ("iss", "aud", "exp", "iat", "nbf")),
        *(forge({}, {name: None}) for name in ("sub", "sid", "jti")),
        forge({}, {"aud": [ISSUER]}),
        forge({}, {"exp": now + 10**6}),
        forge({}, {"iat": now + 61, "exp": now + 100}),
        forge({"kid": "0123456789abcdef"}, {}),
        forge({"kid": "../" + header["kid"]}, {}),
    ]
    replies = await asyncio.gather(
        *(hall.answer("identity.get_self", token=token) for token in bad)
    )
    problems = {str((r.problem.code, r.problem.details)) for r in replies if r.problem}
    assert [bad[place] for place, r in enumerate(replies) if r.problem is None] == []
    assert len(problems) == 1
    assert "unauthenticated" in problems.pop()
