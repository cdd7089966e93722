"""Settings: where each comes from, and what a wrong one is told."""

from pathlib import Path
from typing import Annotated, Any

import pytest
from msgspec import Meta

from moothall.action import RoomSettings
from moothall.app.config import (
    Settings,
    check_resource_server,
    read_hall_tables,
    read_settings,
    read_tables,
)
from moothall.core.errors import ConfigurationError
from moothall.senders import MailSettings, PhoneSettings
from moothall.transports.settings import WebSettings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "moothall.toml"
    path.write_text('port = 1\nhost = "file"\nlog_level = "debug"\nfunctions = ["a", "b"]\n')
    return path


def refuse(
    flags: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
    file: Path | None = None,
) -> str:
    with pytest.raises(ConfigurationError) as refused:
        read_settings(flags or {}, environment or {}, file)
    return str(refused.value)


def test_defaults_then_file_then_environment_then_flags(file: Path) -> None:
    environment = {"MOOTHALL_HOST": "environment", "MOOTHALL_LOG_LEVEL": "error"}
    settings = read_settings({"log_level": "warning", "host": None}, environment, file)
    assert settings.connections_max == Settings().connections_max
    assert settings.port == 1
    assert settings.host == "environment"
    assert settings.log_level == "warning"
    assert settings.functions == ("a", "b")


def test_nothing_given_is_the_defaults() -> None:
    assert read_settings({}, {}, None) == Settings()
    assert read_settings({"port": None}, {"PATH": "x", "MOOTHALL_CONFIG": "y"}, None) == Settings()


def test_text_from_the_environment_becomes_what_is_meant() -> None:
    environment = {
        "MOOTHALL_PORT": "0",
        "MOOTHALL_INSECURE": "true",
        "MOOTHALL_FUNCTIONS": "a:b c::",
        "MOOTHALL_LIMITS_SCALE": "2.5",
        "MOOTHALL_TRUSTED_PROXIES": "10.0.0.0/8,2001:db8::/32,",
    }
    settings = read_settings({}, environment, None)
    assert (settings.port, settings.insecure, settings.limits_scale) == (0, True, 2.5)
    assert settings.functions == ("a", "b c")
    assert settings.trusted_proxies == ("10.0.0.0/8", "2001:db8::/32")


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"MOOTHALL_PROT": "1"}, "there is no setting 'prot'; did you mean port"),
        ({"MOOTHALL_ZZZZ": "1"}, "the environment (MOOTHALL_...): there is no setting 'zzzz'"),
        ({"MOOTHALL_SERVER": "x"}, "the environment (MOOTHALL_...): there is no setting 'server'"),
        ({"MOOTHALL_PORT": "http"}, "the environment: port: this is text, not a whole number"),
        ({"MOOTHALL_PORT": ""}, "the environment: port: this is text, not a whole number"),
        ({"MOOTHALL_PORT": "65536"}, "port: the number is out of range; give at most 65535"),
        ({"MOOTHALL_PORT": "-1"}, "port: the number is out of range; give at least 0"),
        ({"MOOTHALL_INSECURE": "yes"}, "insecure: this is text, not true or false"),
        ({"MOOTHALL_LIMITS_SCALE": "0"}, "limits_scale: the number is out of range"),
        ({"MOOTHALL_LIMITS_SCALE": "nan"}, "limits_scale: the number is out of range"),
        ({"MOOTHALL_LIMITS_SCALE": "inf"}, "limits_scale: the number is out of range"),
        ({"MOOTHALL_CONNECTIONS_MAX": "0"}, "give at least 1"),
        ({"MOOTHALL_LOG_LEVEL": "warn"}, "'warn' is none of the choices; did you mean warning"),
        ({"MOOTHALL_LOG_LEVEL": "info\n"}, "is none of the choices"),
    ],
)
def test_a_wrong_value_is_told_with_place_and_remedy(
    environment: dict[str, str], told: str
) -> None:
    assert told in refuse(environment=environment)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prot = 1", "there is no setting 'prot'; did you mean port"),
        ("port = true", "port: this is true or false, not a whole number"),
        ("port = 70000", "port: the number is out of range"),
        ("functions = 'a'", "functions: this is text, not a list"),
        ("functions = [1]", "functions[0]: this is a whole number, not text"),
        ("port = ", "Invalid value"),
        ("port = 1\nport = 2", "Cannot overwrite"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "moothall.toml"
    path.write_text(text)
    assert told in refuse(file=path)
    assert refuse(file=path).startswith(f"{path}: ")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in refuse(file=tmp_path / "nowhere.toml")
    path = tmp_path / "moothall.toml"
    path.write_bytes(b"host = '\xff'")
    assert str(path) in refuse(file=path)


def test_a_wrong_flag_is_told_as_such(file: Path) -> None:
    assert refuse({"port": 70_000}, file=file).startswith("the command line: port: ")


def test_the_folder_of_the_data() -> None:
    assert Settings(data="x/y").data_path == Path("x/y")
    assert Settings().data_path.name == "moothall"


class Lockout(RoomSettings):
    """A table for this test."""

    attempts_max: Annotated[int, Meta(ge=1)] = 3
    is_strict: bool = False


def test_tables_of_rooms_come_from_everywhere(tmp_path: Path) -> None:
    file = tmp_path / "moothall.toml"
    file.write_text("port = 1\n[lockout]\nattempts_max = 4\nis_strict = true\n")
    known = {"lockout": Lockout}

    def read(environment: dict[str, str], *assignments: str) -> object:
        settings = read_settings({}, environment, file, assignments)
        assert settings.port == 1
        return read_tables(settings.tables, known)[Lockout]

    assert read({}) == Lockout(attempts_max=4, is_strict=True)
    variable = {"MOOTHALL_LOCKOUT__ATTEMPTS_MAX": "5"}
    assert read(variable) == Lockout(attempts_max=5, is_strict=True)
    assert read(variable, "lockout.attempts_max=6") == Lockout(attempts_max=6, is_strict=True)
    assert read_tables({}, known) == {Lockout: Lockout()}


def test_settings_without_a_flag_are_set_on_the_command_line_too(tmp_path: Path) -> None:
    file = tmp_path / "moothall.toml"
    file.write_text("proxy_protocol = false\n")
    assignments = ["proxy_protocol=true", "trusted_proxies=10.0.0.5, 10.0.1.0/24", "port=1"]
    environment = {"MOOTHALL_PROXY_PROTOCOL": "false"}
    settings = read_settings({"port": 2}, environment, file, assignments)
    assert settings.proxy_protocol is True
    assert settings.trusted_proxies == ("10.0.0.5", "10.0.1.0/24")
    assert settings.port == 2, "its own flag says it most plainly"
    assert read_settings({}, {"MOOTHALL_PROXY_PROTOCOL": "true"}, None).proxy_protocol is True


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("lokout.attempts_max=1", "there is no table [lokout]; did you mean lockout"),
        ("lockout.attempt_max=1", "did you mean attempts_max"),
        ("lockout.attempts_max=0", "lockout.attempts_max: the number is out of range"),
        ("lockout.attempts_max=many", "lockout.attempts_max: "),
        ("lockout", "write NAME=VALUE or TABLE.NAME=VALUE"),
        (".attempts_max=1", "write NAME=VALUE or TABLE.NAME=VALUE"),
        ("=1", "write NAME=VALUE or TABLE.NAME=VALUE"),
        ("lockout.=1", "write NAME=VALUE or TABLE.NAME=VALUE"),
        ("lockout=1", "--set: there is no setting 'lockout'"),
        ("tables=1", "--set: there is no setting 'tables'"),
        ("prot=1", "--set: there is no setting 'prot'; did you mean port"),
        ("port=many", "the command line: port: "),
    ],
)
def test_a_wrong_table_is_named(assignment: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_tables(read_settings({}, {}, None, [assignment]).tables, {"lockout": Lockout})
    assert told in str(refused.value)


def test_hall_has_tables_of_its_own_and_a_command_may_be_one_text() -> None:
    given: dict[str, dict[str, Any]] = {
        "mail": {"command": ["send", "a b"]},
        "phone": {"command": "send 'a b' c"},
    }
    found = read_hall_tables(given, {"lockout": Lockout})
    assert found == {
        Lockout: Lockout(),
        MailSettings: MailSettings(command=("send", "a b")),
        PhoneSettings: PhoneSettings(command=("send", "a b", "c")),
        WebSettings: WebSettings(),
    }


@pytest.mark.parametrize(
    ("given", "rooms", "told"),
    [
        ({"phone": {"command": "send 'a"}}, {}, "command: No closing quotation"),
        ({"mial": {}}, {}, "did you mean mail"),
        ({"mail": {"security": "ssl"}}, {}, "mail.security: 'ssl' is none of the choices"),
        ({}, {"mail": Lockout}, "a room has the settings [mail], which are the hall's own"),
    ],
)
def test_a_wrong_table_of_the_hall_is_named(
    given: dict[str, Any], rooms: dict[str, type[RoomSettings]], told: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_hall_tables(given, rooms)
    assert told in str(refused.value)


# --- resource servers -----------------------------------------------------------------------------

HOME = "https://home.example"


def test_rooms_are_listed_with_commas_in_the_environment_and_as_a_flag() -> None:
    assert read_settings({}, {"MOOTHALL_ROOMS": "a, b,,c"}, None).rooms == ("a", "b", "c")
    assert read_settings({"rooms": "a,b"}, {"MOOTHALL_ROOMS": "c"}, None).rooms == ("a", "b")


@pytest.mark.requirement("R3")
@pytest.mark.parametrize(
    ("settings", "audience"),
    [
        ({"port": 9443}, "https://127.0.0.1:9443"),
        ({"port": 443, "host": "Boards.Example"}, "https://boards.example"),
        ({"host": "::1", "port": 9443}, "https://[::1]:9443"),
        ({"port": 0, "public_url": "https://boards.example"}, "https://boards.example"),
        ({"public_url": "HTTPS://Boards.Example:443/"}, "https://boards.example"),
        ({"public_url": "https://boards.example:8443"}, "https://boards.example:8443"),
        ({"public_url": "https://[2001:DB8::1]:1"}, "https://[2001:db8::1]:1"),
        ({"insecure": True, "port": 80}, "http://127.0.0.1"),
    ],
)
def test_the_audience_is_the_origin_at_which_clients_reach_it(
    settings: dict[str, Any], audience: str
) -> None:
    found = Settings(issuer=HOME, **settings)
    check_resource_server(found)
    assert found.audience == audience


@pytest.mark.requirement("R3")
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"port": 0}, "public_url: a resource server needs a name that stays"),
        ({"host": "::"}, "public_url: a resource server needs a name that stays"),
        ({"public_url": "boards.example"}, "public_url: 'boards.example' is no address of a hall"),
        ({"public_url": "https://boards.example/x"}, "write https://NAME"),
        ({"public_url": "https://ann@boards.example"}, "write https://NAME"),
        ({"public_url": "http://boards.example"}, "write https://NAME"),
        ({"public_url": HOME}, "issuer: this is the resource server's own address"),
        ({"issuer": "http://127.0.0.1:1"}, "issuer: keys are fetched by TLS only"),
        ({"issuer": "home.example"}, "issuer: 'home.example' is no address of a hall"),
        ({"issuer_fingerprint": "sha256:12"}, "issuer_fingerprint: write sha256: and 64"),
        ({"rooms": ("identity", "leaderboards")}, "rooms: a resource server leaves signing in"),
        ({"issuer": "", "issuer_fingerprint": "x"}, "issuer_fingerprint: it belongs to an issuer"),
    ],
)
def test_settings_of_a_resource_server_that_do_not_fit_are_refused(
    settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        check_resource_server(Settings(**{"issuer": HOME, **settings}))
    assert told in str(refused.value)
