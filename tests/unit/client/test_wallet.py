"""The wallet loses nothing: whole files, no overwriting of damage, locks, private secrets."""

import asyncio
import json
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from msgspec.structs import replace

from moothall.client import IssuedToken, Session, Wallet, WalletDamagedError, WalletError
from moothall.client.wallet import Server
from moothall.client.wallet.files import FileLock, write_file

NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
SERVERS = st.builds(
    Server,
    url=TEXTS,
    trust=st.sampled_from(["pinned", "system", "insecure"]),
    certificate_pem=st.none() | TEXTS,
)
SESSIONS = st.builds(
    Session,
    name=TEXTS,
    member_id=TEXTS,
    session_id=TEXTS,
    refresh_token=TEXTS,
    refresh_expires_at_ms=st.integers(0, 2**53),
    access_token=TEXTS,
    access_lifetime_ms=st.integers(0, 10**7),
    received_at_ms=st.integers(0, 2**53),
)
HOME = Server(url="https://home.example:8443", trust="system")
AWAY = Server(url="https://away.example:8443", trust="system")


def session(refresh_token: str = "secret") -> Session:
    return Session(
        name="ann",
        member_id="m1",
        session_id="s1",
        refresh_token=refresh_token,
        refresh_expires_at_ms=10,
        access_token="access",
        access_lifetime_ms=5,
        received_at_ms=0,
    )


@pytest.fixture
def wallet(tmp_path: Path) -> Wallet:
    return Wallet(tmp_path / "wallet")


@given(st.dictionaries(NAMES, st.tuples(SERVERS, st.none() | SESSIONS), min_size=1, max_size=4))
def test_what_is_kept_comes_back(
    tmp_path_factory: pytest.TempPathFactory, known: dict[str, tuple[Server, Session | None]]
) -> None:
    folder = tmp_path_factory.mktemp("wallet")
    for name, (server, kept) in known.items():
        Wallet(folder).add_server(name, server)
        Wallet(folder).save_session(name, kept)
    read = Wallet(folder).read()
    assert read.servers == {name: server for name, (server, _) in known.items()}
    assert read.current == next(iter(known))
    for name, (_, kept) in known.items():
        assert Wallet(folder).load_session(name) == kept


@pytest.mark.requirement("R110")
@given(cut=st.integers(0, 200), junk=st.binary(max_size=8))
def test_damaged_file_is_told_and_never_overwritten(
    tmp_path_factory: pytest.TempPathFactory, cut: int, junk: bytes
) -> None:
    wallet = Wallet(tmp_path_factory.mktemp("wallet"))
    wallet.add_server("home", HOME)
    path = wallet.folder / "servers.json"
    whole = path.read_bytes()
    damaged = whole[: cut % (len(whole) // 2)] + junk
    path.write_bytes(damaged)
    with pytest.raises(WalletError) as caught:
        wallet.add_server("away", AWAY)
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    assert path.read_bytes() == damaged


@pytest.mark.requirement("R110")
def test_damaged_secrets_are_not_overwritten_nor_shown(wallet: Wallet) -> None:
    wallet.save_session("home", session("very-secret"))
    path = wallet.folder / "sessions.json"
    damaged = path.read_bytes().replace(b'"format": 2', b'"format": "2"')
    path.write_bytes(damaged)
    with pytest.raises(WalletDamagedError) as caught:
        wallet.save_session("home", session("new"))
    assert "very-secret" not in str(caught.value)
    assert path.read_bytes() == damaged


def test_file_of_a_newer_program_is_left_alone(wallet: Wallet) -> None:
    wallet.add_server("home", HOME)
    path = wallet.folder / "servers.json"
    newer = b'{"format": 3, "homes": []}'
    path.write_bytes(newer)
    with pytest.raises(WalletError, match="newer"):
        wallet.add_server("away", AWAY)
    assert path.read_bytes() == newer


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps other rights")
def test_secrets_are_for_their_owner_alone(wallet: Wallet) -> None:
    wallet.save_session("home", session())
    assert stat.S_IMODE((wallet.folder / "sessions.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(wallet.folder.stat().st_mode) == 0o700


def test_servers_hold_no_secret(wallet: Wallet) -> None:
    wallet.add_server("home", HOME)
    wallet.save_session("home", session("very-secret"))
    assert b"very-secret" not in (wallet.folder / "servers.json").read_bytes()


def test_failed_write_leaves_the_old_file(wallet: Wallet, monkeypatch: pytest.MonkeyPatch) -> None:
    wallet.add_server("home", HOME)
    before = sorted(path.name for path in wallet.folder.iterdir())

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(WalletError, match="cannot be written"):
        wallet.add_server("away", AWAY)
    assert list(wallet.read().servers) == ["home"]
    assert sorted(path.name for path in wallet.folder.iterdir()) == before


@pytest.mark.requirement("R110")
def test_servers_are_added_edited_and_removed(wallet: Wallet) -> None:
    wallet.add_server("home", HOME)
    wallet.add_server("away", AWAY)
    wallet.use_server("away")
    wallet.edit_server("away", AWAY, new_name="far")
    assert wallet.get_server() == ("far", AWAY)
    wallet.remove_server("far")
    assert wallet.get_server() == ("home", HOME)
    wallet.remove_server("home")
    with pytest.raises(WalletError, match="no server"):
        wallet.get_server()


def test_session_follows_a_new_name_but_not_a_new_place(wallet: Wallet) -> None:
    wallet.add_server("home", HOME)
    wallet.save_session("home", session())
    wallet.edit_server("home", HOME, new_name="house")
    assert wallet.load_session("house") == session()
    assert wallet.load_session("home") is None
    wallet.edit_server("house", AWAY)
    assert wallet.load_session("house") is None


def test_removed_server_leaves_no_secret(wallet: Wallet) -> None:
    wallet.add_server("home", HOME)
    wallet.save_session("home", session("very-secret"))
    wallet.remove_server("home")
    assert b"very-secret" not in (wallet.folder / "sessions.json").read_bytes()


@pytest.mark.parametrize("name", ["", "../x", "A", ".x", "a/b", "a" * 65, "x\n"])
def test_names_that_are_no_names_of_files_are_refused(wallet: Wallet, name: str) -> None:
    with pytest.raises(WalletError):
        wallet.add_server(name, HOME)


def test_unknown_server_tells_near_ones(wallet: Wallet) -> None:
    wallet.add_server("home", HOME)
    with pytest.raises(WalletError) as caught:
        wallet.get_server("hone")
    assert "home" in caught.value.remedy


def test_lock_keeps_others_out_and_is_freed(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "a.lock"), FileLock(tmp_path / "a.lock")
    with first.held():
        assert not second.try_acquire()
    assert second.try_acquire()
    second.release()


async def test_session_lock_waits_for_another_process(wallet: Wallet) -> None:
    other = FileLock(wallet.folder / "renew-home.lock")
    assert other.try_acquire()
    order: list[str] = []

    async def renew() -> None:
        async with wallet.store("home").lock_session():
            order.append("mine")

    waiting = asyncio.create_task(renew())
    await asyncio.sleep(0.1)
    order.append("other")
    other.release()
    await waiting
    assert order == ["other", "mine"]


def test_damaged_cache_is_fetched_anew(wallet: Wallet) -> None:
    assert wallet.load_catalog("home") is None
    wallet.save_catalog("home", '"v1"', b"{}\n{}")
    assert wallet.load_catalog("home") == ('"v1"', b"{}\n{}")
    write_file(wallet.folder / "cache" / "home.openapi", b"\xff")
    assert wallet.load_catalog("home") is None


def boards(identity: str | None = "home") -> Server:
    url = "https://boards.example:8443"
    return Server(url=url, trust="system", kind="resource", issuer="urn:home", identity=identity)


def token(session_id: str = "s1") -> IssuedToken:
    return IssuedToken(
        audience="https://boards.example:8443",
        session_id=session_id,
        access_token="for boards",
        access_lifetime_ms=5,
        received_at_ms=0,
    )


@pytest.mark.requirement("R110")
def test_files_of_an_older_program_are_read_and_written_as_new_ones(wallet: Wallet) -> None:
    wallet.add_server("home", HOME)
    wallet.save_session("home", session())
    old_server = {"url": HOME.url, "trust": "system", "certificate_pem": None}
    old = {
        "servers.json": {"format": 1, "current": "home", "servers": {"home": old_server}},
        "sessions.json": {"format": 1, "sessions": {"home": structs.asdict(session())}},
    }
    for name, content in old.items():
        (wallet.folder / name).write_text(json.dumps(content))
    assert wallet.get_server() == ("home", HOME)
    assert wallet.load_session("home") == session()
    wallet.add_server("boards", boards())
    wallet.store("boards").save_token(token())
    assert wallet.load_session("home") == session()
    for name in old:
        assert json.loads((wallet.folder / name).read_bytes())["format"] == 2


@pytest.mark.parametrize("identity", [None, "nobody", "boards"])
def test_resource_server_needs_an_identity_server(wallet: Wallet, identity: str | None) -> None:
    wallet.add_server("home", HOME)
    with pytest.raises(WalletError, match="identity server"):
        wallet.add_server("boards", boards(identity))
    wallet.add_server("boards", boards())
    with pytest.raises(WalletError, match="identity server"):
        wallet.edit_server("boards", boards(identity))
    assert wallet.identity_of("boards") == ("home", HOME)


def test_identity_server_that_others_need_stays(wallet: Wallet) -> None:
    wallet.add_server("home", HOME)
    wallet.add_server("boards", boards())
    wallet.save_session("home", session())
    with pytest.raises(WalletError, match="boards"):
        wallet.remove_server("home")
    with pytest.raises(WalletError, match="boards"):
        wallet.edit_server("home", boards())
    assert wallet.load_session("home") == session()
    wallet.edit_server("home", HOME, new_name="house")
    assert wallet.identity_of("boards") == ("house", HOME)


def test_tokens_end_with_their_session_and_their_place(wallet: Wallet) -> None:
    wallet.add_server("home", HOME)
    wallet.add_server("boards", boards())
    shelf = wallet.store("boards")
    shelf.save_token(token())
    assert shelf.load_token() is None  # Nobody is signed in any more.
    wallet.save_session("home", session())
    shelf.save_token(token())
    wallet.save_session("home", session("renewed"))
    assert shelf.load_token() == token()
    wallet.edit_server("boards", boards(), new_name="kart")
    assert wallet.store("kart").load_token() == token()
    wallet.edit_server("kart", replace(boards(), url=AWAY.url))
    assert wallet.store("kart").load_token() is None
    wallet.store("kart").save_token(token())
    wallet.save_session("home", replace(session(), session_id="s2"))
    assert wallet.store("kart").load_token() is None


@pytest.mark.requirement("R110")
def test_tokens_are_not_shown(wallet: Wallet) -> None:
    assert "for boards" not in repr(token())
