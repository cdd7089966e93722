"""The life of a hall's process: open, serve, tell, drain, close."""

import asyncio
import contextlib
import datetime as dt
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from moothall.app.compose import Hall, open_hall
from moothall.app.config import Settings
from moothall.app.doors import DOORS, MakeDoor, host_in_url, open_doors
from moothall.app.keyfile import write_secret_file
from moothall.app.private_door import PrivateDoor, open_private_door
from moothall.app.watch import Watch
from moothall.core.errors import ConfigurationError
from moothall.ports.database import Transaction
from moothall.services.access.actions import digest_secret
from moothall.services.access.adapters.claim import ClaimSecrets
from moothall.services.access.store import is_claimed, renew_claim, share_claim
from moothall.transports.tls import CertificateFiles, ServerTls, ensure_certificate

SECRET_FILE = "first-administrator-secret"  # noqa: S105 - the name of a file
CERTIFICATE_SECONDS = 30.0
"""How often the certificate's files are looked at."""
EXIT_DISK = 74
"""EX_IOERR of sysexits.h."""

_log = structlog.get_logger("moothall.hall")


async def serve(
    settings: Settings, announce: Callable[[str], None], makers: Iterable[MakeDoor] = DOORS
) -> None:
    """Serve until SIGINT, SIGTERM or ``hall.shutdown``.

    Args:
        settings: The hall's settings.
        announce: Shows the operator what to do next, once the doors are open.
        makers: The doors.

    Raises:
        ConfigurationError: Something must be mended first.
    """
    # First, so that a signal during the start is not lost either.
    stop = _listen_for_signals()
    watch = Watch()
    async with open_private_door(settings, watch) as private:
        await _serve(settings, announce, makers, stop, (watch, private))


async def _serve(
    settings: Settings,
    announce: Callable[[str], None],
    makers: Iterable[MakeDoor],
    stop: asyncio.Event,
    watched: tuple[Watch, PrivateDoor | None],
) -> None:
    """Open the hall and its doors, and close them when ``stop`` is set."""
    watch, private = watched
    secret_file = settings.data_path / SECRET_FILE
    hall = await open_hall(
        settings,
        on_sync_failure=_stop_at_once,
        on_claimed=lambda: _remove_secret(secret_file),
        on_shutdown=stop.set,
    )
    try:
        secret = await renew_secret(hall, secret_file)
        tls = None if settings.insecure else _open_tls(settings)
        doors = await open_doors(hall, settings, tls, makers)
        try:
            hall.jobs.start()
            # What is there now stays; the collector need not look through it for ever.
            gc.collect()
            gc.freeze()
            gc.enable()
            watch.opened(hall, doors)
            announce(_banner(doors.urls, settings, tls, hall, secret, private))
            await _watch_certificate_until(stop, tls)
            watch.stopping()
            await _drain(stop, settings.drain_seconds)
        finally:
            await doors.close()
    finally:
        await hall.close()


def _open_tls(settings: Settings) -> ServerTls:
    """Return TLS with the operator's certificate, or with a self-made one."""
    if bool(settings.certificate) != bool(settings.key):
        msg = "settings: certificate and key belong together; give both or neither"
        raise ConfigurationError(msg)
    if settings.certificate:
        return ServerTls(CertificateFiles(Path(settings.certificate), Path(settings.key)))
    now = dt.datetime.now(dt.UTC)
    hosts = [settings.host] if settings.host not in {"0.0.0.0", "::"} else []  # noqa: S104
    return ServerTls(ensure_certificate(settings.data_path / "tls", hosts, now))


async def renew_secret(hall: Hall, file: Path) -> str | None:
    """Show the one-time secret while nobody has claimed the hall, and write it down.

    It follows from a nonce and the sealing key, and only its digest and the nonce rest in the
    database. A hall of one process has a new one at each start until it is used; several nodes
    all have the first one's, so that a start makes no other node's secret useless.
    """
    secrets, nonce = hall.house.use(ClaimSecrets), hall.house.entropy.random_bytes(16).hex()
    now_ms, secret = hall.house.clock.now_ms(), secrets.derive(nonce)
    _remove_secret(file)
    digest, is_shared = digest_secret(secret), hall.foundation.tail is not None

    async def claim(tx: Transaction) -> str | None:
        if is_shared:
            return await share_claim(tx, nonce, digest, now_ms)
        return nonce if await renew_claim(tx, digest, now_ms) else None

    known = await hall.database.write(claim)
    if known is None:
        return None
    secret = secrets.derive(known)
    write_secret_file(file, secret + "\n")
    if await hall.database.read(is_claimed):  # at another node, before the file was there
        _remove_secret(file)
        return None
    return secret


def _remove_secret(file: Path) -> None:
    """Remove a one-time secret that opens nothing any more, having been used or replaced."""
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("old secret not removed", file=str(file), error=error.strerror)


def _listen_for_signals() -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _watch_certificate_until(stop: asyncio.Event, tls: ServerTls | None) -> None:
    """Notice a new certificate until ``stop`` is set; the rest of the housekeeping is jobs."""
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), CERTIFICATE_SECONDS)
            break
        if tls is not None:
            _renew_certificate(tls)


async def _drain(stop: asyncio.Event, seconds: int) -> None:
    """Go on answering calls while balancers learn that none should come any more.

    Args:
        stop: Set by the signal to stop; a second signal cuts the time short.
        seconds: The time; 0 for none.
    """
    if not seconds:
        return
    _log.info("draining: calls are answered, and /readyz says that none should come", s=seconds)
    stop.clear()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


def _renew_certificate(tls: ServerTls) -> None:
    """Take a certificate that was replaced; a failure waits for the next round."""
    try:
        if tls.has_changed() and tls.reload():
            _log.info("new certificate", fingerprint=tls.fingerprint)
    except Exception as error:  # noqa: BLE001 - a bad file must not end the hall
        _log.warning("certificate not renewed", error=str(error))


def _banner(
    urls: list[str],
    settings: Settings,
    tls: ServerTls | None,
    hall: Hall,
    secret: str | None,
    private: PrivateDoor | None,
) -> str:
    """Return what the operator sees when the doors are open."""
    url, *others = urls
    lines = [
        f"Moothall is open at {url}",
        *(f"  also at      {other}" for other in others),
        f"  data         {settings.data_path}",
    ]
    if settings.database:
        lines.append(f"  database     {settings.database}")
        lines.append(f"  bus          {settings.bus or 'none: nodes look twice a second'}")
    if private is not None:
        host = host_in_url(settings.metrics_host)
        lines.append(f"  metrics      http://{host}:{private.port}/metrics")
    pin = ""
    if tls is None and settings.trusted_proxies:
        lines.append("  certificate  none: plain text, for trusted proxies only")
        url = "https://NAME-OF-THE-PROXY"
    elif tls is None:
        lines.append("  certificate  none: plain text, on this machine only")
        pin = " --insecure"
    else:
        lines.append(f"  certificate  {tls.fingerprint}")
        pin = f" --fingerprint {tls.fingerprint}"
    if settings.proxy_protocol:
        lines.append("  clients      through trusted proxies only, by the PROXY protocol")
        url = "https://NAME-OF-THE-PROXY"
    program = _program()
    if hall.issuer_url is None:
        lines += [
            f"  issuer       {hall.issuer}",
            "  audience     the same; a resource server has its own: moothall audience add",
            "",
            "In a second terminal, make this hall known to the client:",
            f"  {program} server add hall {url}{pin}",
            "Then make an account:",
            f"  {program} register NAME",
        ]
    else:
        lines += _banner_of_resource_server(hall, settings, program, pin)
    if secret is not None:
        lines += [
            "",
            "Nobody is administrator yet. Once you have an account, paste",
            f"  {program} administration claim",
            f"and give it this one-time secret: {secret}",
        ]
    lines += ["", "Ctrl-C stops the hall."]
    return "\n".join(lines)


def _banner_of_resource_server(hall: Hall, settings: Settings, program: str, pin: str) -> list[str]:
    """Return what the operator of a resource server does next, at both servers."""
    trust = f" --fingerprint {settings.issuer_fingerprint}" if settings.issuer_fingerprint else ""
    return [
        f"  issuer       {hall.issuer} at {hall.issuer_url}",
        f"  audience     {hall.audience}",
        "",
        "Members sign in at the issuer. Its administrator registers this server, once:",
        f"  {program} audience add {hall.audience} --server-key {hall.server_key}",
        "In a second terminal, make both known to the client:",
        f"  {program} server add home {hall.issuer_url}{trust}",
        f"  {program} server add boards {hall.audience}{pin}",
        "Sign in, or make an account there:",
        f"  {program} login NAME",
    ]


def _program() -> str:
    """Return how the program is called from where the operator stands."""
    program = Path(sys.argv[0])
    if program.name != "moothall" or program.resolve().parent.as_posix() in os.get_exec_path():
        return "moothall"
    with contextlib.suppress(ValueError):
        return str(program.resolve().relative_to(Path.cwd()))
    return str(program)


def _stop_at_once(error: BaseException) -> None:
    """End the process: after a failed sync nothing that memory says of the disk is sure."""
    _log.critical("the disk failed to sync; stopping", error=str(error))
    sys.stderr.flush()
    os._exit(EXIT_DISK)
