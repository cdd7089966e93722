"""What every Sender promises, shown on a real mail server and on a real program."""

import asyncio
import email.header
import json
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import trustme
import uvloop

from moothall.core.errors import ConfigurationError
from moothall.ports.sender import Sender, SenderUnavailableError
from moothall.senders import MailSettings, PhoneSettings, build_senders
from moothall.senders.command import RUNNING_MAX, CommandSender
from moothall.senders.smtp import SmtpSender
from tests.contract.post import PASSWORD, USER, Connections, Post, Received


@pytest.fixture
def post(tmp_path: Path) -> Post:
    return Post(tmp_path)


@pytest.fixture(params=["tls", "starttls", "none", "command"])
async def way(
    request: pytest.FixtureRequest, tmp_path: Path, post: Post
) -> AsyncIterator[tuple[Sender, Callable[[], list[Received]]]]:
    """A sender, and what arrived by it."""
    file = tmp_path / "sent.jsonl"
    file.touch()

    def taken() -> list[Received]:
        return [Received(**json.loads(line)) for line in file.read_text().splitlines()]

    async with AsyncExitStack() as opened:
        if request.param == "command":
            command = ("sh", "-c", f"grep -v refused@ >> '{file}'")
            yield CommandSender(command, 5_000), taken
        else:
            await opened.enter_async_context(post.open(request.param))
            yield SmtpSender(post.settings(request.param)), post.received


@pytest.mark.requirement("R10")
async def test_message_arrives_as_it_was_sent(
    way: tuple[Sender, Callable[[], list[Received]]],
) -> None:
    sender, received = way
    text = "Your code is 12345678\n\nGrüße\n"
    await sender.send("alice@example.org", "Your code: ä", text)
    [one] = received()
    assert one.address == "alice@example.org"
    assert one.text.replace("\r\n", "\n") == text
    shown = str(email.header.make_header(email.header.decode_header(one.subject)))
    assert shown == "Your code: ä"


@pytest.mark.requirement("R10")
async def test_message_that_is_refused_is_told(
    way: tuple[Sender, Callable[[], list[Received]]],
) -> None:
    sender, received = way
    with pytest.raises(SenderUnavailableError) as refusal:
        await sender.send("refused@example.org", "subject", "text")
    assert "refused@" not in str(refusal.value), "a log holds no address"
    assert received() == []
    await sender.send("alice@example.org", "subject", "text\n")
    assert len(received()) == 1, "the next message is taken again"


# --- mail -----------------------------------------------------------------------------------------


@pytest.mark.requirement("R10")
@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_mail_goes_encrypted_and_signed_in(post: Post, tmp_path: Path, security: str) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\nwhat stands below is not the password\n")
    async with post.open(security, with_password=True):
        settings = post.settings(security, username=USER, password_file=str(file))
        await SmtpSender(settings).send("alice@example.org", "subject", "text")
        assert (post.mailbox.was_encrypted, post.mailbox.was_signed_in) == ([True], [True])
        [message] = post.mailbox.messages
        assert message["From"] == "hall@example.org"
        assert message["Auto-Submitted"] == "auto-generated"
        assert message["Date"]
        assert message["Message-ID"].endswith("@example.org>")
        file.write_text("wrong\n")
        with pytest.raises(SenderUnavailableError, match="535"):
            await SmtpSender(settings).send("alice@example.org", "subject", "text")


@pytest.mark.requirement("R10")
async def test_server_without_tls_gets_nothing(post: Post) -> None:
    async with post.open("none"):
        for security in ("tls", "starttls"):
            with pytest.raises(SenderUnavailableError):
                await SmtpSender(post.settings(security)).send("a@example.org", "subject", "text")
    assert post.mailbox.messages == []


@pytest.mark.requirement("R10")
@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_server_that_nobody_vouches_for_gets_nothing(
    post: Post, tmp_path: Path, security: str
) -> None:
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(str(stranger))
    async with post.open(security):
        settings = post.settings(security, authority=str(stranger))
        with pytest.raises(SenderUnavailableError, match="SSLCertVerificationError"):
            await SmtpSender(settings).send("a@example.org", "subject", "text")
    assert post.mailbox.messages == []


async def test_server_that_is_silent_is_given_up(post: Post) -> None:
    connections = Connections()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        await reader.read()
        writer.close()
        await writer.wait_closed()
        connections.remove(writer)

    server = await asyncio.start_server(say_nothing, "localhost", 0)
    post.port = server.sockets[0].getsockname()[1]
    sender = SmtpSender(post.settings("none", timeout_ms=200))
    async with server:
        with pytest.raises(SenderUnavailableError):
            await asyncio.wait_for(sender.send("a@example.org", "subject", "text"), 5)
        await connections.wait_until_gone()


async def test_server_that_is_away_is_told(post: Post) -> None:
    async with post.open("none"):
        sender = SmtpSender(post.settings("none"))
    with pytest.raises(SenderUnavailableError, match="localhost: ConnectionRefusedError"):
        await sender.send("a@example.org", "subject", "text")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sender": ""}, "mail.sender is needed"),
        ({"username": "hall"}, "belong together"),
        ({"password_file": "x"}, "belong together"),
        ({"username": "hall", "password_file": "no such file"}, "cannot be read"),
        ({"username": "hall", "password_file": "x", "security": "none"}, "would show"),
        ({"authority": "no such file"}, "cannot be read"),
        ({"command": ("cat",)}, "two ways to send"),
    ],
)
def test_settings_that_cannot_work_stop_the_start(
    post: Post, wrong: dict[str, Any], message: str
) -> None:
    settings = post.settings(wrong.pop("security", "tls"), **wrong)
    with pytest.raises(ConfigurationError, match=message):
        build_senders({MailSettings: settings, PhoneSettings: PhoneSettings()})


def test_hall_sends_by_what_is_set_up(post: Post) -> None:
    nothing: dict[type, Any] = {
        MailSettings: MailSettings(),
        PhoneSettings: PhoneSettings(),
    }
    assert build_senders(nothing) == {}
    mail, phone = post.settings("tls"), PhoneSettings(command=("cat",))
    found = build_senders({MailSettings: mail, PhoneSettings: phone})
    assert {kind: type(one) for kind, one in found.items()} == {
        "email": SmtpSender,
        "phone": CommandSender,
    }
    by_program = MailSettings(command=("cat",))
    found = build_senders({MailSettings: by_program, PhoneSettings: PhoneSettings()})
    assert {kind: type(one) for kind, one in found.items()} == {"email": CommandSender}


# --- a program ------------------------------------------------------------------------------------


async def test_address_is_no_argument_of_the_program(tmp_path: Path) -> None:
    file = tmp_path / "arguments"
    script = f"import json, sys; open({str(file)!r}, 'w').write(json.dumps(sys.argv[1:]))"
    sender = CommandSender((sys.executable, "-c", script, "--fixed"), 20_000)
    await sender.send("--version", "subject", "text")
    assert json.loads(file.read_text()) == ["--fixed"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("false",), "false exited with code 1"),
        (("sh", "-c", "kill -9 $$"), "sh exited with code -9"),
        (("/no/such/program",), "cannot be started: No such file"),
    ],
)
async def test_program_that_fails_is_told(command: tuple[str, ...], message: str) -> None:
    with pytest.raises(SenderUnavailableError, match=message):
        await CommandSender(command, 5_000).send("a@example.org", "subject", "text")


@pytest.mark.requirement("R10")
def test_program_that_reads_nothing_may_end_well() -> None:
    """The loop of a hall says otherwise than asyncio's own that a pipe is closed."""

    async def send_many() -> None:
        sender = CommandSender(("true",), 5_000)
        for _ in range(40):
            await asyncio.gather(*(sender.send("a@example.org", "s", "t") for _ in range(4)))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(send_many())


async def test_program_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    sleep = shutil.which("sleep")
    sender = CommandSender(("sh", "-c", f"{sleep} 60 & echo $! > '{file}'; wait"), 300)
    with pytest.raises(SenderUnavailableError, match=r"sh took longer than 0\.3 s"):
        await sender.send("a@example.org", "subject", "text")
    async with asyncio.timeout(20):
        while not is_over(int(file.read_text())):  # noqa: ASYNC110 - the other is a process
            await asyncio.sleep(0)


def is_over(process: int) -> bool:
    """Tell whether a process has ended, even if nobody has taken note of it."""
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_programs_at_once_are_bounded(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    sender = CommandSender(("sh", "-c", f"until [ -e '{gate}' ]; do sleep 0.05; done"), 20_000)
    running = [
        asyncio.create_task(sender.send("a@example.org", "subject", "text"))
        for _ in range(RUNNING_MAX)
    ]
    await asyncio.sleep(0)
    with pytest.raises(SenderUnavailableError, match="run already"):
        await sender.send("a@example.org", "subject", "text")
    gate.touch()
    await asyncio.gather(*running)
