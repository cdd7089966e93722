import pytest

from moothall.core.errors import ConfigurationError
from moothall.transports.http.origins import (
    ORIGINS_MAX,
    is_origin_allowed,
    read_origins,
    reading_headers,
)

pytestmark = pytest.mark.requirement("R32")

APP = "https://app.example"
ORIGINS = read_origins([APP])


@pytest.mark.parametrize(
    "text",
    [
        APP,
        "https://app.example:8443",
        "https://192.0.2.7",
        "https://[2001:db8::1]:8443",
        "https://xn--bcher-kva.example",
        "http://localhost:5173",
        "http://127.0.0.1",
        "http://[::1]:3000",
        "capacitor://localhost",
        "chrome-extension://abcdefghijklmnop",
    ],
)
def test_origin_is_taken_as_browsers_send_it(text: str) -> None:
    assert read_origins([text]) == {text}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("*", "carries its member's token"),
        ("https://*.app.example", "carries its member's token"),
        ("null", "nobody vouches for"),
        ("", "it is not scheme://host"),
        ("app.example", "it is not scheme://host"),
        ("https://", "it is not scheme://host"),
        ("https://bücher.example", "xn--"),
        ("https://a b", "it is not scheme://host"),
        ("https://app.example/", "write https://app.example"),
        ("https://app.example/a?b#c", "write https://app.example"),
        ("https://user@app.example", "write https://app.example"),
        ("HTTPS://App.Example", "write https://app.example"),
        ("https://app.example:443", "write https://app.example"),
        ("https://app.example:0443", "write https://app.example"),
        ("https://app.example:65536", "out of range"),
        ("https://[::1", "https://app.example"),
        ("http://app.example", "http is for loopback only"),
        ("http://localhost.example", "http is for loopback only"),
        ("https://app.example\r\nx: y", "web.origins"),
    ],
)
def test_what_is_no_origin_is_refused_with_a_remedy(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_origins([APP, text])
    assert told in str(refused.value)
    assert "web.origins" in str(refused.value)


def test_origins_are_bounded() -> None:
    texts = [f"https://app{number}.example" for number in range(ORIGINS_MAX)]
    assert len(read_origins(texts)) == ORIGINS_MAX
    with pytest.raises(ConfigurationError, match="the most"):
        read_origins([*texts, APP])


@pytest.mark.parametrize(
    ("origin", "host", "is_tls", "allowed"),
    [
        (APP, "hall.example", True, True),
        (APP, "", False, True),
        ("https://app.example:444", "hall.example", True, False),
        ("http://app.example", "hall.example", True, False),
        ("https://app.example.evil.example", "hall.example", True, False),
        ("https://evil-app.example", "hall.example", True, False),
        ("null", "hall.example", True, False),
        ("", "", True, False),
        ("https://", "", True, False),
        # The hall's own origin: where the request was sent, proven by the certificate.
        ("https://hall.example", "hall.example", True, True),
        ("https://hall.example:8443", "HALL.example:8443", True, True),
        ("https://hall.example", "hall.example:8443", True, False),
        ("http://hall.example", "hall.example", True, False),
        # Without TLS any name may lead here (DNS rebinding), but not loopback's own.
        ("http://evil.example:8443", "evil.example:8443", False, False),
        ("https://hall.example", "hall.example", False, False),
        ("http://localhost.evil.example", "localhost.evil.example", False, False),
        ("http://127.0.0.1.evil.example", "127.0.0.1.evil.example", False, False),
        ("http://localhost:8443", "localhost:8443", False, True),
        ("http://127.0.0.1:8443", "127.0.0.1:8443", False, True),
        ("http://[::1]:8443", "[::1]:8443", False, True),
        ("http://localhost:3000", "localhost:8443", False, False),
        ("http://192.0.2.7:8443", "192.0.2.7:8443", False, False),
    ],
)
def test_whose_pages_may_use_the_hall(
    *, origin: str, host: str, is_tls: bool, allowed: bool
) -> None:
    assert is_origin_allowed(origin, host, is_tls=is_tls, origins=ORIGINS) is allowed


def test_only_pages_of_a_listed_origin_may_read() -> None:
    names = {name for name, _ in reading_headers(APP, ORIGINS)}
    assert names == {b"vary", b"access-control-allow-origin", b"access-control-expose-headers"}
    for other in ("https://hall.example", "null", "", None):
        assert reading_headers(other, ORIGINS) == [(b"vary", b"Origin")]
        assert reading_headers(other, frozenset()) == []
