"""The life of the process, without its doors: the one-time secret comes and goes."""

import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from moothall.app import lifecycle
from moothall.app.compose import Hall, open_hall
from moothall.app.config import Settings
from moothall.app.lifecycle import SECRET_FILE
from moothall.testing import ManualClock, OpenHall, ProblemError, Visitor

Story = Callable[[OpenHall, str], Awaitable[None]]


class NoDoor:
    """A door that nobody can come through; a unit test has no network."""

    url = "http://nowhere"

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass


async def serve(
    folder: Path, monkeypatch: pytest.MonkeyPatch, story: Story, **settings: Any
) -> None:
    """Serve a hall, and tell ``story`` while it is open, with what the operator was shown."""
    clock, shown, halls = ManualClock(), list[str](), list[Hall]()

    async def open_with_clock(settings: Settings, **rest: Any) -> Hall:
        halls.append(await open_hall(settings, clock=clock, **rest))
        return halls[0]

    async def watch_certificate_until(_stop: object, _tls: object) -> None:
        await story(OpenHall(halls[0], clock, chosen), shown[0])

    monkeypatch.setattr(lifecycle, "open_hall", open_with_clock)
    monkeypatch.setattr(lifecycle, "_watch_certificate_until", watch_certificate_until)
    chosen = Settings(data=str(folder), insecure=True, metrics_port=-1, **settings)
    await lifecycle.serve(chosen, shown.append, [lambda *_: NoDoor()])


async def claim(hall: OpenHall, who: Visitor, secret: str) -> None:
    await hall.call("access.claim_administration", {"secret": secret}, as_=who)


@pytest.mark.requirement("R11")
async def test_the_file_of_the_secret_goes_when_it_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "hall" / SECRET_FILE

    async def story(hall: OpenHall, shown: str) -> None:
        ada, bob = await hall.member("ada"), await hall.member("bob")
        secret = file.read_text().strip()
        assert secret in shown
        assert file.stat().st_mode & 0o777 == 0o600
        with pytest.raises(ProblemError, match="wrong_secret"):
            await claim(hall, bob, "a guess")
        assert file.exists(), "a wrong guess spends nothing"
        await claim(hall, ada, secret)
        assert not file.exists()

    async def next_story(_hall: OpenHall, shown: str) -> None:
        assert "one-time secret" not in shown
        assert not file.exists()

    await serve(tmp_path / "hall", monkeypatch, story)
    await serve(tmp_path / "hall", monkeypatch, next_story)


async def test_a_file_that_does_not_go_keeps_nobody_from_claiming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "hall" / SECRET_FILE

    async def story(hall: OpenHall, _shown: str) -> None:
        ada, secret = await hall.member("ada"), file.read_text().strip()
        file.unlink()
        file.mkdir()
        with capture_logs() as logs:
            await claim(hall, ada, secret)
        assert [log["event"] for log in logs] == ["old secret not removed"]
        assert (await hall.call("access.check", {"permission": "*"}, as_=ada)).is_allowed

    await serve(tmp_path / "hall", monkeypatch, story)


@pytest.mark.requirement("R3")
@pytest.mark.parametrize("named", ["", "https://hall.example"])
async def test_operator_is_shown_the_issuer_that_stands_in_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    async def story(hall: OpenHall, shown: str) -> None:
        ada = await hall.member("ada")
        claims = msgspec.json.decode(base64.urlsafe_b64decode(ada.token.split(".")[1] + "=="))
        assert claims["iss"] == claims["aud"]
        assert claims["iss"] == named or not named
        assert f"  issuer       {claims['iss']}\n  audience     the same" in shown

    await serve(tmp_path / "hall", monkeypatch, story, public_url=named)
