"""Keys of NATS: as their own tools write them, which a test of the real server shows too."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from moothall.bus.nkey import UserKey, read_credentials
from tests.servers.nkeys import make_key

JWT = "eyJ0eXAi.eyJqdGki-_x.c2ln"


def test_key_signs_for_its_public_key() -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    written = make_key("user", private)
    key = UserKey(written.seed)
    assert key.public == written.public
    assert (key.public[0], len(key.public)) == ("U", 56)
    private.public_key().verify(base64.b64decode(key.sign("a nonce")), b"a nonce")


@pytest.mark.parametrize("kind", ["operator", "account"])
def test_seed_of_somebody_else_is_refused(kind: str) -> None:
    seed = make_key(kind, Ed25519PrivateKey.generate()).seed  # type: ignore[arg-type] # it is one
    with pytest.raises(ValueError, match="damaged"):
        UserKey(seed)


@pytest.mark.parametrize("place", range(2, 58, 7))
def test_each_changed_letter_is_noticed(place: int) -> None:
    seed = make_key("user", Ed25519PrivateKey.from_private_bytes(b"k" * 32)).seed
    other = "A" if seed[place] != "A" else "B"
    with pytest.raises(ValueError, match="damaged"):
        UserKey(seed[:place] + other + seed[place + 1 :])


@pytest.mark.parametrize("seed", ["", "SU", "SU" + "1" * 56, "SU" + "A" * 56, "SU" + "ä" * 56])
def test_what_is_no_seed_is_refused(seed: str) -> None:
    with pytest.raises(ValueError, match="damaged"):
        UserKey(seed)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_credentials_hold_a_token_and_a_key(newline: str) -> None:
    written = make_key("user", Ed25519PrivateKey.generate())
    lines = [
        "-----BEGIN NATS USER JWT-----", JWT, "------END NATS USER JWT------", "",
        "*** IMPORTANT: the seed is sensitive ***", "",
        "-----BEGIN USER NKEY SEED-----", written.seed, "------END USER NKEY SEED------", "",
    ]  # fmt: skip
    jwt, key = read_credentials(newline.join(lines))
    assert jwt == JWT.encode()
    assert key.public == written.public
    assert read_credentials(f"{written.seed}\n")[0] is None
