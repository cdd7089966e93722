"""What must hold of the machine under a hall: files, disk, clock, log and certificate.

Each function returns what is wrong, and nothing if all is well. They read and never write.
"""

import datetime as dt
import os
import shlex
import shutil
import stat
import time
from pathlib import Path

import apsw
from cryptography import x509

from moothall.action.checks import Finding, Level
from moothall.app.backup import TLS_FOLDER
from moothall.app.config import Settings
from moothall.app.foundation import DATABASE_FILE, KEY_FILE
from moothall.app.keyfile import read_sealing_key
from moothall.app.snapshot import Snapshot
from moothall.core.errors import ConfigurationError
from moothall.core.units import MEBIBYTE, MINUTE_MS
from moothall.transports.tls import CERTIFICATE_NAME, KEY_NAME, CertificateFiles, ServerTls

ANYBODY_ELSE = 0o077
LOG_BYTES_MAX = 128 * MEBIBYTE
"""Twice what a hall lets its log grow to."""

FREE_BYTES_MIN = 64 * MEBIBYTE
FREE_PART_MIN = 0.1
"""Of the size of the database: free room below that is worth a word."""

CLOCK_SLACK_MS = 5 * MINUTE_MS
EXPIRES_SOON = dt.timedelta(days=21)

NETWORK_FILE_SYSTEMS = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "lustre", "nfs", "nfs4", "smb3"}
)
"""As Linux calls them; locks and syncs may not hold there."""

_MOUNTS = Path("/proc/self/mountinfo")
_SET_CLOCK = "set this machine's clock right, and keep it so (NTP)"
NEWEST = """
SELECT max(at_ms) FROM (
  SELECT at_ms FROM access_audit WHERE number = (SELECT max(number) FROM access_audit)
  UNION ALL
  SELECT at_ms FROM action_event WHERE cursor = (SELECT max(cursor) FROM action_event)) AS newest
"""
"""Selects when the newest row was written, NULL if there is none."""


def check_modes(folder: Path) -> list[Finding]:
    """Nobody but the hall's user may look into its folder and its secrets."""
    secret = (DATABASE_FILE, f"{DATABASE_FILE}-wal", f"{DATABASE_FILE}-shm", KEY_FILE)
    paths = [folder, *(folder / name for name in secret), folder / TLS_FOLDER / KEY_NAME]
    found = []
    for path in paths:
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            continue
        if mode & ANYBODY_ELSE:
            wanted = "700" if stat.S_ISDIR(mode) else "600"
            told = f"others may use {path} (mode {stat.S_IMODE(mode):o})"
            found.append(Finding(told, f"chmod {wanted} {shlex.quote(str(path))}"))
    return found


def check_key(folder: Path) -> list[Finding]:
    """The sealing key is there and can be read."""
    try:
        read_sealing_key(folder / KEY_FILE, database=folder / DATABASE_FILE)
    except ConfigurationError as error:
        return [Finding(str(error), "put it back from its own backup, with mode 0600")]
    return []


def check_certificate(settings: Settings) -> list[Finding]:
    """The certificate is valid, and its key is the right one."""
    if settings.insecure:
        return []
    own = Path(settings.certificate), Path(settings.key)
    folder = settings.data_path / TLS_FOLDER
    if not settings.certificate and not folder.exists():
        return []  # the next start makes one
    certificate, key = own if settings.certificate else (
        folder / CERTIFICATE_NAME,
        folder / KEY_NAME,
    )  # fmt: skip
    try:
        ServerTls(CertificateFiles(certificate, key))
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
    except (ConfigurationError, OSError, ValueError) as error:
        return [Finding(str(error), "put certificate and key in place that belong together")]
    now = dt.datetime.now(dt.UTC)
    renew = f"put a new certificate in the place of {certificate}"
    if ends <= now:
        return [Finding(f"the certificate expired on {ends:%Y-%m-%d}", renew)]
    if begins > now:
        look = "look at this machine's clock, or at the certificate"
        return [Finding(f"the certificate is valid only from {begins:%Y-%m-%d} on", look)]
    if ends - now < EXPIRES_SOON:
        return [Finding(f"the certificate expires on {ends:%Y-%m-%d}", renew, Level.WARNING)]
    return []


def check_clock(folder: Path, snapshot: Snapshot) -> list[Finding]:
    """The clock is not behind the newest rows, nor behind the files."""
    now_ms = time.time_ns() // 1_000_000
    try:
        newest_ms = snapshot.fetch_all(NEWEST)[0][0] or 0
    except apsw.SQLError:
        newest_ms = 0  # a hall that was never opened
    found = check_newest(newest_ms)
    written_ms = (folder / DATABASE_FILE).stat().st_mtime_ns // 1_000_000
    if written_ms > now_ms + CLOCK_SLACK_MS:
        ahead_s = (written_ms - now_ms) // 1_000
        told = f"{DATABASE_FILE} was written {ahead_s} s in the future"
        found.append(Finding(told, _SET_CLOCK, Level.WARNING))
    return found


def check_newest(newest_ms: int) -> list[Finding]:
    """The newest row, of UTC epoch milliseconds ``newest_ms``, does not lie in the future."""
    now_ms = time.time_ns() // 1_000_000
    if newest_ms <= now_ms + CLOCK_SLACK_MS:
        return []
    ahead_s = (newest_ms - now_ms) // 1_000
    return [Finding(f"the newest row is {ahead_s} s in the future", _SET_CLOCK)]


def check_disk(folder: Path) -> list[Finding]:
    """The disk has room, can be written, and is a local one."""
    found = []
    try:
        size_bytes = (folder / DATABASE_FILE).stat().st_size
    except FileNotFoundError:
        size_bytes = 0  # the rows are on a server
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < max(FREE_BYTES_MIN, int(size_bytes * FREE_PART_MIN)):
        told = f"{free_bytes // MEBIBYTE} MiB are free, the rows take {size_bytes // MEBIBYTE} MiB"
        found.append(Finding(told, "free some space on that disk", Level.WARNING))
    if not os.access(folder, os.W_OK):
        told = f"{folder} cannot be written by this user"
        found.append(Finding(told, "run the doctor as the hall's user, or look at the disk"))
    kind = find_file_system(folder)
    if kind in NETWORK_FILE_SYSTEMS:
        told = f"{folder} lies on a network file system ({kind}), where locks and syncs may fail"
        found.append(Finding(told, "move the hall to a local disk", Level.WARNING))
    return found


def check_log(folder: Path) -> list[Finding]:
    """The log is of its usual size."""
    try:
        size_bytes = (folder / f"{DATABASE_FILE}-wal").stat().st_size
    except FileNotFoundError:
        return []
    if size_bytes <= LOG_BYTES_MAX:
        return []
    told = f"the log has {size_bytes // MEBIBYTE} MiB"
    remedy = "end programs that read the database for long; then it shrinks, or restart the hall"
    return [Finding(told, remedy, Level.WARNING)]


def find_file_system(folder: Path) -> str:
    """Return the kind of file system that a folder lies on; empty where nothing tells it."""
    try:
        lines = _MOUNTS.read_text("utf-8").splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    for line in lines:
        # proc_pid_mountinfo(5): the fifth field is the place, the first one after " - " the kind.
        before, _, after = line.partition(" - ")
        place = before.split(" ")[4].replace("\\040", " ")
        if folder.resolve().is_relative_to(place) and len(place) >= len(best):
            best, kind = place, after.split(" ")[0]
    return kind
