"""The program ``moothall``: the client's commands, and ``serve``."""

import gc
import sys
from pathlib import Path
from typing import Any

import click

from moothall.core.errors import ConfigurationError, StorageUnavailableError

EXIT_CONFIGURATION = 78
"""EX_CONFIG of sysexits.h."""


@click.command(short_help="Serve a hall on this machine.")
@click.option("--data", metavar="DIR", help="Folder of the hall's data.")
@click.option("--database", metavar="URL", help="PostgreSQL that several nodes share.")
@click.option("--bus", metavar="URL", help="NATS server that carries hints between nodes.")
@click.option("--host", metavar="ADDRESS", help="Address to listen on (127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port of HTTPS (8443).")
@click.option(
    "--ndjson-port", type=click.IntRange(0, 65_535), help="Port of NDJSON (the one after --port)."
)
@click.option(
    "--metrics-port",
    type=click.IntRange(-1, 65_535),
    help="Port of metrics and readiness, on 127.0.0.1 (the one after those; -1: none).",
)
@click.option("--certificate", metavar="FILE", help="PEM file of your own certificate.")
@click.option("--key", metavar="FILE", help="PEM file of its key.")
@click.option(
    "--insecure",
    is_flag=True,
    default=None,
    help="Plain HTTP, on loopback or for trusted proxies.",
)
@click.option("--functions", metavar="DIR", multiple=True, help="A room of yours, or several.")
@click.option("--rooms", metavar="NAME,...", help="Built-in rooms to serve (all).")
@click.option("--public-url", metavar="URL", help="Where clients reach it; its name in tokens.")
@click.option(
    "--issuer", metavar="URL", help="The identity server, which makes this a resource server."
)
@click.option(
    "--issuer-fingerprint", metavar="sha256:...", help="Of the identity server's certificate."
)
@click.option("--config", metavar="FILE", envvar="MOOTHALL_CONFIG", help="A moothall.toml.")
@click.option(
    "--set", "assignments", metavar="[TABLE.]NAME=VALUE", multiple=True, help="Any other setting."
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="What is logged."
)
def serve(config: str | None, assignments: tuple[str, ...], **flags: Any) -> None:
    """Serve a hall: sign-in, roles, boards, and your own functions, on SQLite with TLS.

    A fresh folder becomes a fresh hall, with a self-made certificate and a one-time
    secret for its first administrator. With --database and --bus it is one of several nodes.
    """
    # Nothing of what a start makes is garbage; the collector begins once the doors are open.
    gc.disable()
    click.get_current_context().call_on_close(gc.enable)  # should they never open
    # Only the server needs these, and they take a while to import. The log comes first: it
    # keeps out what the others would load with it.
    from moothall.app.log import configure_log  # noqa: PLC0415

    # isort: split
    import asyncio  # noqa: PLC0415
    import os  # noqa: PLC0415

    from moothall.app.config import read_settings  # noqa: PLC0415
    from moothall.app.lifecycle import EXIT_DISK  # noqa: PLC0415
    from moothall.app.lifecycle import serve as serve_hall  # noqa: PLC0415

    # All that a hall writes is its owner's alone, whatever writes it; rooms of others too.
    os.umask(0o077)
    flags["functions"] = flags["functions"] or None
    try:
        file = Path(config) if config else None
        settings = read_settings(flags, os.environ, file, assignments)
        configure_log(settings.log_level)
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(serve_hall(settings, _announce))
        except StorageUnavailableError as error:
            place = "database" if settings.database else settings.data_path
            remedy = "free some space there, or look at that disk, and start again"
            if settings.database:
                remedy = f"look at the server ({error.__cause__}), and start again"
            click.echo(f"moothall: {place}: {error}; {remedy}", err=True)
            sys.exit(EXIT_DISK)
    except ConfigurationError as error:
        click.echo(f"moothall: {error}", err=True)
        sys.exit(EXIT_CONFIGURATION)


def _announce(text: str) -> None:
    """Show the banner at once, also through a pipe."""
    click.echo(text)
    sys.stdout.flush()


def loop_factory() -> Any:
    """Return uvloop's loop where there is one."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return None
    return uvloop.new_event_loop


def main() -> None:
    """Run the program and exit with its code."""
    from moothall.app.admin import COMMANDS  # noqa: PLC0415
    from moothall.client.cli.main import build_cli, run  # noqa: PLC0415

    cli = build_cli()
    cli.add_command(serve)
    for command in COMMANDS:
        cli.add_command(command)
    sys.exit(run(cli=cli))
