"""Files that settings name: secrets, and whom to trust. An error names the setting."""

import ssl
from pathlib import Path

from moothall.core.errors import ConfigurationError

SECRET_BYTES_MAX = 16_384


def read_secret(setting: str, file: str) -> str:
    """Return the text of a file that holds a secret.

    Args:
        setting: As the message names it, such as ``bus: bus_token_file``.
        file: Its path.

    Raises:
        ConfigurationError: It cannot be read, is no text, or has more than `SECRET_BYTES_MAX`.
    """
    try:
        with Path(file).open("rb") as opened:
            content = opened.read(SECRET_BYTES_MAX + 1)
        text = content.decode("utf-8")
    except OSError as error:
        msg = f"{setting} {file} cannot be read: {error.strerror or error}"
        raise ConfigurationError(msg) from None
    except UnicodeDecodeError:
        msg = f"{setting} {file} is no text"
        raise ConfigurationError(msg) from None
    if len(content) > SECRET_BYTES_MAX:
        msg = f"{setting} {file} has more than {SECRET_BYTES_MAX} bytes"
        raise ConfigurationError(msg)
    return text


def read_secret_line(setting: str, file: str) -> str:
    """Return the first line of such a file, without its end.

    Raises:
        ConfigurationError: As for `read_secret`, or the line is empty.
    """
    line = read_secret(setting, file).partition("\n")[0].rstrip("\r")
    if not line:
        msg = f"{setting} {file}: its first line is empty"
        raise ConfigurationError(msg)
    return line


def make_trust(setting: str, authority: str) -> ssl.SSLContext:
    """Return who vouches for a server: an authority's PEM file, or those of the system.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=authority or None)
    except (OSError, ssl.SSLError) as error:
        msg = f"{setting} {authority} cannot be read: {error}"
        raise ConfigurationError(msg) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
