"""A newcomer reads README and pastes what stands there, in two terminals.

What is pasted is taken from the document. Only what is true on the newcomer's machine alone
is replaced: the program of the clone's own environment, the port, and the folder of the data.
"""

import os
import re
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.plays.conftest import PASSWORD, environment, free_port
from tests.unit.test_docs import ROOT, Fence, fences_of, section

if sys.platform != "win32":
    import fcntl
    import pty
    import termios

README = ROOT / "README.md"
HISTORY = ROOT / "docs" / "how-to" / "load-history.md"
PROGRAM = Path(sys.executable).with_name("moothall")

LINES, COLUMNS = 24, 80
_TIMEOUT_S = 60.0
# A program asks a person at the terminal that its session owns.
_IN_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execvp(sys.argv[1], sys.argv[1:])"
)
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_RUN = re.compile(r'^make run(?: ARGS="(.*)")?$', re.MULTILINE)


class Terminal:
    """A terminal of 24 lines and 80 columns in which something runs."""

    def __init__(self, script: str, folder: Path, variables: Mapping[str, str]) -> None:
        self.shown = ""
        self._seen = 0
        self._master, slave = pty.openpty()
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _IN_TERMINAL, "sh", "-ec", script],
            cwd=folder,
            env=dict(variables),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    def wait_for(self, *patterns: str) -> re.Match[str] | None:
        """Return the first of the patterns that is shown, or None if the program ends before."""
        ends_s = time.monotonic() + _TIMEOUT_S
        while True:
            found = [re.compile(one).search(self.shown, self._seen) for one in patterns]
            if first := min(filter(None, found), key=lambda one: one.start(), default=None):
                self._seen = first.end()
                return first
            if time.monotonic() > ends_s:
                pytest.fail(f"waiting for {patterns}, and this is shown:\n{self.shown}")
            if not self._read():
                return None

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self) -> int:
        """Wait for the end and return the exit code."""
        self.wait_for()
        return self._process.wait(_TIMEOUT_S)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(_TIMEOUT_S)
        os.close(self._master)

    def _read(self) -> bool:
        """Read what is there; tell whether the program may show more."""
        ready, _, _ = select.select([self._master], [], [], 0.2)
        if not ready:
            return True
        try:
            piece = os.read(self._master, 65_536)
        except OSError:  # how Linux says that nobody has the other end any more
            return False
        self.shown += piece.decode("utf-8", errors="replace").replace("\r\n", "\n")
        return bool(piece)


class Newcomer:
    """Somebody with two terminals, who pastes into them.

    Attributes:
        folder: Where both terminals are.
        fingerprint: What the first terminal shows.
    """

    def __init__(self, folder: Path, belongings: Path) -> None:
        self.folder = folder
        self.variables = environment(MOOTHALL_CONFIG_DIR=str(belongings / "wallet"), TERM="xterm")
        del self.variables["COLUMNS"]  # The terminal says how wide it is.
        self._belongings = belongings
        self._data = belongings / "hall"
        self._port = free_port()
        self._hall: Terminal | None = None
        self._secret = ""
        self.fingerprint = ""

    def pastes(self, block: str) -> str:
        """Paste a block into the terminal where it belongs, and return what is shown."""
        code, shown = self.tries(block)
        assert code == 0, shown
        return shown

    def tries(self, block: str) -> tuple[int, str]:
        """Paste a block that may fail, and return its exit code and what is shown."""
        if found := _RUN.fullmatch(block.strip()):
            return 0, self._serves(found[1] or "")
        terminal = self._opens(self._fitted(block))
        try:
            self._answers(terminal)
            code = terminal.end()
        finally:
            terminal.close()
        return code, _COLOURS.sub("", terminal.shown)

    def watches(self, block: str) -> Terminal:
        """Paste a block into a terminal of its own, where it runs until that is closed."""
        return self._opens(f"exec {self._fitted(block)}")

    def waits_until_followed(self, feed: str) -> None:
        """Ask the hall again and again until somebody follows a feed."""
        asked = ".venv/bin/moothall connection list --json\n"
        ends_s = time.monotonic() + _TIMEOUT_S
        while f'"{feed}"' not in (shown := self.pastes(asked)):
            assert time.monotonic() < ends_s, shown

    def stops_the_hall(self) -> None:
        """Press Ctrl-C in the first terminal."""
        if self._hall is None:
            return
        self._hall.type("\x03")
        code = self._hall.end()
        shown = self._hall.shown
        self.leaves()
        assert code == 0, shown
        assert "Traceback" not in shown

    def leaves(self) -> None:
        """Close the first terminal, whatever runs there."""
        if self._hall is not None:
            self._hall.close()
            self._hall = None

    def _serves(self, arguments: str) -> str:
        self.stops_the_hall()
        own = ["--data", str(self._data), "--port", str(self._port)]
        self._hall = self._opens(f"exec {shlex.join([str(PROGRAM), 'serve', *own])} {arguments}\n")
        assert self._hall.wait_for("Ctrl-C stops the hall"), self._hall.shown
        banner = self._hall.shown
        self._port = int(self._find(r"https://127\.0\.0\.1:(\d+)", banner))
        self.fingerprint = self._find(r"(sha256:[0-9a-f]{64})", banner)
        if "one-time secret: " in banner:
            self._secret = self._find(r"one-time secret: (\S+)", banner)
        return banner

    def _fitted(self, block: str) -> str:
        block = block.replace("8443", str(self._port))
        block = re.sub(r"^DATA=\S+", f"DATA={shlex.quote(str(self._data))}", block)
        # What is fetched shall not lie in the clone, where a second run would find it.
        block = re.sub(r"--output (\S+)", rf"--output {self._belongings}/\1", block)
        return block.replace(".venv/bin/", shlex.quote(str(PROGRAM.parent)) + "/")

    def _opens(self, script: str) -> Terminal:
        return Terminal(script, self.folder, self.variables)

    def _answers(self, terminal: Terminal) -> None:
        """Answer each question as the document says."""
        answers = {
            r"hall printed at its start\? \[y/N\]: ": "y",
            r"Password(?: again)?: ": PASSWORD,
            r"Secret: ": self._secret,
        }
        while question := terminal.wait_for(*answers):
            [answer] = [text for one, text in answers.items() if re.fullmatch(one, question[0])]
            terminal.type(f"{answer}\n")

    @staticmethod
    def _find(pattern: str, text: str) -> str:
        found = re.search(pattern, text)
        assert found is not None, text
        return found[1]


def of(language: str, heading: str) -> list[Fence]:
    """Return the blocks of a section of README."""
    text = section(README, heading)
    return [
        fence for fence in fences_of(README) if fence.language == language and fence.text in text
    ]


@pytest.mark.requirement("R11")
@pytest.mark.requirement("R15")
@pytest.mark.requirement("R40")
@pytest.mark.requirement("R54")
@pytest.mark.requirement("R61")
@pytest.mark.requirement("R110")
def test_from_top_to_bottom(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "examples", clone / "examples")
    newcomer = Newcomer(clone, tmp_path)
    copy, serve, meet, register, sign = of("sh", "## The first five minutes")
    claim, boards = of("sh", "## Boards")
    [snippet] = of("python", "## From Python")
    try:
        newcomer.pastes(copy.text)
        newcomer.pastes(serve.text)
        shown = newcomer.pastes(meet.text)
        assert newcomer.fingerprint in shown, "what the newcomer is to compare"
        shown = newcomer.pastes(register.text)
        assert shown.count("Password") == 2, "asked for a password twice"
        assert PASSWORD not in shown
        assert newcomer.pastes(sign.text).strip() == "number: 1"

        assert "administrator" in newcomer.pastes(claim.text)
        shown = newcomer.pastes(boards.text)
        assert "392 of 392 rows imported, 0 refused" in shown
        top = re.findall(r"^ +(\d+)  \S+ +\w+ +(\d+\.\d+)", shown, re.MULTILINE)
        assert [place for place, _ in top] == ["1", "1", "3", "4", "5"]
        assert [score for _, score in top[:3]] == ["117.77", "117.77", "118.06"]
        assert re.search(r"^place: +7$", shown, re.MULTILINE)
        assert re.search(r"^total: +13$", shown, re.MULTILINE)
        assert re.search(r"^score: +119\.49$", shown, re.MULTILINE)
        assert "Booth is seventh of thirteen" in README.read_text("utf-8")
        assert "119.49 s" in README.read_text("utf-8")

        dry, once_more, *look = [one for one in fences_of(HISTORY) if one.language == "sh"]
        assert "392 of 392 rows would be sent, 0 boards made, 0 refused" in newcomer.pastes(
            dry.text
        )
        assert "392 known" in newcomer.pastes(once_more.text), "README had loaded it already"
        assert re.search(r"^total: +(\d+)$", newcomer.pastes(look[0].text), re.MULTILINE)

        script = tmp_path / "snippet.py"
        script.write_text(snippet.text)
        said = subprocess.run(
            [sys.executable, script],
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
            env=newcomer.variables,
        )
        assert said.stdout == "7 of 13\n", said.stderr
        assert "it prints `7 of 13`" in README.read_text("utf-8")
        newcomer.stops_the_hall()
    finally:
        newcomer.leaves()


@pytest.mark.requirement("R40")
def test_the_room_that_is_shown_is_the_example() -> None:
    [shown] = of("python", "## The first five minutes")
    assert (ROOT / "examples" / "guestbook" / "actions.py").read_text("utf-8").endswith(shown.text)
