"""Options that every command takes, before or after its words.

They are read twice. First `scan` looks for them in the whole line, because which
commands exist depends on the server; then click reads each where it stands.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from moothall.client.retry import Limits

_SECOND_MS = 1_000
_TIME = click.FloatRange(min=0, min_open=True, max=86_400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the global options say; None where they say nothing.

    Attributes:
        server: Name of the server, instead of the current one.
        json: Print one JSON document instead of text for people.
        pick: Print this one value of the answer.
        timeout: Time for each call, in seconds.
        retries: Repetitions of a call at most.
        duration: Time for everything, in seconds.
        yes: Do not ask for confirmation.
        config_dir: Folder of the wallet.
    """

    server: str | None = None
    json: bool = False
    pick: str | None = None
    timeout: float | None = None
    retries: int | None = None
    duration: float | None = None
    yes: bool = False
    config_dir: str | None = None

    @property
    def prints_data(self) -> bool:
        """Whether a program reads the answer, and not a person."""
        return self.json or self.pick is not None

    @property
    def folder(self) -> Path | None:
        """Folder of the wallet, or None for the usual one."""
        return None if self.config_dir is None else Path(self.config_dir)

    @property
    def limits(self) -> Limits:
        """Bounds for the calls of this command."""
        # Whoever watches a terminal should not wait half a minute for a hall that is back.
        limits = Limits(reconnect_max_ms=_RECONNECT_MAX_MS)
        if self.timeout is not None:
            limits = replace(limits, timeout_ms=max(1, int(self.timeout * _SECOND_MS)))
        if self.retries is not None:
            limits = replace(limits, retries=self.retries)
        if self.duration is not None:
            # A renewal is waited for even at the end, so it must not take longer either.
            whole_ms = max(1, int(self.duration * _SECOND_MS))
            limits = replace(limits, timeout_ms=min(limits.timeout_ms, whole_ms))
        return limits


_RECONNECT_MAX_MS = 5_000
_PREFIX = "global__"
"""Sets the names of global options apart from those of fields."""

FLAGS = ("json", "yes")
RESERVED = frozenset(
    {"server", "json", "pick", "timeout", "retries", "duration", "yes", "config-dir", "help"}
)
"""Names that no option of a derived command may have."""


def scan(line: Sequence[str]) -> Settings:
    """Return what the global options of a command line seem to say."""
    found: dict[str, Any] = {}
    words = iter(line)
    for word in words:
        if word == "--":
            break
        name, has_value, value = word.partition("=")
        key = name.removeprefix("--").replace("-", "_")
        if not name.startswith("--") or key not in Settings.__dataclass_fields__:
            continue
        if key in FLAGS:
            found[key] = True
        else:
            found[key] = value if has_value else next(words, "")
    for key, convert in (("timeout", float), ("retries", int), ("duration", float)):
        try:
            found[key] = convert(found[key])
        except (KeyError, ValueError):
            found.pop(key, None)
    return Settings(**found)


def global_options(*, is_shown: bool) -> list[click.Option]:
    """Return the global options, for one command."""
    common: dict[str, Any] = {"expose_value": False, "callback": _note, "hidden": not is_shown}
    return [
        click.Option(
            ["global__server", "--server"],
            metavar="NAME",
            help="Use this server of the wallet.",
            **common,
        ),
        click.Option(
            ["global__json", "--json"], is_flag=True, help="Print one JSON document.", **common
        ),
        click.Option(
            ["global__pick", "--pick"],
            metavar="PATH",
            help="Print this value of the answer alone, such as entries.0.entry_id.",
            **common,
        ),
        click.Option(
            ["global__timeout", "--timeout"],
            type=_TIME,
            metavar="SECONDS",
            help="Time for each call.",
            **common,
        ),
        click.Option(
            ["global__retries", "--retries"],
            type=click.IntRange(0, 100),
            metavar="N",
            help="Repeat a call at most so often, where that is safe.",
            **common,
        ),
        click.Option(
            ["global__duration", "--duration"],
            type=_TIME,
            metavar="SECONDS",
            help="Time for everything.",
            **common,
        ),
        click.Option(
            ["global__yes", "--yes"], is_flag=True, help="Do not ask for confirmation.", **common
        ),
        click.Option(
            ["global__config_dir", "--config-dir"],
            type=click.Path(file_okay=False),
            metavar="FOLDER",
            help="Folder of the wallet.",
            **common,
        ),
    ]


def add_global_options(
    params: Iterable[click.Parameter], *, is_shown: bool = False
) -> list[click.Parameter]:
    """Return ``params`` and the global options that none of them is.

    Help shows them once, for the program itself.
    """
    own = list(params)
    taken = {word for param in own for word in param.opts}
    common = global_options(is_shown=is_shown)
    return own + [option for option in common if not taken.intersection(option.opts)]


def _note(context: click.Context, param: click.Parameter, value: Any) -> None:
    from moothall.client.cli.state import State  # noqa: PLC0415 - it imports this module

    if value is None or value is False:
        return
    state = context.find_object(State)
    if state is not None and param.name is not None:
        name = param.name.removeprefix(_PREFIX)
        state.settings = replace(state.settings, **{name: value})
