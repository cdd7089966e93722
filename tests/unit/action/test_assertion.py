"""Assertions, from the attacker's side: nothing but what the server's own key signed is proof."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from moothall.action.assertion import (
    ASSERTION_SECONDS,
    is_proven,
    read_assertion,
    read_server_key,
    show_server_key,
    sign_assertion,
)
from moothall.action.token import SKEW_SECONDS, TOKEN_LENGTH_MAX
from moothall.testing.clock import NEW_YEAR_MS

HALL, BOARDS = "https://hall.test", "https://boards.example"
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
PUBLIC = PRIVATE.public_key().public_bytes_raw()


def sign(*, key: Ed25519PrivateKey = PRIVATE, issuer: str = HALL, now_ms: int = NEW_YEAR_MS) -> str:
    return sign_assertion(key, server=BOARDS, issuer=issuer, assertion_id="a1", now_ms=now_ms)


def is_taken(text: str, *, public: bytes = PUBLIC, now_ms: int = NEW_YEAR_MS) -> bool:
    key, said = read_server_key(show_server_key(public)), read_assertion(text)
    assert key is not None
    return said is not None and is_proven(text, said, key, issuer=HALL, now_ms=now_ms)


@pytest.mark.requirement("R3")
def test_an_assertion_says_who_it_is_for_whom_and_until_when() -> None:
    text = sign()
    header, claims = (json.loads(urlsafe_b64decode(part + "==")) for part in text.split(".")[:2])
    now = NEW_YEAR_MS // 1_000
    assert header == {"alg": "EdDSA", "typ": "client-authentication+jwt"}
    assert claims == {
        "iss": BOARDS,
        "sub": BOARDS,
        "aud": HALL,
        "iat": now,
        "exp": now + ASSERTION_SECONDS,
        "jti": "a1",
    }
    said = read_assertion(text)
    assert said is not None
    assert (said.server, said.jti) == (BOARDS, "a1")
    assert is_taken(text)
    assert is_taken(text, now_ms=said.refused_from_ms - 1)
    assert not is_taken(text, now_ms=said.refused_from_ms)
    assert is_taken(text, now_ms=NEW_YEAR_MS - SKEW_SECONDS * 1_000)
    assert not is_taken(text, now_ms=NEW_YEAR_MS - SKEW_SECONDS * 1_000 - 1)


@pytest.mark.requirement("R2")
def test_no_bit_can_be_changed() -> None:
    text = sign()
    for place, letter in enumerate(text):
        for bit in range(8):
            changed = text[:place] + chr(ord(letter) ^ (1 << bit)) + text[place + 1 :]
            assert not is_taken(changed), (place, bit)


@pytest.mark.requirement("R2", "R3")
def test_another_key_and_another_hall_are_no_proof() -> None:
    other = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
    assert not is_taken(sign(key=other))
    assert not is_taken(sign(), public=other.public_key().public_bytes_raw())
    assert not is_taken(sign(issuer=BOARDS))
    assert is_taken(sign(key=other), public=other.public_key().public_bytes_raw())


@given(st.text(max_size=60) | st.text(alphabet="ab.", max_size=TOKEN_LENGTH_MAX + 1))
def test_any_text_is_no_assertion_and_nothing_else_happens(text: str) -> None:
    assert read_assertion(text) is None


@pytest.mark.requirement("R1", "R32")
def test_half_a_character_is_no_assertion() -> None:
    """The database could not look the name up; found by tests/fuzz."""
    _, _, signature = sign().split(".")
    header = {"alg": "EdDSA", "typ": "client-authentication+jwt"}
    claims = {"iss": "\ud800", "sub": "\ud800", "aud": HALL, "exp": 1, "iat": 1, "jti": "1"}
    parts = [
        urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode()
        for each in (header, claims)
    ]
    assert read_assertion(".".join([*parts, signature])) is None
    parts[1] = urlsafe_b64encode(json.dumps({**claims, "iss": "a"}).encode()).rstrip(b"=").decode()
    assert read_assertion(".".join([*parts, signature])) is None
    parts[1] = urlsafe_b64encode(json.dumps({**claims, "iss": "a", "sub": "a"}).encode()).decode()
    assert read_assertion(".".join([parts[0], parts[1].rstrip("="), signature])) is not None


@given(st.binary(max_size=40))
def test_a_key_has_one_spelling_and_32_bytes(raw: bytes) -> None:
    encoded = urlsafe_b64encode(raw).rstrip(b"=").decode()
    found = read_server_key(f"ed25519:{encoded}")
    assert (found is None) == (len(raw) != 32)
    for text in (encoded, f"ed25519:{encoded}=", f"ed25519:{encoded}\n", f"Ed25519:{encoded}"):
        assert read_server_key(text) is None


@given(st.binary(min_size=32, max_size=32))
def test_what_is_shown_is_read(raw: bytes) -> None:
    found = read_server_key(show_server_key(raw))
    assert found is not None
    assert found.as_dict()["x"] == show_server_key(raw).removeprefix("ed25519:")


@given(st.text(max_size=60))
def test_any_text_is_no_key_and_nothing_else_happens(text: str) -> None:
    assert read_server_key(text) is None
