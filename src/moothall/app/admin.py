"""Commands for whoever has the machine: ``backup``, ``restore``, ``doctor`` and their like.

They work on the data folder and the rows themselves, some beside a hall that may be running. What
each does is in its own module; here are the words, what is printed, and the exit codes.
"""

import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from moothall.client.cli.render import print_result, say
from moothall.client.cli.settings import add_global_options
from moothall.client.cli.state import State
from moothall.core.errors import (
    ConfigurationError,
    DeclarationError,
    StorageUnavailableError,
)
from moothall.core.units import MEBIBYTE

if TYPE_CHECKING:
    from moothall.app.config import Settings
    from moothall.app.manifest import Advance, Manifest

EXIT_WARNED = 7
EXIT_DAMAGED = 8
EXIT_DISK = 74
EXIT_CONFIGURATION = 78

_MAKE_ROOM = "free some space there, or look at that disk"

_data = click.option("--data", metavar="DIR", help="Folder of the hall's data.")
_config = click.option(
    "--config", metavar="FILE", envvar="MOOTHALL_CONFIG", help="The hall's moothall.toml."
)
_database = click.option("--database", metavar="URL", help="PostgreSQL that holds the rows.")
_password = click.option(
    "--database-password-file", metavar="FILE", help="File with the password for it."
)
_folder = click.Path(file_okay=False, path_type=Path)


@click.command(short_help="Copy a hall into a new folder, while it serves.")
@click.argument("destination", metavar="DEST", type=_folder, required=False)
@_data
@_config
@_database
@_password
@click.option(
    "--keys",
    metavar="DIR",
    type=_folder,
    help="Copy sealing key and self-made certificate too, into this other new folder.",
)
@click.option("--verify", is_flag=True, help="Take none: read the backup in DEST back.")
@click.pass_obj
def backup(
    state: State,
    /,
    destination: Path | None,
    keys: Path | None,
    *,
    verify: bool,
    **given: str | None,
) -> int:
    """Copy all rows of a hall and its audit heads into the new folder DEST, and verify them.

    The hall goes on serving. The folder appears whole or not at all. It holds no key: without
    the sealing key no hall can be served from it, so back that up once, to another place
    (--keys; without DEST it copies the keys alone). Rows on PostgreSQL are copied by its own
    tools.
    """
    if destination is None:
        if keys is None or verify:
            raise click.UsageError("name the new folder DEST, or --keys DIR, or both")
        return _run(lambda: _take_keys(state, _read_settings(**given), keys))
    if verify:
        return _run(lambda: _verify(state, destination))
    return _run(lambda: _take(state, _read_settings(**given), destination, keys))


@click.command(short_help="Make a hall of a backup, in a new folder.")
@click.argument("source", metavar="BACKUP", type=_folder)
@_data
@_config
@click.option(
    "--keys",
    metavar="DIR",
    type=_folder,
    required=True,
    help="Folder that holds the sealing.key of the hall.",
)
@click.option(
    "--keep-sessions",
    is_flag=True,
    help="Leave members signed in, also those who were signed out after the backup.",
)
@click.pass_obj
def restore(
    state: State, /, source: Path, keys: Path, *, keep_sessions: bool, **given: str | None
) -> int:
    """Make a hall of BACKUP in a data folder that is new or empty.

    The backup is verified first, and the key must be the one of its rows. All members are
    signed out, codes and invitations are void, and the signing keys are new.
    """
    return _run(lambda: _restore(state, _read_settings(**given), source, keys, keep_sessions))


@click.command(short_help="Look whether a hall is well, whether it runs or not.")
@_data
@_config
@_database
@_password
@click.option("--thorough", is_flag=True, help="Read everything, however long that takes.")
@click.pass_obj
def doctor(state: State, /, *, thorough: bool, **given: str | None) -> int:
    """Check a hall's files, rows, counts, keys, certificate, audit trail, disk and clock.

    With --database the server that holds the rows, too. It changes nothing. Each check says ok,
    warning or failed, and what helps.
    """
    return _run(lambda: _examine(state, given, is_thorough=thorough))


@click.command(short_help="Move a hall from SQLite to PostgreSQL.")
@_data
@_config
@_database
@_password
@click.pass_obj
def migrate(state: State, /, **given: str | None) -> int:
    """Move the hall in the data folder to an empty PostgreSQL database, whole or not at all.

    The hall must not run. All rows are compared afterwards, members stay signed in, and clients
    that follow feeds fetch anew. The file of rows stays, and is not served any more.
    """
    return _run(lambda: _migrate(state, _read_settings(**given)))


@click.command(short_help="Make a hall of rows that pg_restore brought back.")
@_data
@_config
@_database
@_password
@click.option(
    "--keep-sessions",
    is_flag=True,
    help="Leave members signed in, also those who were signed out after the backup.",
)
@click.pass_obj
def adopt(state: State, /, *, keep_sessions: bool, **given: str | None) -> int:
    """Make a hall of the rows in a PostgreSQL database that was restored, before a node serves it.

    The data folder holds the sealing.key of the rows. As after a restore all members are signed
    out, codes and invitations are void, and the signing keys are new.
    """
    return _run(lambda: _adopt(state, _read_settings(**given), keep_sessions))


COMMANDS = (backup, restore, doctor, migrate, adopt)
for _command in COMMANDS:
    _command.params = add_global_options(_command.params)


def _run(work: Callable[[], int]) -> int:
    """Carry out a command, and tell what stops it."""
    import apsw  # noqa: PLC0415 - heavy

    from moothall.app.log import configure_log  # noqa: PLC0415
    from moothall.app.manifest import BackupDamagedError  # noqa: PLC0415 - heavy

    os.umask(0o077)
    configure_log("warning")
    try:
        return work()
    except BackupDamagedError as error:
        say(f"moothall: {error}; keep it as it is, and take another backup")
        return EXIT_DAMAGED
    except StorageUnavailableError as error:
        cause = error.__cause__
        is_server = cause is not None and not isinstance(cause, apsw.Error)
        remedy = f"look at the server ({cause})" if is_server else _MAKE_ROOM
        say(f"moothall: {error}; {remedy}")
        return EXIT_DISK
    except (ConfigurationError, DeclarationError) as error:
        say(f"moothall: {error}")
        return EXIT_CONFIGURATION
    except apsw.Error as error:
        say(f"moothall: a database cannot be read: {error}; see which: moothall doctor --thorough")
        return EXIT_DISK
    except OSError as error:
        place, reason = error.filename or "a file", error.strerror or error
        say(f"moothall: {place}: {reason}; run this as the hall's user, or look at that disk")
        return EXIT_DISK


def _read_settings(config: str | None, **flags: str | None) -> "Settings":
    from moothall.app.config import read_settings  # noqa: PLC0415

    return read_settings(flags, os.environ, Path(config) if config else None)


@contextmanager
def _bar(size_bytes: int) -> "Iterator[Advance]":
    """Show how many MiB are dealt with, on a terminal."""
    from moothall.client.cli.progress import RowsBar  # noqa: PLC0415 - heavy

    done_bytes = 0

    with RowsBar(size_bytes // MEBIBYTE) as bar:

        def advance(more_bytes: int) -> None:
            nonlocal done_bytes
            before, done_bytes = done_bytes // MEBIBYTE, done_bytes + more_bytes
            bar.advance(done_bytes // MEBIBYTE - before)

        yield advance


class _Lines:
    """Implements Progress: a bar on a terminal, a line for each table elsewhere."""

    def __init__(self) -> None:
        """Show nothing yet."""
        from moothall.client.cli.progress import RowsBar  # noqa: PLC0415 - heavy

        self._bar = RowsBar(None)
        self._has_bar = sys.stderr.isatty()

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.__exit__(*error)

    def expect(self, rows: int) -> None:
        """Show how many rows there are to deal with."""
        self._bar.expect(rows)

    def advance(self, rows: int) -> None:
        """Show that rows are dealt with."""
        self._bar.advance(rows)

    def tell(self, text: str) -> None:
        """Say what was done, where there is no bar."""
        if not self._has_bar:
            say(text)


def _take(state: State, settings: "Settings", destination: Path, keys: Path | None) -> int:
    from moothall.app.backup import TIMES_READ, take_backup  # noqa: PLC0415
    from moothall.app.compose import find_catalog, find_heads  # noqa: PLC0415
    from moothall.app.config import read_hall_tables  # noqa: PLC0415
    from moothall.app.foundation import DATABASE_FILE  # noqa: PLC0415

    if settings.database:
        raise ConfigurationError(_tell_how_to_dump(settings, destination))
    tables = read_hall_tables(settings.tables, find_catalog(settings).settings)
    data = settings.data_path
    with _bar(TIMES_READ * _size_of(data / DATABASE_FILE)) as advance:
        taken = take_backup(data, find_heads(data, tables), destination, keys, advance)
    shown = {
        "folder": str(destination),
        **_show(taken.manifest),
        "log_held_ms": taken.held_ms,
        "log_grew_bytes": taken.log_grew_bytes,
        "keys": "" if keys is None else str(keys),
    }
    print_result(shown, state.settings)
    if keys is None:
        say(
            "The backup holds no key: without sealing.key no hall can be served from it. Copy it "
            "once, to another place: moothall backup DEST --keys DIR"
        )
    elif not taken.has_new_keys:
        say(f"{keys} holds this sealing key already; it was left as it is.")
    return 0


def _tell_how_to_dump(settings: "Settings", destination: Path) -> str:
    """Return the commands that copy a hall on PostgreSQL."""
    quote = shlex.quote
    data, database = quote(str(settings.data_path)), quote(settings.database)
    return (
        "settings: database: the rows are on PostgreSQL, whose own tools copy them:\n"
        f"  pg_dump --format=custom --file={quote(f'{destination}.dump')} --dbname={database}\n"
        f"  cp {data}/audit-heads.jsonl {quote(f'{destination}.heads')}\n"
        "The keys, once, to another place:\n"
        f"  moothall backup --keys DIR --data {data}\n"
        "To come back from it: pg_restore into an empty database, then moothall adopt"
    )


def _take_keys(state: State, settings: "Settings", keys: Path) -> int:
    from moothall.app.backup import take_keys  # noqa: PLC0415

    is_new = take_keys(settings.data_path, keys)
    print_result({"keys": str(keys)}, state.settings)
    if not is_new:
        say(f"{keys} holds this sealing key already; it was left as it is.")
    return 0


def _verify(state: State, folder: Path) -> int:
    from moothall.app.foundation import DATABASE_FILE  # noqa: PLC0415
    from moothall.app.manifest import verify_backup  # noqa: PLC0415

    with _bar(2 * _size_of(folder / DATABASE_FILE)) as advance:
        manifest = verify_backup(folder, DATABASE_FILE, advance)
    print_result({"folder": str(folder), **_show(manifest)}, state.settings)
    return 0


def _restore(
    state: State,
    settings: "Settings",
    source: Path,
    keys: Path,
    keeps_sessions: bool,  # noqa: FBT001 - passed on from a flag
) -> int:
    from moothall.app.foundation import DATABASE_FILE  # noqa: PLC0415
    from moothall.app.restore import TIMES_READ, restore_backup  # noqa: PLC0415

    with _bar(TIMES_READ * _size_of(source / DATABASE_FILE)) as advance:
        done = restore_backup(settings, source, keys, advance, keeps_sessions=keeps_sessions)
    shown = {
        "data": str(settings.data_path),
        **_show(done.manifest),
        "epoch": done.epoch,
        "rooms_left_out": done.rooms_left_out,
    }
    print_result(shown, state.settings)
    say(f"Look whether it is well: moothall doctor --data {settings.data_path}")
    return 0


def _examine(state: State, given: dict[str, str | None], *, is_thorough: bool) -> int:
    from moothall.action.checks import Level  # noqa: PLC0415
    from moothall.app.doctor import examine  # noqa: PLC0415

    try:
        settings, trouble = _read_settings(**given), None
    except ConfigurationError as error:
        # The rest can be looked at all the same, where the folder is named.
        if given["data"] is None:
            raise
        settings, trouble = _settings_of(given), str(error)
    reports = examine(settings, trouble, is_thorough=is_thorough)
    levels = {report.level for report in reports}
    if state.settings.prints_data:
        worst = next((each for each in (Level.FAILED, Level.WARNING) if each in levels), Level.OK)
        checks = [
            {"check": one.check, "level": one.level, "told": one.told, "remedy": one.remedy}
            for one in reports
        ]
        print_result({"level": worst, "checks": checks}, state.settings)
    else:
        for one in reports:
            remedy = f"\n{'':9}{one.remedy}" if one.remedy else ""
            click.echo(f"{one.level:<9}{one.check}: {one.told}{remedy}")
    if Level.FAILED in levels:
        return EXIT_DAMAGED
    return EXIT_WARNED if Level.WARNING in levels else 0


def _settings_of(given: dict[str, str | None]) -> "Settings":
    from moothall.app.config import Settings  # noqa: PLC0415

    return Settings(
        data=given["data"] or "",
        database=given["database"] or "",
        database_password_file=given["database_password_file"] or "",
    )


def _migrate(state: State, settings: "Settings") -> int:
    from moothall.app.migrate import move_hall  # noqa: PLC0415

    began = time.monotonic()
    with _Lines() as progress:
        moved = move_hall(settings, progress)
    rows = sum(moved.tables.values())
    shown = {
        "data": str(settings.data_path),
        "database": settings.database,
        "epoch": moved.epoch,
        "tables": len(moved.tables),
        "rows": rows,
        "seconds": round(time.monotonic() - began, 1),
        "faults": moved.faults,
    }
    print_result(shown, state.settings)
    if moved.was_done:
        say("It had been moved already by a run that was interrupted at its very end.")
    for fault in moved.faults:
        say(f"It was broken before, and is so now: {fault}")
    database = shlex.quote(settings.database)
    say(
        f"Serve it: moothall serve --data {settings.data_path} --database {database}. This folder "
        "is the first node's; another node needs the sealing.key of it in a folder of its own."
    )
    return 0


def _adopt(state: State, settings: "Settings", keeps_sessions: bool) -> int:  # noqa: FBT001 - passed on from a flag
    from moothall.app.adopt import adopt_rows  # noqa: PLC0415

    done = adopt_rows(settings, keeps_sessions=keeps_sessions)
    shown = {
        "data": str(settings.data_path),
        "database": settings.database,
        "epoch": done.epoch,
        "newest_at_ms": done.newest_at_ms,
        "heads_aside": done.heads_aside,
    }
    print_result(shown, state.settings)
    if done.heads_aside:
        say(f"Keep {done.heads_aside}: it tells what there was after the backup.")
    database = shlex.quote(settings.database)
    say(
        "Look whether it is well: "
        f"moothall doctor --data {settings.data_path} --database {database}"
    )
    return 0


def _show(manifest: "Manifest") -> dict[str, Any]:
    """Return what an operator wants to know of a backup."""
    sealed = manifest.audit
    return {
        "backup_id": manifest.backup_id,
        "created_at_ms": manifest.created_at_ms,
        "hall": manifest.hall,
        "release": manifest.release,
        "rows": sum(manifest.tables.values()),
        "size_bytes": sum(entry.size_bytes for entry in manifest.files),
        "cursor": f"{manifest.epoch}.{manifest.cursor}",
        "audit_sealed_number": sealed.sealed_number if sealed else 0,
    }


def _size_of(path: Path) -> int:
    """Return the size of a file; what is wrong with it is told later."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
