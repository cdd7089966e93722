"""Refresh tokens rest in the keyring of the system if one works, else in a file; none is lost."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail, null

from moothall.client import Hall, Session, Wallet, WalletError
from moothall.client.wallet import Server
from tests.unit.client.file_keyring import FileKeyring
from tests.unit.client.stub_hall import URL, ManualTime, StubHall, problem, tokens

HOME = Server(url=URL, trust="system")


def session(refresh_token: str = "very-secret", session_id: str = "s1") -> Session:
    return Session(
        name="ann",
        member_id="m1",
        session_id=session_id,
        refresh_token=refresh_token,
        refresh_expires_at_ms=10**9,
        access_token=f"access of {refresh_token}",
        access_lifetime_ms=300_000,
        received_at_ms=0,
    )


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[FileKeyring]:
    before = keyring.get_keyring()
    ring = FileKeyring(tmp_path / "keyring.json")
    keyring.set_keyring(ring)
    yield ring
    keyring.set_keyring(before)


@pytest.fixture
def wallet(tmp_path: Path, ring: FileKeyring) -> Wallet:
    wallet = Wallet(tmp_path / "wallet", secrets="auto")
    wallet.add_server("home", HOME)
    return wallet


def in_file(wallet: Wallet) -> str:
    return (wallet.folder / "sessions.json").read_text()


def revealed(wallet: Wallet, name: str = "home") -> Session:
    kept = wallet.load_session(name)
    assert kept is not None
    return wallet.store(name).reveal(kept)


@pytest.mark.requirement("R110")
def test_secret_rests_in_the_keyring_and_not_in_the_file(wallet: Wallet, ring: FileKeyring) -> None:
    wallet.save_session("home", session())
    assert "very-secret" not in in_file(wallet).replace("access of very-secret", "")
    assert "very-secret" in ring.path.read_text()
    assert revealed(wallet) == session()
    # Who is signed in, and the token of the next minutes, need no keyring.
    ring.is_locked = True
    kept = wallet.load_session("home")
    assert kept is not None
    assert (kept.name, kept.access_token) == ("ann", "access of very-secret")


def test_one_entry_follows_the_session(wallet: Wallet, ring: FileKeyring) -> None:
    wallet.save_session("home", session("one"))
    wallet.save_session("home", session("two"))
    (key,) = ring.read()
    wallet.save_session("home", session("three", "s2"))
    (other,) = ring.read()
    assert other != key
    wallet.edit_server("home", HOME, new_name="house")
    assert revealed(wallet, "house") == session("three", "s2")
    wallet.save_session("house", None)
    assert ring.read() == {}
    wallet.save_session("house", session())
    wallet.remove_server("house")
    assert ring.read() == {}


def test_entries_of_two_wallets_do_not_mix(tmp_path: Path, ring: FileKeyring) -> None:
    wallets = [Wallet(tmp_path / name, secrets="auto") for name in "ab"]
    for number, one in enumerate(wallets):
        one.add_server("home", HOME)
        one.save_session("home", session(f"secret {number}"))
    assert [revealed(one).refresh_token for one in wallets] == ["secret 0", "secret 1"]


@pytest.mark.requirement("R110")
@pytest.mark.parametrize("backend", [fail.Keyring, null.Keyring])
def test_without_a_keyring_that_keeps_anything_the_file_does(
    wallet: Wallet, backend: type[KeyringBackend]
) -> None:
    keyring.set_keyring(backend())
    wallet.save_session("home", session())
    assert json.loads(in_file(wallet))["sessions"]["home"]["refresh_token"] == "very-secret"
    assert revealed(wallet) == session()
    strict = Wallet(wallet.folder, secrets="keyring")
    with pytest.raises(WalletError, match="no keyring"):
        strict.vault.check()
    with pytest.raises(WalletError, match="no keyring"):
        strict.save_session("home", session("new"))
    assert revealed(wallet) == session()


def test_keyring_that_takes_nothing_gives_way_to_the_file(
    wallet: Wallet, ring: FileKeyring
) -> None:
    ring.is_read_only = True
    wallet.save_session("home", session())
    assert revealed(wallet) == session()
    ring.is_read_only = False
    wallet.save_session("home", session("two"))
    assert "two" not in in_file(wallet).replace("access of two", "")
    ring.is_read_only = True
    wallet.save_session("home", session("three"))
    assert revealed(wallet) == session("three")


def test_place_is_chosen_by_the_environment(
    tmp_path: Path, ring: FileKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOOTHALL_SECRETS", "file")
    wallet = Wallet(tmp_path / "wallet")
    wallet.save_session("home", session())
    assert not ring.path.exists()
    monkeypatch.setenv("MOOTHALL_SECRETS", "keyring")
    Wallet(wallet.folder).save_session("home", session("two"))
    assert "two" in ring.path.read_text()
    # What already rests there is found wherever new secrets go.
    monkeypatch.setenv("MOOTHALL_SECRETS", "file")
    assert revealed(Wallet(wallet.folder)).refresh_token == "two"
    Wallet(wallet.folder).save_session("home", session("three"))
    assert ring.read() == {}
    monkeypatch.setenv("MOOTHALL_SECRETS", "drawer")
    with pytest.raises(WalletError, match="drawer"):
        Wallet(wallet.folder)


# --- renewing -------------------------------------------------------------------------------------


class Renewing(StubHall):
    """Renews a session by each refresh token once; a second use ends it."""

    def __init__(self, time: ManualTime) -> None:
        super().__init__(script=self._serve)
        self.time = time
        self.used: list[str] = []

    def _serve(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("refresh_session"):
            return httpx.Response(200, json={})
        token = json.loads(request.content)["refresh_token"]
        if token in self.used or not token.startswith("refresh-"):
            return problem("unauthenticated", status=401, retryable=False)
        self.used.append(token)
        return httpx.Response(200, json=tokens(len(self.used) + 1, now_ms=self.time.now_ms()))


@pytest.fixture
def time() -> ManualTime:
    time = ManualTime()
    time.seconds = 1_000
    return time


@pytest.fixture
def hall(time: ManualTime) -> Renewing:
    return Renewing(time)


def client(wallet: Wallet, hall: Renewing) -> Hall:
    return Wallet(wallet.folder, secrets=wallet.vault.place).hall(
        "home", world=hall.time.world(hall)
    )


async def use(wallet: Wallet, hall: Renewing, calls: int = 1) -> None:
    async with client(wallet, hall) as one:
        for _ in range(calls):
            await one.leaderboards.get_rank(board_id="7")


@pytest.mark.requirement("R4")
async def test_session_is_renewed_out_of_the_keyring(wallet: Wallet, hall: Renewing) -> None:
    wallet.save_session("home", session("refresh-1"))
    await use(wallet, hall)
    hall.time.seconds += 400
    await use(wallet, hall)
    assert hall.used == ["refresh-1", "refresh-2"]
    assert revealed(wallet).refresh_token == "refresh-3"


@pytest.mark.requirement("R4")
async def test_two_programs_renew_one_session_in_turn(wallet: Wallet, hall: Renewing) -> None:
    wallet.save_session("home", session("refresh-1"))
    for _ in range(5):
        await asyncio.gather(*(use(wallet, hall) for _ in range(4)))
        hall.time.seconds += 400
    assert hall.used == [f"refresh-{number}" for number in range(1, 6)]
    assert revealed(wallet).refresh_token == "refresh-6"


@pytest.mark.requirement("R110")
async def test_locked_keyring_is_told_and_nothing_is_lost(
    wallet: Wallet, ring: FileKeyring, hall: Renewing
) -> None:
    wallet.save_session("home", session("refresh-1"))
    before = in_file(wallet)
    ring.is_locked = True
    with pytest.raises(WalletError, match="keyring of this system cannot be read") as caught:
        await use(wallet, hall)
    assert "unlock it" in caught.value.remedy
    assert (hall.requests, in_file(wallet)) == ([], before)
    ring.is_locked = False
    await use(wallet, hall)
    assert hall.used == ["refresh-1"]


@pytest.mark.requirement("R110")
@pytest.mark.parametrize("damage", ["whole", "entry", "gone"])
async def test_damaged_keyring_is_told_and_nothing_is_lost(
    wallet: Wallet, ring: FileKeyring, hall: Renewing, damage: str
) -> None:
    wallet.save_session("home", session("refresh-1"))
    whole, before = ring.path.read_text(), in_file(wallet)
    match damage:
        case "whole":
            ring.path.write_text("{")
        case "entry":
            ring.path.write_text(whole.replace("refresh-1", "refresh-l"))
        case _:
            ring.path.unlink()
    with pytest.raises(WalletError) as caught:
        await use(wallet, hall)
    assert caught.value.remedy
    assert "refresh" not in str(caught.value)
    assert (hall.requests, in_file(wallet)) == ([], before)
    ring.path.write_text(whole)
    await use(wallet, hall)
    assert hall.used == ["refresh-1"]


async def test_keyring_that_could_not_take_the_successor_is_found_out_before(
    wallet: Wallet, ring: FileKeyring, hall: Renewing
) -> None:
    strict = Wallet(wallet.folder, secrets="keyring")
    strict.save_session("home", session("refresh-1"))
    ring.is_read_only = True
    with pytest.raises(WalletError, match="did not take"):
        await use(strict, hall)
    assert hall.requests == []
    ring.is_read_only = False
    await use(strict, hall)
    assert revealed(strict).refresh_token == "refresh-2"


async def test_secret_of_an_older_file_moves_to_the_keyring_when_it_is_renewed(
    wallet: Wallet, ring: FileKeyring, hall: Renewing
) -> None:
    Wallet(wallet.folder, secrets="file").save_session("home", session("refresh-1"))
    old = json.loads(in_file(wallet))
    del old["keyring"], old["tokens"]
    (wallet.folder / "sessions.json").write_text(json.dumps({**old, "format": 1}))
    await use(wallet, hall)
    assert hall.used == ["refresh-1"]
    assert "refresh-2" not in in_file(wallet)
    assert "refresh-2" in ring.path.read_text()
