"""Progress of long work: on a terminal, beside the data, and nowhere else."""

import sys
from typing import Self


class RowsBar:
    """A bar that counts rows on standard error; without a total it counts only."""

    def __init__(self, rows: int | None, *, is_hidden: bool = False) -> None:
        """Count up to ``rows``, where that is known."""
        from rich.console import Console  # noqa: PLC0415 - heavy
        from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn  # noqa: PLC0415
        from rich.progress import Progress as Bar  # noqa: PLC0415

        console = Console(stderr=True)
        parts = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        is_hidden = is_hidden or not console.is_terminal
        self._bar = Bar(*parts, console=console, disable=is_hidden, transient=True)
        self._task = self._bar.add_task("rows", total=rows)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._bar.stop()

    def expect(self, rows: int) -> None:
        """Say how many rows there are in all, once that is known."""
        self._bar.update(self._task, total=rows)

    def advance(self, rows: int) -> None:
        """Note that rows are dealt with."""
        self._bar.advance(self._task, rows)


def open_export_bar() -> RowsBar:
    """Return a bar beside rows on standard output; where these are seen, they are progress."""
    return RowsBar(None, is_hidden=sys.stdout.isatty())
