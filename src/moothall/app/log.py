"""What the operator sees while the hall runs: the log."""

import contextlib
import logging
import sys
from typing import TextIO, cast

if "rich" not in sys.modules:
    # structlog loads rich where there is one, to colour tracebacks, which a hall prints plain.
    # It would be a sixth of the start; so it finds none, and whoever asks for rich later does.
    sys.modules["rich"] = None  # type: ignore[assignment] # None stops an import
    import structlog

    del sys.modules["rich"]
else:
    import structlog


class _Unfailing:
    """A stream of text that takes what it cannot write without a word.

    The log often lies on the disk that has filled up, or goes to a program that has ended.
    That must not keep the writer from answering, nor a process from ending that must end.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


def configure_log(level: str) -> None:
    """Log to standard error: for people on a terminal, as JSON lines otherwise.

    Local variables are never logged with a traceback; they could hold secrets.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(
        level=number, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )
    # It tells of each request that a resource server makes; what matters of them is told anyway.
    logging.getLogger("httpx").setLevel(max(number, logging.WARNING))
    is_terminal = sys.stderr.isatty()
    renderers: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if is_terminal
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Unfailing(sys.stderr))),
    )
