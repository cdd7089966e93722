"""TLS for the doors of a hall that is open in the test itself."""

import datetime as dt
import ssl

import pytest

from moothall.transports.tls import ServerTls, ensure_certificate
from tests.conformance.doors_wire import trust


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ServerTls, ssl.SSLContext]:
    """The server's side of TLS, and a client's that trusts it."""
    files = ensure_certificate(tmp_path_factory.mktemp("tls"), [], dt.datetime.now(dt.UTC))
    return ServerTls(files), trust(files.certificate)
