"""Device: the label by which a person recognises a session that was opened on this machine.

It is shown by `moothall session list` and proves nothing. Halls take at most 64 printable
characters on one line.
"""

LABEL_LENGTH_MAX = 64

_SYSTEMS = {"Darwin": "macOS"}
"""What people call a system, where it calls itself otherwise."""


def describe_device(host: str | None = None, system: str | None = None) -> str:
    """Return a label such as ``ada-laptop (Linux)``; empty if nothing is known.

    Args:
        host: Instead of the name of this machine.
        system: Instead of the name of its operating system.
    """
    # Most commands open no session; they should not wait for these.
    import platform  # noqa: PLC0415
    import socket  # noqa: PLC0415

    host = _printable(socket.gethostname() if host is None else host)
    system = _printable(platform.system() if system is None else system)
    system = _SYSTEMS.get(system, system)
    if not host or not system:
        return (host or system)[:LABEL_LENGTH_MAX].strip()
    # A long name is cut, so that the system can still be read behind it.
    system = system[: LABEL_LENGTH_MAX // 2]
    return f"{host[: LABEL_LENGTH_MAX - len(system) - 3].strip()} ({system})"


def is_device_label(text: str) -> bool:
    """Tell whether halls take ``text`` for a label."""
    return len(text) <= LABEL_LENGTH_MAX and text.isprintable()


def _printable(text: str) -> str:
    return "".join(one for one in text if one.isprintable()).strip()
