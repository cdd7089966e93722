"""People who know no commands: everything by the menus of `moothall shell`, at a real terminal."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.plays.conftest import (
    PASSWORD,
    PROGRAM,
    NewPerson,
    Person,
    RunningHall,
    StartHall,
    free_port,
)

_TIMEOUT_S = 30.0


class AtShell:
    """A person at a terminal of 80 columns, in `moothall shell`."""

    def __init__(self, person: Person, *words: str, has_dev_tty: bool = True) -> None:
        self.pid, self._master = pty.fork()
        if self.pid == 0:  # pragma: no cover - the child becomes the program
            with contextlib.suppress(OSError):
                if not has_dev_tty:
                    signal.signal(signal.SIGHUP, signal.SIG_IGN)
                    fcntl.ioctl(0, termios.TIOCNOTTY)
                env = {**person.environment(), "COLUMNS": "80", "LINES": "24", "TERM": "dumb"}
                os.execvpe(PROGRAM[0], [*PROGRAM, "shell", *words], env)  # noqa: S606
            os._exit(127)
        self.shown = ""
        self._read = 0
        self._is_over = False

    def sees(self, text: str) -> str:
        """Wait until a text comes, after what was seen before; return all up to its end."""
        ends_s = time.monotonic() + _TIMEOUT_S
        while (at := self.shown.find(text, self._read)) < 0:
            left_s = ends_s - time.monotonic()
            if left_s <= 0 or not self._take(left_s):
                pytest.fail(f"never saw {text!r} after:\n{self.shown[-3_000:]}")
        seen = self.shown[self._read : at + len(text)]
        self._read = at + len(text)
        return seen

    def types(self, line: str) -> None:
        os.write(self._master, f"{line}\n".encode())

    def presses(self, key: bytes) -> None:
        os.write(self._master, key)

    def chooses(self, *lines: str) -> None:
        """Type each line at the next prompt of a menu."""
        for line in lines:
            self.sees("\n> ")
            self.types(line)

    def answers(self, *answers: tuple[str, str]) -> None:
        """Answer questions in their order, each known by a part of it."""
        for question, answer in answers:
            self.sees(question)
            self.sees(": ")
            self.types(answer)

    def leaves(self) -> int:
        """Wait for the end and return the exit code."""
        ends_s = time.monotonic() + _TIMEOUT_S
        while not self._is_over and time.monotonic() < ends_s:
            self._take(ends_s - time.monotonic())
        assert self._is_over, self.shown[-3_000:]
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._master)

    def _take(self, left_s: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], left_s)
        if not ready:
            return False
        try:
            piece = os.read(self._master, 65_536)
        except OSError:  # Linux says so where the other end is closed
            piece = b""
        self._is_over = not piece
        self.shown += piece.decode(errors="replace").replace("\r\n", "\n")
        return bool(piece)


Sit = Callable[..., AtShell]


@pytest.fixture
def sit_down() -> Iterator[Sit]:
    """Let people sit down at a shell; each is closed at the end."""
    sitting: list[AtShell] = []

    def sit(person: Person, *words: str, has_dev_tty: bool = True) -> AtShell:
        sitting.append(AtShell(person, *words, has_dev_tty=has_dev_tty))
        return sitting[-1]

    yield sit
    for shell in sitting:
        shell.close()


def meets_and_registers(shell: AtShell, hall: RunningHall, name: str) -> None:
    """From an empty wallet to a session."""
    shell.chooses("s")
    shell.answers(("Name of the server", "home"), ("Address", hall.url), ("Fingerprint", ""))
    assert hall.fingerprint in shell.sees("printed at its start?")
    shell.types("y")
    shell.chooses("register")
    shell.answers(
        ("Name you would like", name), ("Password", PASSWORD), ("Password again", PASSWORD)
    )
    shell.sees(f"Signed in as: {name}")


@pytest.mark.requirement("R110")
@pytest.mark.requirement("R112")
@pytest.mark.timeout(300)
def test_from_an_empty_wallet_to_a_verified_entry_with_a_proof(
    start_hall: StartHall, new_person: NewPerson, sit_down: Sit, tmp_path: Path
) -> None:
    hall = start_hall()
    video = tmp_path / "my jump.mp4"
    video.write_bytes(os.urandom(700_001))
    boss, ann = sit_down(new_person()), sit_down(new_person())

    meets_and_registers(boss, hall, "boss")
    boss.chooses("a", "c")
    boss.answers(("One-time secret", hall.secret))
    boss.sees("administrator of this hall now")
    boss.chooses("b", "l", "c")
    boss.answers(
        ("Name of the board", "Long Jump"),
        ("better first", "desc"),
        ("Which entries", ""),
        ("every member", "write"),
    )
    boss.sees("Create this board? [y/N]: ")
    boss.types("y")
    boss.sees("Board Long Jump (long-jump)")

    meets_and_registers(ann, hall, "ann")
    ann.chooses("L", "1", "s")
    ann.answers(("Score", "7.25"), ("Description", "windy"))
    ann.sees("Submit this score? [y/N]: ")
    ann.types("y")
    ann.sees("Verified:     no")
    ann.chooses("proofs", "a")
    ann.answers(("Path of the file", str(video)))
    ann.sees("Upload this file for moderators to see? [y/N]: ")
    ann.types("y")
    assert re.search(r"1 +my jump\.mp4 +video/mp4 +684 KiB", ann.sees("[1] one proof"))

    boss.chooses("w", "1")
    boss.sees("Submitted by: ann")
    boss.chooses("f", "1", "g")
    boss.answers(("Save as", str(video)))
    boss.sees("nothing is written over it")
    boss.chooses("g")
    boss.answers(("Save as", str(tmp_path / "fetched.mp4")))
    boss.sees("Saved as")
    assert (tmp_path / "fetched.mp4").read_bytes() == video.read_bytes()
    boss.chooses("b", "b")
    boss.chooses("v")
    boss.sees("Verify 7.25 of ann? [y/N]: ")
    boss.types("y")
    boss.sees("Verified by:  boss")

    ann.chooses("b", "r")
    ann.sees("Verified by:  boss")
    ann.chooses("b")
    assert re.search(r"1 +1 +ann +7\.25", ann.sees("[?] help"))
    ann.chooses("q")
    assert ann.leaves() == 0
    assert PASSWORD not in ann.shown
    assert hall.secret not in boss.shown


@pytest.mark.requirement("R110")
@pytest.mark.timeout(300)
def test_ctrl_c_goes_back_and_ctrl_d_quits(
    shared_hall: RunningHall, administrator: Person, new_person: NewPerson, sit_down: Sit
) -> None:
    cleo = new_person()
    cleo.joins(shared_hall, "cleo")
    shell = sit_down(cleo)
    shell.chooses("m")
    shell.sees("Members\n")
    shell.chooses("f")
    shell.sees("Name: ")
    shell.presses(b"\x03")
    shell.sees("stopped")
    shell.sees("> ")
    shell.presses(b"\x03")
    shell.sees("Moothall\n--------")
    shell.sees("> ")
    shell.presses(b"\x03")
    shell.sees("Quit? [y/N]: ")
    shell.types("no")
    shell.sees("Moothall\n--------")
    # Pressed while a password is typed, it stops only that.
    shell.chooses("o")
    shell.chooses("i")
    shell.answers(("Name", "cleo"))
    shell.sees("Password: ")
    shell.presses(b"\x03")
    shell.sees("> ")
    shell.types("\x1b[A\x1b[B \t\x7f\x01junk")
    shell.sees("there is no choice")
    shell.sees("> ")
    shell.presses(b"\x04")
    assert shell.leaves() == 0
    assert "Traceback" not in shell.shown
    assert "\x1b" not in shell.shown.replace("\x1b[A\x1b[B", "")

    shell = sit_down(cleo)
    shell.sees("> ")
    shell.presses(b"\x03")
    shell.sees("Quit? [y/N]: ")
    shell.presses(b"\x03")
    assert shell.leaves() == 0


@pytest.mark.requirement("R110")
def test_password_is_not_echoed_where_there_is_no_dev_tty(
    shared_hall: RunningHall, new_person: NewPerson, sit_down: Sit
) -> None:
    fay = new_person()
    fay.meets(shared_hall)
    shell = sit_down(fay, has_dev_tty=False)
    shell.chooses("g")
    shell.answers(("Name you", "fay"), ("Password", PASSWORD), ("Password again", PASSWORD))
    shell.sees("Signed in as: fay")
    shell.chooses("a", "c")
    shell.answers(("One-time secret", "hush hush"))
    shell.sees("moothall: ")
    shell.chooses("q")
    assert shell.leaves() == 0
    assert PASSWORD not in shell.shown
    assert "hush" not in shell.shown


@pytest.mark.requirement("R112")
@pytest.mark.requirement("R113")
def test_yes_does_not_answer_here_and_duration_ends(
    shared_hall: RunningHall, new_person: NewPerson, sit_down: Sit
) -> None:
    dora = new_person()
    dora.joins(shared_hall, "dorian")
    shell = sit_down(dora, "--yes")
    shell.chooses("s", "1", "d")
    shell.sees("Forget hall and the session there? [y/N]: ")
    shell.types("n")
    shell.chooses("q")
    assert shell.leaves() == 0
    shell = sit_down(dora, "--duration", "3")
    shell.sees("> ")
    shell.sees("the time for everything is up")
    assert shell.leaves() == 3
    assert dora.moothall("shell", "--json").returncode == 2


def start_again(start_hall: StartHall, hall: RunningHall) -> RunningHall:
    """Start a hall that was killed where it was."""
    return start_hall(hall.folder.name, "--ndjson-port", str(hall.ndjson_port), port=hall.port)


@pytest.mark.requirement("R110")
@pytest.mark.requirement("R35")
@pytest.mark.timeout(300)
def test_hall_is_killed_and_comes_back(
    start_hall: StartHall, new_person: NewPerson, sit_down: Sit
) -> None:
    hall = start_hall()
    boss = new_person()
    boss.joins(hall, "boss")
    boss.does("administration", "claim", "--secret-stdin", stdin=f"{hall.secret}\n")
    boss.does("board", "create", "Kart", "--direction", "ascending")
    shell, other = sit_down(boss), sit_down(boss)
    shell.chooses("l", "1")
    other.chooses("l", "1", "l")
    other.sees("Following.")

    hall._process.send_signal(signal.SIGKILL)
    hall.wait()
    shell.chooses("s")
    shell.answers(("Score", "12.5"), ("Description", "while it is away"))
    shell.sees("Submit this score? [y/N]: ")
    shell.types("y")
    shell.sees("that the hall is running")
    shell.chooses("r")
    shell.sees("could not be loaded")
    other.sees("trying again in")

    start_again(start_hall, hall)
    shell.chooses("r")
    shell.sees("Board Kart (kart)")
    shell.chooses("s")
    shell.answers(("Score", "12.5"), ("Description", "again"))
    shell.sees("Submit this score? [y/N]: ")
    shell.types("y")
    shell.sees("Verified:     no")
    # What happened reaches whoever follows, across the break; Enter ends it.
    other.sees("score submitted: ")
    other.types("")
    other.sees("Board Kart (kart)")
    other.chooses("l")
    other.sees("Following.")
    other.presses(b"\x03")
    other.sees("Board Kart (kart)")
    other.chooses("l")
    other.sees("Following.")
    other.presses(b"\x04")
    shell.chooses("q")
    assert (shell.leaves(), other.leaves()) == (0, 0)
    assert "Traceback" not in shell.shown + other.shown


@pytest.mark.requirement("R110")
def test_shell_in_a_pipe(shared_hall: RunningHall, new_person: NewPerson) -> None:
    eva = new_person()
    lines = ["s", "home", shared_hall.url, shared_hall.fingerprint]
    lines += ["g", "evander", PASSWORD, "m", "f", "evander", "b", "b", "o"]
    done = eva.moothall("shell", stdin="\n".join(lines))
    assert done.returncode == 0, done.stderr
    assert "Signed in as: evander" in done.stdout
    assert "Member evander" in done.stdout
    assert done.stdout.rindex("Signed in as: nobody") > done.stdout.rindex("Member evander")
    assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.requirement("R3")
@pytest.mark.requirement("R110")
@pytest.mark.timeout(300)
def test_one_login_is_enough_for_a_resource_server(
    start_hall: StartHall, new_person: NewPerson, sit_down: Sit
) -> None:
    identity = start_hall("identity", "--rooms", "identity")
    boards = start_hall(
        "boards",
        "--issuer", identity.url,
        "--issuer-fingerprint", identity.fingerprint,
        "--ndjson-port", "0",
        port=free_port(),
    )  # fmt: skip
    boss = new_person()
    boss.joins(identity, "boss")
    boss.does("administration", "claim", "--secret-stdin", stdin=f"{identity.secret}\n")
    boss.does("audience", "add", boards.url)

    shell = sit_down(new_person())
    meets_and_registers(shell, identity, "ann")
    shell.chooses("s", "a")
    shell.answers(("Name of the server", "boards"), ("Address", boards.url))
    shell.answers(("Fingerprint", boards.fingerprint))
    shell.sees("who is signed in there is signed in here")
    shell.chooses("b")
    shell.sees("Session of:   home")
    shell.sees("Signed in as: ann")
    shell.chooses("a", "c")
    shell.answers(("One-time secret", boards.secret))
    shell.sees("administrator of this hall now")
    shell.chooses("b", "l", "c")
    shell.answers(("Name of the board", "Kart"), ("better first", "asc"))
    shell.answers(("Which entries", ""), ("every member", ""))
    shell.sees("Create this board? [y/N]: ")
    shell.types("y")
    shell.sees("Board Kart (kart)")
    # A server whose session others use is not forgotten under them.
    shell.chooses("b", "b", "s", "1", "d")
    assert "boards" in shell.sees("\n> ").rpartition("> d\n")[2]
    shell.types("q")
    assert shell.leaves() == 0
    assert "Traceback" not in shell.shown


@pytest.mark.requirement("R40")
@pytest.mark.requirement("R112")
@pytest.mark.timeout(300)
def test_the_same_by_commands_for_programs(
    start_hall: StartHall, new_person: NewPerson, tmp_path: Path
) -> None:
    hall = start_hall()
    boss, ann = new_person(), new_person()

    def does(person: Person, *words: str, stdin: str = "") -> Any:
        """Carry out a command; both what it takes and what it gives is for programs."""
        return json.loads(person.does(*words, "--json", stdin=stdin))

    for person, name in ((boss, "boss"), (ann, "ann")):
        added = does(person, "server", "add", "home", hall.url, "--yes")
        assert added["fingerprint"] == hall.fingerprint
        joined = does(person, "register", name, "--password-stdin", stdin=f"{PASSWORD}\n")
        assert joined["name"] == name
    does(boss, "administration", "claim", "--secret-stdin", stdin=f"{hall.secret}\n")
    board = does(
        boss, "board", "create", "Long Jump",
        "--direction", "descending", "--default-level", "write",
    )  # fmt: skip
    entry = does(ann, "score", "submit", board["board_id"], "7.25", "--description", "windy")
    waiting = does(boss, "entry", "waiting", board["board_id"])
    assert [one["entry_id"] for one in waiting["entries"]] == [entry["entry_id"]]
    assert does(boss, "entry", "verify", entry["entry_id"])["verified_at_ms"] is not None
    ranking = does(ann, "entry", "list", board["board_id"])
    assert [(one["place"], one["name"]) for one in ranking["standings"]] == [(1, "ann")]
    comments = does(ann, "comment", "list", entry["entry_id"])
    assert [one["text"] for one in comments["comments"]] == ["windy"]
    video, fetched = tmp_path / "jump.mp4", tmp_path / "fetched.mp4"
    video.write_bytes(os.urandom(700_001))
    proof = does(ann, "proof", "add", entry["entry_id"], str(video))
    listed = does(boss, "proof", "list", entry["entry_id"])
    assert listed["proofs"] == [proof]
    does(boss, "proof", "get", proof["proof_id"], "--output", str(fetched))
    assert fetched.read_bytes() == video.read_bytes()
