"""`moothall proof add ENTRY FILE` and `moothall proof get PROOF`: files up and down.

Without -o a file that comes down is called after the id that the user typed, with an ending from
the list here: the name that the submitter gave it is for reading, and no hall and no submitter
decides what is written where, or what a double click would run.
"""

import mimetypes
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from moothall.client.cli.ask import confirm
from moothall.client.cli.groups import LocalCommand, NounGroup
from moothall.client.cli.render import print_result, say
from moothall.client.cli.state import State, state_of
from moothall.client.errors import HallUnreachableError
from moothall.client.retry import Effect

ENDINGS = {
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "image/gif": ".gif",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "text/csv": ".csv",
    "text/plain": ".txt",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
    "video/x-matroska": ".mkv",
}
"""Of files that nothing runs; all others end in .bin."""

_ANY_TYPE = "application/octet-stream"
_RETRIES = 10
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")

Tell = Callable[[int, int], None]


def proof_group() -> click.Group:
    """Return the group; the other verbs are the hall's."""
    add = LocalCommand(
        "add",
        params=[
            click.Argument(["entry"], help="Id of your entry."),
            click.Argument(
                ["file"], type=click.Path(exists=True, dir_okay=False), help="What shows it."
            ),
            click.Option(["--name"], help="For people to read; that of the file by default."),
            click.Option(["--media-type"], help="Such as image/png; by the name by default."),
        ],
        callback=_add,
        help=_ADD,
    )
    get = LocalCommand(
        "get",
        params=[
            click.Argument(["proof"], help="Id of the proof; `proof list ENTRY` shows them."),
            click.Option(
                ["-o", "--output"],
                type=click.Path(dir_okay=False),
                metavar="FILE",
                help="Where to; proof-ID.png or the like by default.",
            ),
        ],
        callback=_get,
        help=_GET,
    )
    return NounGroup(
        "proof", own={"add": add, "get": get}, help="Files that show what an entry says."
    )


_ADD = """Add a file to your entry: moderators read it, and readers once the entry is verified.

One that was cut off goes on where it stopped when the command is repeated.
"""

_GET = """Fetch the file of a proof, and keep it if it is whole.

It is written to a name of this program's own or to that of -o, never to one that the hall or the
submitter chose; what is there already is asked about.
"""


def _add(*, entry: str, file: str, name: str | None, media_type: str | None) -> None:
    state = _patient_state()
    shown = name or Path(file).name
    kind = media_type or mimetypes.guess_type(shown, strict=True)[0] or _ANY_TYPE
    _, hall = state.place_of("leaderboards.add_proof")
    try:
        with _progress() as tell:
            sha256 = state.run(hall.upload(file, progress=tell))
    except OSError as error:
        raise _cannot("read", file, error) from None
    request = {"entry_id": entry, "sha256": sha256, "name": shown, "media_type": kind}
    added = state.run(hall.call("leaderboards.add_proof", request, effect=Effect.WRITE))
    print_result(added, state.settings)


def _get(*, proof: str, output: str | None) -> None:
    state = _patient_state()
    _, hall = state.place_of("leaderboards.get_proof")
    found = state.run(hall.call("leaderboards.get_proof", {"proof_id": proof}, effect=Effect.READ))
    sha256, kind = _read_proof(found)
    path = Path(output) if output is not None else _default_path(proof, kind)
    is_replacing = path.exists()
    if is_replacing:
        confirm(state, f"{path} is there already. Replace it?")
    try:
        with _progress() as tell:
            state.run(hall.download(sha256, path, is_replacing=is_replacing, progress=tell))
            size_bytes = path.stat().st_size
    except OSError as error:
        raise _cannot("write", str(path), error) from None
    written = {"proof_id": proof, "file": str(path), "size_bytes": size_bytes, "sha256": sha256}
    print_result(written, state.settings)
    if isinstance(name := found.get("name"), str) and not state.settings.json:
        say(f"its submitter calls it {name}")


def _patient_state() -> State:
    """Return the state of this run; many calls in a row meet the limit, which says how long."""
    state = state_of(click.get_current_context())
    if state.settings.retries is None:
        state.settings = replace(state.settings, retries=_RETRIES)
    return state


def _read_proof(found: Any) -> tuple[str, str]:
    """Return hash and media type of a proof.

    Raises:
        HallUnreachableError: The answer is none.
    """
    match found:
        case {"sha256": str() as sha256, "media_type": str() as kind} if _SHA256.fullmatch(sha256):
            return sha256, kind
        case _:
            raise HallUnreachableError("the answer to leaderboards.get_proof is not understood")


def _default_path(proof: str, kind: str) -> Path:
    """Return a name made of what the user typed, in the folder they are in."""
    if not _SAFE_ID.fullmatch(proof):
        raise click.UsageError("no file can be called after this id; say where to with -o FILE")
    return Path(f"proof-{proof}{ENDINGS.get(kind, '.bin')}")


def _cannot(what: str, file: str, error: OSError) -> click.UsageError:
    return click.UsageError(f"{file}: cannot {what} it: {error.strerror or error}")


@contextmanager
def _progress() -> Iterator[Tell]:
    """Show a bar where a person looks, and nothing elsewhere."""
    from rich.console import Console  # noqa: PLC0415 - heavy
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn  # noqa: PLC0415

    console = Console(stderr=True)
    parts = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*parts, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("file", total=None)
        yield lambda done, size: bar.update(task, completed=done, total=size)
