"""The rules of the house that a test can hold, so that nobody has to remember them.

Each rule is one function that lists its violations in one file, and one test that gives it every
file it concerns. `test_rule_bites` shows each rule a small sin, so that none can fall asleep.
Sources are read as text and by `ast`; nothing is imported, so a broken module cannot hide.

Whoever adds a rule: say in the message what to do instead, and add its sin at the end.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
SERVICES = SOURCE / "moothall" / "services"

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70

EMPTY_NAMES = {"utils", "helpers", "common", "misc", "manager", "handler"}

# A room's furniture by height: imports go to the same height or down.
FURNITURE = {
    "actions": 3,
    "adapters": 3,
    "checks": 3,
    "feeds": 3,
    "jobs": 3,
    "personal": 3,
    "restore": 3,
    "subscribers": 3,
    "rules": 2,
    "store": 2,
    "errors": 1,
    "events": 1,
    "model": 0,
}
SHOWN_TO_OTHER_ROOMS = {"actions", "errors", "model"}
MIGRATION = re.compile(r"\d{4}_[a-z0-9_]+(\.sqlite|\.postgres)?\.sql")

# Whoever decides purely is given time and chance as arguments.
IMPURE_MODULES = {"asyncio", "os", "random", "secrets", "socket", "ssl", "threading", "time"}
CLOCK_READERS = {"now", "today", "utcnow"}

FRAGMENT = re.compile(r"[a-z0-9][a-z0-9-]*\.(added|changed|fixed|security|removed)\.md")

# Written in pieces, so that this file does not contain what it forbids.
FORBIDDEN_TEXTS = {
    "a home directory": re.compile(r"(?<![\w.}])/(?:home/\w|root/|Users/\w)"),
    "this checkout's own path": re.compile(re.escape(str(ROOT)) + r"(?![\w-])"),
    "a registry's address": re.compile(
        "|".join(
            re.escape(".".join(host))
            for host in (
                ("pypi", "org"),
                ("pythonhosted", "org"),
                ("registry", "npmjs"),
                ("deb", "debian", "org"),
            )
        )
        + "|--(?:extra-)?index" + "-url[ =]"
    ),
}  # fmt: skip


# --- reading --------------------------------------------------------------------------------------


def module_of(path: Path) -> tuple[str, ...]:
    """Name the module a file under `src` holds: ("moothall", "core", "ids")."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports_of(path: Path, text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield line and full dotted name of all that a file imports, the imported name included."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path)[:-1]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            for alias in node.names:
                yield node.lineno, (*module, alias.name)


def room_and_piece(module: tuple[str, ...]) -> tuple[str, str]:
    """Tell the room a module belongs to and its piece of furniture, "" for what is neither."""
    inside = module[2:4] if module[:2] == ("moothall", "services") else ()
    room, piece, *_ = (*inside, "", "")
    return room, piece


def depends_on(plate: str) -> set[str]:
    """Read the rooms that a room's `SERVICE` name plate declares to depend on."""
    for node in ast.walk(ast.parse(plate)):
        if isinstance(node, ast.keyword) and node.arg == "depends_on":
            return set(ast.literal_eval(node.value))
    return set()


def plate_of(room: str) -> str:
    plate = SERVICES / room / "__init__.py"
    return plate.read_text(encoding="utf-8") if plate.exists() else ""


# --- rules: each lists what is wrong with one file ------------------------------------------------


def check_name_says_something(path: Path, _text: str) -> Iterator[str]:
    for part in path.relative_to(SOURCE).with_suffix("").parts:
        if part.strip("_") in EMPTY_NAMES:
            yield f"'{part}' says nothing: name the module after what it holds"


def check_file_is_short(_path: Path, text: str) -> Iterator[str]:
    if (lines := text.count("\n")) > FILE_LINES_MAX:
        yield f"{lines} lines, at most {FILE_LINES_MAX}: make it a folder of the same name"


def check_functions_are_short(_path: Path, text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        # A docstring is a promise to the reader, not something to keep in mind at once.
        first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
        lines = (node.end_lineno or node.lineno) - first.lineno + 1
        if lines > FUNCTION_LINES_MAX:
            yield f"{node.name} has {lines} lines, at most {FUNCTION_LINES_MAX}: split it"


def check_core_stands_alone(path: Path, text: str) -> Iterator[str]:
    for line, name in imports_of(path, text):
        if name[0] not in sys.stdlib_module_names and name[:2] != ("moothall", "core"):
            yield f"line {line}: core imports {'.'.join(name)}, only the standard library may be"


def check_furniture(path: Path, _text: str) -> Iterator[str]:
    inside = path.relative_to(SERVICES).parts[1:]
    if not inside:
        return  # a file beside the rooms, such as the floor's own `__init__`
    if inside[0] == "migrations":
        if path.suffix == ".sql" and not MIGRATION.fullmatch(path.name):
            yield "a migration is called NNNN_name[.sqlite|.postgres].sql"
    elif (piece := Path(inside[0]).stem) != "__init__" and piece not in FURNITURE:
        yield f"'{piece}' is no furniture of a room; there is {', '.join(sorted(FURNITURE))}"


def check_room_imports_go_down(path: Path, text: str) -> Iterator[str]:
    room, piece = room_and_piece(module_of(path))
    for line, name in imports_of(path, text):
        other_room, other = room_and_piece(name)
        if other_room != room or piece not in FURNITURE or other not in FURNITURE:
            continue
        if FURNITURE[other] > FURNITURE[piece]:
            yield f"line {line}: {piece} imports {other}, which stands above it"
        if (piece, other) == ("rules", "store"):
            yield f"line {line}: rules imports store; let the action load and pass values"


def check_rooms_ask_at_the_door(path: Path, text: str) -> Iterator[str]:
    room, _ = room_and_piece(module_of(path))
    allowed = depends_on(plate_of(room))
    for line, name in imports_of(path, text):
        other_room, other = room_and_piece(name)
        if other_room in ("", room):
            continue
        if other_room not in allowed:
            yield f"line {line}: {room} imports {other_room}, which its depends_on does not name"
        if other not in SHOWN_TO_OTHER_ROOMS:
            yield f"line {line}: {other_room} shows others only its actions, errors and model"


def check_decides_purely(path: Path, text: str) -> Iterator[str]:
    for line, name in imports_of(path, text):
        if name[0] in IMPURE_MODULES:
            yield f"line {line}: imports {name[0]}; take time, chance and the world as arguments"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield f"line {node.lineno}: waits; a pure decision is a plain function"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of = node.func.value
            owner = of.attr if isinstance(of, ast.Attribute) else getattr(of, "id", "")
            if owner in ("date", "datetime") and node.func.attr in CLOCK_READERS:
                yield f"line {node.lineno}: reads the clock; take the time as an argument"


def check_text_travels(_path: Path, text: str) -> Iterator[str]:
    for line, content in enumerate(text.splitlines(), start=1):
        for what, pattern in FORBIDDEN_TEXTS.items():
            if pattern.search(content):
                yield f"line {line}: holds {what}, which is true on one machine only"


def check_fragment(path: Path, text: str) -> Iterator[str]:
    if not FRAGMENT.fullmatch(path.name):
        yield "a fragment is called <topic>.<added|changed|fixed|security|removed>.md"
    if not re.match(r"[A-Z`]", text):
        yield "a fragment begins with a sentence: no heading, no bullet, no blank line"
    if not text.endswith(".\n"):
        yield "a fragment ends with a full stop and one newline"


# --- which files each rule concerns ---------------------------------------------------------------

PYTHON = sorted(SOURCE.rglob("*.py"))
ROOMS = [path for path in PYTHON if path.is_relative_to(SERVICES) and path.parent != SERVICES]
CORE = [path for path in PYTHON if path.is_relative_to(SOURCE / "moothall" / "core")]
IN_ROOMS = sorted(
    path
    for path in SERVICES.rglob("*")
    if path.is_file() and path.suffix != ".pyc" and path.parent != SERVICES
)
RULES = [path for path in ROOMS if room_and_piece(module_of(path))[1] == "rules"]
# `protocol.py` of a door turns bytes into calls; its shell `server.py` does the waiting.
PROTOCOLS = [path for path in PYTHON if path.name == "protocol.py" and "transports" in path.parts]
FRAGMENTS = sorted(
    path for path in (ROOT / "changelog.d").glob("*") if path.name not in ("README.md", ".gitkeep")
)

Check = Callable[[Path, str], Iterator[str]]


def each(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda path: str(path.relative_to(ROOT)))


def hold(check: Check, path: Path) -> None:
    problems = list(check(path, path.read_text(encoding="utf-8")))
    assert not problems, f"{path.relative_to(ROOT)}\n  " + "\n  ".join(problems)


# --- the tests ------------------------------------------------------------------------------------


@each(PYTHON)
def test_name_says_something(path: Path) -> None:
    hold(check_name_says_something, path)


@each(PYTHON)
def test_file_is_short(path: Path) -> None:
    hold(check_file_is_short, path)


@each(PYTHON)
def test_functions_are_short(path: Path) -> None:
    hold(check_functions_are_short, path)


@each(CORE)
def test_core_stands_alone(path: Path) -> None:
    hold(check_core_stands_alone, path)


@each(IN_ROOMS)
def test_room_has_only_its_furniture(path: Path) -> None:
    hold(check_furniture, path)


@each(ROOMS)
def test_room_imports_go_down(path: Path) -> None:
    hold(check_room_imports_go_down, path)


@each(ROOMS)
def test_rooms_ask_at_the_door(path: Path) -> None:
    hold(check_rooms_ask_at_the_door, path)


@each(RULES + PROTOCOLS)
def test_decides_purely(path: Path) -> None:
    hold(check_decides_purely, path)


@each(FRAGMENTS)
def test_changelog_fragment_is_well_formed(path: Path) -> None:
    hold(check_fragment, path)


def test_tracked_files_travel() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, text=True
    )
    if listed.returncode:
        pytest.skip(f"git does not answer: {listed.stderr.strip()}")
    problems = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            text = content.decode("utf-8", errors="replace")
            problems += [f"{name}, {found}" for found in check_text_travels(path, text)]
    assert not problems, "\n  ".join(problems)


CHESS = SERVICES / "chess"
SINS = {
    "empty name": (check_name_says_something, SOURCE / "moothall/app/utils.py", "", "says nothing"),
    "long file": (check_file_is_short, CHESS / "store.py", "\n" * 501, "501 lines"),
    "long function": (
        check_functions_are_short,
        CHESS / "store.py",
        "def f():\n" + " 1\n" * 71,
        "f has 71 lines",
    ),
    "core with a library": (
        check_core_stands_alone,
        SOURCE / "moothall/core/x.py",
        "import apsw",
        "core imports apsw",
    ),
    "strange piece": (check_furniture, CHESS / "cache.py", "", "'cache' is no furniture"),
    "strange folder": (check_furniture, CHESS / "engine/a.py", "", "'engine' is no furniture"),
    "strange migration": (check_furniture, CHESS / "migrations/first.sql", "", "NNNN_name"),
    "import upwards": (
        check_room_imports_go_down,
        CHESS / "model.py",
        "from moothall.services.chess.store import find_game",
        "model imports store",
    ),
    "relative import upwards": (
        check_room_imports_go_down,
        CHESS / "rules" / "moves.py",
        "from ..actions import play",
        "rules imports actions",
    ),
    "rules that load": (
        check_room_imports_go_down,
        CHESS / "rules.py",
        "from moothall.services.chess import store",
        "let the action load",
    ),
    "undeclared room": (
        check_rooms_ask_at_the_door,
        CHESS / "actions.py",
        "from moothall.services.go.model import Stone",
        "depends_on does not name",
    ),
    "another room's store": (
        check_rooms_ask_at_the_door,
        CHESS / "actions.py",
        "from moothall.services.go import store",
        "shows others only",
    ),
    "rule that waits": (check_decides_purely, CHESS / "rules.py", "async def f(): ...", "waits"),
    "rule with chance": (
        check_decides_purely,
        CHESS / "rules.py",
        "from random import choice",
        "imports random",
    ),
    "rule with a clock": (
        check_decides_purely,
        CHESS / "rules.py",
        "datetime.datetime.now(UTC)",
        "reads the clock",
    ),
    "home directory": (
        check_text_travels,
        ROOT / "x.md",
        "see /" + "home/alice/notes",
        "a home directory",
    ),
    "registry": (
        check_text_travels,
        ROOT / "x.txt",
        "--index" + "-url https://example.org",
        "a registry's address",
    ),
    "fragment name": (check_fragment, ROOT / "changelog.d/Sign in.md", "Sign in.\n", "is called"),
    "fragment bullet": (check_fragment, ROOT / "changelog.d/a.added.md", "- A.\n", "no bullet"),
    "fragment end": (check_fragment, ROOT / "changelog.d/a.added.md", "Sign in", "full stop"),
}


@pytest.mark.parametrize(("check", "path", "text", "message"), SINS.values(), ids=SINS.keys())
def test_rule_bites(check: Check, path: Path, text: str, message: str) -> None:
    problems = list(check(path, text))
    assert any(message in problem for problem in problems), problems


def test_declared_rooms_are_read_from_the_name_plate() -> None:
    plate = 'SERVICE = Service(name="chess", depends_on=("people", "ledger"))'
    assert depends_on(plate) == {"people", "ledger"}
