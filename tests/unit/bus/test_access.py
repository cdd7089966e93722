"""Where the server is and how a hall signs in: what is refused, and in which words."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from moothall.bus.access import (
    BusAccess,
    ServerAddress,
    check_access,
    read_address,
    read_sign_in,
)
from moothall.core.errors import ConfigurationError
from moothall.core.operator_files import SECRET_BYTES_MAX, make_trust
from tests.servers.nkeys import make_key

SECRET = "s3cr3t-of-the-bus"
NEAR = ServerAddress("localhost", 4222, is_encrypted=False)
FAR = ServerAddress("bus.example.org", 4222, is_encrypted=False)
FAR_WITH_TLS = ServerAddress("bus.example.org", 4222, is_encrypted=True)


@pytest.mark.parametrize(
    ("url", "address", "written"),
    [
        ("nats://bus", ServerAddress("bus", 4222, is_encrypted=False), "nats://bus:4222"),
        (
            "tls://bus.example.org:4000/",
            ServerAddress("bus.example.org", 4000, is_encrypted=True),
            None,
        ),
        ("NATS://Bus:1", ServerAddress("bus", 1, is_encrypted=False), "nats://bus:1"),
        ("nats://[::1]:4222", ServerAddress("::1", 4222, is_encrypted=False), "nats://[::1]:4222"),
    ],
)
def test_address_is_read(url: str, address: ServerAddress, written: str | None) -> None:
    assert read_address(url) == address
    if written is not None:
        assert address.url == written
    assert read_address(address.url) == address


@pytest.mark.parametrize(
    "url",
    [
        "bus:4222", "http://bus", "ws://bus", "nats://", "nats:bus", "nats://bus:0",
        "nats://bus:99999", "nats://bus:x", "nats://bus/path", "nats://bus?a=b", "nats://bus#a",
        "nats://[::1", "nats://one,two:4222", "nats://a b",
    ],
)  # fmt: skip
def test_strange_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"address is not understood; give nats://host"):
        read_address(url)


@pytest.mark.parametrize("who", [f"hall:{SECRET}", SECRET, f":{SECRET}", f"hall:{SECRET}@x"])
@pytest.mark.parametrize("rest", ["bus:4222", "bus:nonsense"])
def test_secret_in_the_address_is_refused_and_not_repeated(who: str, rest: str) -> None:
    with pytest.raises(ConfigurationError, match="bus_password_file") as caught:
        read_address(f"nats://{who}@{rest}")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("access", "message"),
    [
        (BusAccess(user="hall"), "belong together"),
        (BusAccess(password_file="p"), "belong together"),
        (BusAccess(user="hall", password_file="p", token_file="t"), "give one of them"),
        (BusAccess(token_file="t", credentials_file="c"), "give one of them"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(access: BusAccess, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check_access(access, NEAR)


@pytest.mark.parametrize(
    "access", [BusAccess(user="hall", password_file="p"), BusAccess(token_file="t")]
)
def test_secrets_leave_this_machine_by_tls_only(access: BusAccess) -> None:
    with pytest.raises(ConfigurationError, match="tls://"):
        check_access(access, FAR)
    check_access(access, FAR_WITH_TLS)
    for host in ("localhost", "127.0.0.1", "127.8.8.8", "::1"):
        check_access(access, ServerAddress(host, 4222, is_encrypted=False))
    check_access(BusAccess(credentials_file="c"), FAR)


def test_secrets_are_the_first_line_of_their_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    for content in (SECRET, f"{SECRET}\n", f"{SECRET}\r\nmore\n"):
        file.write_bytes(content.encode())
        assert read_sign_in(BusAccess(token_file=str(file))).token == SECRET
        signed = read_sign_in(BusAccess(user="hall", password_file=str(file)))
        assert (signed.user, signed.password) == ("hall", SECRET)
        assert SECRET not in repr(signed)


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    missing, empty, long = tmp_path / "missing", tmp_path / "empty", tmp_path / "long"
    binary = tmp_path / "binary"
    empty.write_text("\nmore\n", "utf-8")
    long.write_text("x" * (SECRET_BYTES_MAX + 1), "utf-8")
    binary.write_bytes(b"\xff\xfe")
    for file, reason in (
        (missing, "No such file"),
        (empty, "first line is empty"),
        (long, "more than 16384 bytes"),
        (binary, "is no text"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(ConfigurationError, match=reason) as caught:
            read_sign_in(BusAccess(token_file=str(file)))
        assert f"bus_token_file {file}" in str(caught.value)


def test_credentials_name_what_is_wrong_with_them(tmp_path: Path) -> None:
    key = make_key("user", Ed25519PrivateKey.generate())
    file = tmp_path / "hall.creds"
    damaged = key.seed[:-4] + ("AAAA" if key.seed[-4:] != "AAAA" else "BBBB")
    account = make_key("account", Ed25519PrivateKey.generate())
    for content, reason in (
        ("", "no seed"),
        (account.seed, "no seed"),
        (key.public, "no seed"),
        (damaged, "is damaged"),
    ):
        file.write_text(content, "utf-8")
        with pytest.raises(ConfigurationError, match=reason) as caught:
            read_sign_in(BusAccess(credentials_file=str(file)))
        assert f"bus_credentials_file {file}" in str(caught.value)
        assert not content or content not in str(caught.value)


def test_authority_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "authority.pem"
    for content in (None, "no certificate"):
        if content is not None:
            file.write_text(content, "utf-8")
        with pytest.raises(ConfigurationError, match="bus_authority") as caught:
            make_trust("bus: bus_authority", str(file))
        assert str(file) in str(caught.value)
