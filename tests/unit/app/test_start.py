"""What a hall loads when it starts: each import is a part of every start, and stays in memory.

That the client loads nothing of a server's is a contract of import-linter (`pyproject.toml`).
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

SERVE = """
import os, signal
from moothall.app import main

def tell(_banner):
    print(*sorted(sys.modules))
    import rich.console  # whoever asks for it gets it
    os.kill(os.getpid(), signal.SIGTERM)

import sys
main._announce = tell
main.main()
"""


def test_a_hall_starts_without_what_only_some_calls_and_commands_need(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVE, "serve", "--data", str(tmp_path / "hall"), "--port", "0"],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert {"apsw", "structlog", "moothall.transports.http.server"} <= loaded
    assert loaded.isdisjoint(
        {
            "attr",
            "confusable_homoglyphs.confusables",
            "httpx",
            "moothall.client.hall",
            "prometheus_client",
            "pygments",
            "rich",
            "typer",
            "zxcvbn",
        }
    )
