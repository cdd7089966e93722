"""The files of ``deploy/`` keep their word: each can be read, and they agree with each other.

Programs that check such a file themselves (haproxy, nginx, promtool, systemd-analyze) do so where
the machine has them. That all of it serves together is shown by ``tests/plays/test_deploy.py``.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import ProcessCollector
from prometheus_client.registry import CollectorRegistry

from moothall.app.config import PREFIX, Settings, read_settings
from moothall.app.foundation import ASIDE_READERS, ASIDE_WRITERS
from moothall.app.keyfile import LENGTH_BYTES, read_sealing_key
from moothall.app.metrics import METRICS
from moothall.app.metrics import PREFIX as METRICS_PREFIX
from moothall.bus.access import BusAccess, check_access
from moothall.bus.access import read_address as read_bus_address
from moothall.storage.postgres import read_address
from moothall.transports.proxies import is_trusted, read_networks

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
NODES = ("node1", "node2", "node3")
UNITS = ("moothall.service", "moothall-node@.service")
PAGE = ROOT / "docs" / "how-to" / "run-several-nodes.md"


def read(name: str) -> str:
    return (DEPLOY / name).read_text("utf-8")


def read_yaml(name: str) -> Any:
    return msgspec.yaml.decode(read(name))


def settings_of_nodes() -> Settings:
    return read_settings({}, {}, DEPLOY / "node" / "moothall.toml")


def check_by(program: str, *words: str) -> None:
    """Let a program check its file, where there is one."""
    found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/usr/bin")
    if found is None:
        pytest.skip(f"there is no {program} here")
    done = subprocess.run([found, *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# --- settings -------------------------------------------------------------------------------------


def test_settings_of_a_node_are_those_of_several_nodes_behind_a_balancer() -> None:
    settings = settings_of_nodes()
    assert not settings.insecure
    assert settings.proxy_protocol
    assert settings.public_url.startswith("https://")
    options = read_address(settings.database).url.partition("?")[2].split("&")
    assert "sslmode=verify-full" in options
    access = BusAccess(user=settings.bus_user, password_file="x", authority=settings.bus_authority)
    check_access(access, read_bus_address(settings.bus))
    assert not settings.tables, "tables are checked by the rooms that have them"


@pytest.mark.parametrize("name", ["compose.yaml", *(f"systemd/{unit}" for unit in UNITS)])
def test_each_setting_that_is_given_by_the_environment_exists(name: str) -> None:
    given = dict(re.findall(rf"\b{PREFIX}([A-Z_]+)[=:] ?(\S+)", read(name)))
    # Of the database's container: for hall.sql.
    given.pop("PASSWORD_FILE", None)
    assert given
    read_settings({}, {f"{PREFIX}{each}": value for each, value in given.items()}, None)


def test_the_balancer_notices_while_a_node_drains_and_nobody_ends_it_before() -> None:
    drain_s = settings_of_nodes().drain_seconds
    check = re.search(r"inter (\d+)s fall (\d+)", read("haproxy/haproxy.cfg"))
    assert check is not None
    assert int(check[1]) * (int(check[2]) + 1) < drain_s
    for unit in UNITS:
        stop = re.search(r"^TimeoutStopSec=(\d+)$", read(f"systemd/{unit}"), re.MULTILINE)
        assert stop is not None
        assert int(stop[1]) > 2 * drain_s
    for node in NODES:
        grace = read_yaml("compose.yaml")["services"][node]["stop_grace_period"]
        assert int(grace.removesuffix("s")) > 2 * drain_s


def test_the_database_has_connections_for_all_nodes_and_one_more() -> None:
    settings = settings_of_nodes()
    of_node = (
        settings.database_writers_max
        + settings.database_readers_max
        + ASIDE_WRITERS
        + ASIDE_READERS
    )
    given = re.search(r"^max_connections = (\d+)$", read("postgres/hall.conf"), re.MULTILINE)
    of_role = re.search(r"CONNECTION LIMIT (\d+)", read("postgres/hall.sql"))
    assert given is not None
    assert of_role is not None
    needed = of_node * (len(NODES) + 1)
    assert needed <= int(of_role[1]) < int(given[1])
    told = f"{len(NODES)} * {of_node} = {len(NODES) * of_node}"
    assert told in " ".join(read("postgres/hall.conf").split())


# --- addresses and names --------------------------------------------------------------------------


def test_nodes_stand_where_everybody_looks_for_them() -> None:
    services = read_yaml("compose.yaml")["services"]
    settings = settings_of_nodes()
    nodes = [services[node]["networks"]["front"]["ipv4_address"] for node in NODES]
    for name, address in zip(NODES, nodes, strict=True):
        given = services[name]["environment"]
        assert (given["MOOTHALL_HOST"], given["MOOTHALL_METRICS_HOST"]) == (address, address)
    balancer = services["balancer"]["networks"]["front"]["ipv4_address"]
    trusted = read_networks(settings.trusted_proxies)
    assert is_trusted(balancer, trusted)
    assert not any(is_trusted(address, trusted) for address in nodes)

    ports = (settings.port, settings.line_port)
    expected = [f"{address}:{port}" for port in ports for address in nodes]
    for file in ("haproxy/haproxy.cfg", "nginx/nginx.conf"):
        assert re.findall(r"10\.89\.7\.\d+:\d+", read(file)) == expected
    assert f"check port {settings.watch_port}" in read("haproxy/haproxy.cfg")
    [scrape] = read_yaml("prometheus/prometheus.yml")["scrape_configs"]
    [config] = scrape["static_configs"]
    assert config["targets"] == [f"{address}:{settings.watch_port}" for address in nodes]
    [network] = read_yaml("compose.yaml")["networks"]["back"]["ipam"]["config"]
    assert network["subnet"] in read("postgres/pg_hba.conf")


def test_only_the_balancer_can_be_reached_from_outside() -> None:
    compose = read_yaml("compose.yaml")
    published = {name for name, each in compose["services"].items() if "ports" in each}
    assert published == {"balancer"}
    assert compose["services"]["balancer"]["ports"] == ["443:443", "8444:8444"]
    assert compose["networks"]["back"]["internal"] is True
    for name in ("database", "bus"):
        assert compose["services"][name]["networks"] == ["back"]


def test_no_container_is_without_a_bound_or_of_any_release() -> None:
    for name, service in read_yaml("compose.yaml")["services"].items():
        assert set(service["deploy"]["resources"]["limits"]) == {"memory", "cpus", "pids"}, name
        assert service["restart"] == "unless-stopped"
        if "build" not in service:
            image, _, release = service["image"].partition(":")
            assert re.fullmatch(r"[a-z]+", image), "no registry's address"
            assert re.fullmatch(r"\d+(\.\d+)?", release)
    for node in NODES:
        service = read_yaml("compose.yaml")["services"][node]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


def test_each_secret_and_each_file_that_is_mounted_is_there_or_is_made(made: Path) -> None:
    compose = read_yaml("compose.yaml")
    assert set(compose["secrets"]) <= {file.name for file in made.iterdir()}
    sources = [
        each["file"] for each in (*compose["secrets"].values(), *compose["configs"].values())
    ]
    for service in compose["services"].values():
        asked = [
            each if isinstance(each, str) else each["source"] for each in service.get("secrets", ())
        ]
        assert set(asked) <= set(compose["secrets"])
        mounts = [each.partition(":")[0] for each in service.get("volumes", ())]
        sources += [each for each in mounts if each.startswith("./")]
        assert {each for each in mounts if not each.startswith("./")} <= set(compose["volumes"])
    for source in sources:
        folder, _, name = source.removeprefix("./").partition("/")
        place = made / name if folder == "secrets" else DEPLOY / source
        assert place.exists(), source


# --- secrets --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deploy") / "secrets"
    done = run_script(folder)
    assert done.returncode == 0, done.stderr
    return folder


def run_script(folder: Path) -> "subprocess.CompletedProcess[str]":
    words = ["sh", str(DEPLOY / "make-secrets.sh"), str(folder), "hall.example"]
    return subprocess.run(words, check=False, capture_output=True, text=True)


def test_secrets_are_the_owners_alone_and_never_made_twice(made: Path) -> None:
    key = read_sealing_key(made / "sealing.key", database=made / "rows")
    assert len(key) == LENGTH_BYTES
    private = [file for file in made.iterdir() if file.suffix != ".pem"]
    assert len(private) >= 9
    for file in private:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    again = run_script(made)
    assert again.returncode == 1
    assert "holds secrets already" in again.stderr
    assert read_sealing_key(made / "sealing.key", database=made / "rows") == key


def test_no_secret_gets_into_the_repository_or_the_image() -> None:
    assert "/secrets/" in read(".gitignore").splitlines()
    allowed = [line for line in read("Dockerfile.dockerignore").splitlines() if line[:1] == "!"]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", read("Dockerfile"), re.MULTILINE)
    assert {f"!{name}" for each in copied for name in each.split()} == set(allowed)
    assert all((ROOT / line[1:]).exists() for line in allowed)


# --- what programs say ----------------------------------------------------------------------------


def test_haproxy_can_use_its_file() -> None:
    check_by("haproxy", "-c", "-f", str(DEPLOY / "haproxy" / "haproxy.cfg"))


@pytest.mark.parametrize("number", range(2), ids=["TCP mode", "HTTP mode"])
def test_haproxy_as_the_page_shows_it_asks_each_node_whether_it_is_ready(
    tmp_path: Path, number: int
) -> None:
    page = (ROOT / "docs" / "how-to" / "behind-a-balancer.md").read_text("utf-8")
    shown = re.findall(r"```haproxy\n(.*?)```", page, re.DOTALL)
    assert len(shown) == 2
    backends = re.findall(r"option httpchk.*?default-server [^\n]*", shown[number], re.DOTALL)
    assert backends
    for backend in backends:
        assert "uri /readyz " in backend
        assert f"check port {settings_of_nodes().watch_port} " in backend
    file = tmp_path / "haproxy.cfg"
    # Certificates are read; these lie nowhere.
    file.write_text(re.sub(r" ssl (crt|verify required ca-file) \S+", "", shown[number]), "utf-8")
    check_by("haproxy", "-c", "-f", str(file))


def test_nginx_can_use_its_file(tmp_path: Path) -> None:
    text = f"pid {tmp_path}/nginx.pid;\nerror_log {tmp_path}/error.log;\n"
    file = tmp_path / "nginx.conf"
    file.write_text(text + read("nginx/nginx.conf"))
    if not Path("/etc/nginx/modules-enabled").is_dir():
        pytest.skip("there is no nginx here, or none with its modules")
    check_by("nginx", "-t", "-c", str(file))


def test_nats_can_use_its_file(made: Path, tmp_path: Path) -> None:
    text = read("nats/nats.conf").replace("/etc/nats/tls", str(made))
    (tmp_path / "nats.conf").write_text(text)
    shutil.copy(made / "bus.conf", tmp_path)
    program = Path(sys.executable).with_name("nats-server")
    check_by(str(program), "-t", "-c", str(tmp_path / "nats.conf"))


@pytest.mark.parametrize("name", UNITS)
def test_systemd_can_use_its_units(name: str, tmp_path: Path) -> None:
    # It looks for the program and its user on this machine.
    text = read(f"systemd/{name}").replace("/opt/moothall/bin/moothall", "/bin/true")
    unit = tmp_path / name.replace("@", "@one")
    unit.write_text(text.replace("User=moothall", "User=nobody"))
    check_by("systemd-analyze", "verify", "--man=no", str(unit))


def test_prometheus_can_use_its_files() -> None:
    check_by("promtool", "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml"))


@pytest.mark.parametrize("name", UNITS)
def test_a_start_is_not_repeated_that_cannot_succeed(name: str) -> None:
    prevented = re.search(r"^RestartPreventExitStatus=(.+)$", read(f"systemd/{name}"), re.MULTILINE)
    assert prevented is not None
    # A node ends with 74 if its database cannot be reached, which passes by itself.
    expected = {"moothall.service": ["74", "78"], "moothall-node@.service": ["78"]}
    assert prevented[1].split() == expected[name]


# --- alerts ---------------------------------------------------------------------------------------


def list_alerts() -> list[dict[str, Any]]:
    [group] = read_yaml("prometheus/rules.yml")["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    assert len(rules) > 10
    return rules


def list_metrics() -> set[str]:
    """Return the names of all samples that a node gives."""
    names = set()
    for name, metric in METRICS.items():
        ends = ("_sum", "_count", "_bucket") if metric.kind == "histogram" else ("",)
        names |= {f"{METRICS_PREFIX}{name}{end}" for end in ends}
    families = ProcessCollector(registry=CollectorRegistry()).collect()
    return names | {sample.name for family in families for sample in family.samples}


@pytest.mark.parametrize("alert", list_alerts(), ids=lambda alert: str(alert["alert"]))
def test_alerts_ask_for_metrics_and_labels_that_exist(alert: dict[str, Any]) -> None:
    asked = set(re.findall(r"\b(?:moothall|process)_\w+", alert["expr"])) - {"process_start"}
    assert asked <= list_metrics()
    assert asked or alert["expr"].startswith('up{job="moothall"}')
    labels = {label for name in asked for label in labels_of(name)}
    known = {"instance", "job", *(f"exported_{each}" if each == "job" else each for each in labels)}
    summary = alert["annotations"]["summary"]
    grouped = re.findall(r"by \(([\w, ]+)\)", alert["expr"])
    named = re.findall(r"\$labels\.(\w+)", summary) + re.findall(r"[{,] ?(\w+)=", alert["expr"])
    assert {each.strip() for one in grouped for each in one.split(",")} | set(named) <= known


def labels_of(sample: str) -> tuple[str, ...]:
    name = re.sub(r"_(sum|count|bucket)$", "", sample.removeprefix(METRICS_PREFIX))
    return METRICS[name].labels if name in METRICS else ()


def test_the_page_says_what_to_do_about_each_alert() -> None:
    text = PAGE.read_text("utf-8")
    assert [each["alert"] for each in list_alerts() if f"`{each['alert']}`" not in text] == []
