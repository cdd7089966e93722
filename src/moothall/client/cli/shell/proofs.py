"""The files that prove an entry: listing, adding, fetching and removing them."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from moothall.client.cli.render import format_time
from moothall.client.cli.shell.engine import Place, Shell
from moothall.client.cli.shell.menu import Choice, Screen, Step, facts, table
from moothall.client.cli.shell.pages import CursorPages, number_rows


def proofs_lines(proofs: Sequence[Any], first: int) -> list[str]:
    """Return proofs as a table, numbered from ``first``."""
    rows = [
        (str(at), one["name"], one["media_type"], _size(one["size_bytes"]))
        for at, one in enumerate(proofs, start=first)
    ]
    return table(("no", "name", "type", "size"), rows) if rows else ["There are none."]


class ProofsPlace:
    """The proofs of one entry, oldest first."""

    title = "Proofs"

    def __init__(self, entry_id: str, *, may_add: bool, may_remove: bool) -> None:
        self._entry_id = entry_id
        self._may_add = may_add
        self._may_remove = may_remove
        self._pages = CursorPages()

    def look(self, shell: Shell) -> Screen:
        """Load one page."""
        page = shell.call("leaderboards.list_proofs", entry_id=self._entry_id, **self._pages.asked)
        proofs = page["proofs"]
        self._pages.note(len(proofs), page["next"])
        places = [partial(_enter, proof=one, may_remove=self._may_remove) for one in proofs]
        add = Choice("a", "add", "add a file", self._add, self._may_add)
        choices = (*number_rows(places, self._pages.offset), add, *self._pages.choices())
        lines = proofs_lines(proofs, self._pages.offset + 1)
        return Screen(self.title, tuple(lines), choices, rows="one proof")

    def _add(self, shell: Shell) -> Place | Step:
        """Upload a file, as `moothall proof add` does."""
        path = _ask_path(shell, "Path of the file (nothing to stop)")
        if path is None:
            return Step.KEEP
        if not path.is_file():
            shell.say(f"there is no file {path}")
            return Step.KEEP
        summary = (("File", str(path)), ("Size", _size(path.stat().st_size)))
        if not shell.review("Upload this file for moderators to see?", summary):
            return Step.KEEP
        # After --, a path that looks like an option is none.
        is_added = shell.carry_out("proof", "add", "--", self._entry_id, str(path))
        return Step.STAY if is_added else Step.KEEP


def proof_screen(proof: Any, *, may_remove: bool) -> Screen:
    """Return the screen of one proof."""
    lines = facts(
        (
            ("Name", proof["name"]),
            ("Type", proof["media_type"]),
            ("Size", _size(proof["size_bytes"])),
            ("Added", format_time(proof["added_at_ms"])),
            ("SHA-256", proof["sha256"]),
            ("Proof", proof["proof_id"]),
        )
    )
    return Screen(
        "Proof",
        tuple(lines),
        (
            Choice("g", "download", "download", partial(_fetch, proof=proof)),
            Choice("d", "remove", "remove", partial(_remove, proof=proof), may_remove),
        ),
    )


class ProofPlace:
    """One proof."""

    title = "Proof"

    def __init__(self, proof_id: str, *, may_remove: bool) -> None:
        self._proof_id = proof_id
        self._may_remove = may_remove

    def look(self, shell: Shell) -> Screen:
        """Load the proof, not its file."""
        proof = shell.call("leaderboards.get_proof", proof_id=self._proof_id)
        return proof_screen(proof, may_remove=self._may_remove)


def _enter(_shell: Shell, *, proof: Any, may_remove: bool) -> Place | Step:
    return ProofPlace(proof["proof_id"], may_remove=may_remove)


def _fetch(shell: Shell, *, proof: Any) -> Place | Step:
    """Download a file, as `moothall proof get` does, to where the person says and nowhere else."""
    path = _ask_path(shell, "Save as (a path; nothing to stop)")
    if path is None:
        return Step.KEEP
    if path.exists():
        shell.say(f"{path} is there already; nothing is written over it")
        return Step.KEEP
    if shell.carry_out("proof", "get", f"--output={path}", "--", proof["proof_id"]):
        shell.say(f"Saved as {path}.")
    return Step.KEEP


def _remove(shell: Shell, *, proof: Any) -> Place | Step:
    if not shell.confirm(f"Remove the proof {proof['name']}, for ever?"):
        return Step.KEEP
    shell.call("leaderboards.remove_proof", proof_id=proof["proof_id"])
    return Step.BACK


def _ask_path(shell: Shell, question: str) -> Path | None:
    """Return a path that was typed, with ~ for one's own folder; None for nothing."""
    typed = shell.ask(question)
    if "\0" in typed:
        shell.say("no file can be called so")
        return None
    try:
        return Path(typed).expanduser() if typed else None
    except RuntimeError:
        shell.say("nobody here has that folder")
        return None


def _size(size_bytes: int) -> str:
    """Return a size as people read it, exact below 10 KiB."""
    for unit, bytes_ in (("MiB", 1_048_576), ("KiB", 1_024)):
        if size_bytes >= 10 * bytes_:
            return f"{size_bytes / bytes_:.0f} {unit}"
    return f"{size_bytes} bytes"
