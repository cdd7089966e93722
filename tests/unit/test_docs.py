"""The documents keep their word: links lead somewhere, code parses, the reference is complete.

What documents say about a running hall is held by the plays (``test_readme``,
``test_example_room``), which read the documents with what stands here.
"""

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from moothall.action.catalog import Catalog
from moothall.action.pipeline import SOURCE_RATE
from moothall.app.config import Settings
from moothall.app.discovery import find_rooms
from moothall.app.main import serve
from moothall.core.codes import HTTP_STATUS, RETRYABLE, Code
from moothall.core.errors import FRAMEWORK_ERRORS
from moothall.core.units import KIBIBYTE, MEBIBYTE, SECOND_MS
from moothall.transports.http.bounds import HttpBounds
from tests.unit.test_tidy import check_text_travels
from tools.command_reference import list_commands
from tools.make_reference import make_pages

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r"\n`([\w./-]+)`:\n\n\Z")
_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_ROW = re.compile(r"^\| `([^`]+)` \|(.*)\|$", re.MULTILINE)


# --- reading; the plays use this too --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fence:
    """A block of code in a document.

    Attributes:
        language: What stands after the three ticks.
        text: The code.
        file: The file that the line above says it is (`` `rooms/a.py`: ``), or ''.
    """

    language: str
    text: str
    file: str = ""


def fences_of(document: Path) -> list[Fence]:
    text = document.read_text("utf-8")
    found = []
    for fence in _FENCE.finditer(text):
        title = _TITLE.search(text[: fence.start()])
        found.append(Fence(fence[1], fence[2], title[1] if title else ""))
    return found


def prose_of(document: Path) -> str:
    """Return the text without code, in which brackets mean something else."""
    return _CODE.sub("", _FENCE.sub("", document.read_text("utf-8")))


def anchors_of(document: Path) -> set[str]:
    """Return the anchors of the headings, spelled as code hosts spell them."""
    text = _FENCE.sub("", document.read_text("utf-8"))
    titles = (re.sub(r"[^\w\- ]", "", one.lower()) for one in _HEADING.findall(text))
    return {title.strip().replace(" ", "-") for title in titles}


def links_of(document: Path) -> Iterator[tuple[str, Path, str]]:
    """Yield each link to a file: as it is written, where it leads, and its anchor."""
    for link in _LINK.findall(prose_of(document)):
        if not re.match(r"[a-z]+:", link):
            path, _, anchor = link.partition("#")
            yield link, (document.parent / path).resolve() if path else document, anchor


def section(document: Path, heading: str) -> str:
    """Return the text between a heading and the next one of its rank."""
    text = document.read_text("utf-8")
    rank = heading.partition(" ")[0]
    _, found, rest = text.partition(f"{heading}\n")
    assert found, f"{document.name} has no {heading!r}"
    return re.split(rf"^{rank} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows_of(text: str) -> dict[str, list[str]]:
    """Return the rows of tables whose first cell is code, by that cell."""
    return {name: [cell.strip() for cell in rest.split("|")] for name, rest in _ROW.findall(text)}


DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(path for top in ("bench", "changelog.d", "deploy", "docs", "examples")
          for path in (ROOT / top).rglob("*.md")),
    ]
)  # fmt: skip
each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


# --- every document -------------------------------------------------------------------------------


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    for link, path, anchor in links_of(document):
        assert path.exists(), f"{link}: there is no such file"
        if anchor and path.suffix == ".md":
            assert anchor in anchors_of(path), f"{link}: {path.name} has no such heading"


@each_document
def test_code_parses(document: Path) -> None:
    for fence in fences_of(document):
        match fence.language:
            case "python":
                ast.parse(fence.text)
            case "toml":
                tomllib.loads(fence.text)
            case "json":
                json.loads(fence.text)


@each_document
def test_it_is_true_on_every_machine(document: Path) -> None:
    problems = list(check_text_travels(document, document.read_text("utf-8")))
    assert not problems, "\n".join(problems)


@each_document
def test_a_rank_of_headings_is_not_skipped(document: Path) -> None:
    ranks = [
        len(line.partition(" ")[0])
        for line in _FENCE.sub("", document.read_text("utf-8")).splitlines()
        if re.match(r"#+ ", line)
    ]
    assert all(second <= first + 1 for first, second in pairwise(ranks)), ranks


def test_each_page_stands_in_the_index() -> None:
    shown = {path for _, path, _ in links_of(DOCS / "README.md")}
    pages = {path for path in DOCS.rglob("*.md") if path.name != "README.md"}
    # Decisions are an archive; the index names its folder. What is being built is for those
    # who build it.
    pages = {path for path in pages if path.parent.name not in {"decisions", "building"}}
    assert {str(path.relative_to(ROOT)) for path in pages - shown} == set()


def test_readers_of_documents_read() -> None:
    """A test that finds nothing to check would pass."""
    assert sum(1 for document in DOCUMENTS for _ in links_of(document)) > 20
    readme = fences_of(ROOT / "README.md")
    assert {"sh", "python"} <= {fence.language for fence in readme}
    assert any(fence.file for fence in fences_of(DOCS / "tutorials" / "your-first-room.md"))


# --- the reference --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "actions.md",
        "commands.md",
        "errors.md",
        "feeds.md",
        "metrics.md",
        "settings.md",
        "writing-rooms.md",
    ],
)
def test_reference_is_current(name: str) -> None:
    path = DOCS / "reference" / name
    expected = make_pages()[path]
    assert path.read_text("utf-8") == expected, (
        f"{name} is not what the code declares; run: .venv/bin/python tools/make_reference.py"
    )


@pytest.mark.requirement("R110")
def test_every_command_is_documented() -> None:
    page = DOCS / "reference" / "commands.md"
    told = re.findall(r"^## ([a-z].*)$", page.read_text("utf-8"), re.MULTILINE)
    known = list_commands(Catalog(find_rooms((), ())))
    assert told == known
    assert {"board create", "entry import", "serve", "server add", "login"} <= set(known)
    for words in known:
        _, _, text = section(page, f"## {words}").partition("\n\n")
        assert re.match(r"[A-Z]", text), f"{words}: nothing says what it does"


def test_every_setting_is_documented() -> None:
    page, ended, _ = (DOCS / "reference" / "settings.md").read_text("utf-8").partition("## Tables")
    assert ended
    rows = rows_of(page)
    flags = {param.name: param.opts[0] for param in serve.params}
    for field in msgspec.structs.fields(Settings):
        if field.name == "tables":
            continue
        default, _, environment, flag, meaning = rows.pop(field.name)
        assert default
        assert environment == f"`MOOTHALL_{field.name.upper()}`"
        assert flag == (f"`{flags[field.name]}`" if field.name in flags else "")
        assert meaning.endswith(".")
    assert not rows, "a setting is documented that does not exist"
    assert set(flags) - set(Settings.__struct_fields__) == {"config", "assignments"}


def test_fixed_bounds_are_told_as_they_are() -> None:
    text = section(DOCS / "reference" / "settings.md", "## Bounds that are no settings yet")
    bounds = HttpBounds()
    told = {
        "of headers": f"{bounds.head_size_bytes_max // KIBIBYTE} KiB",
        "of body": f"{bounds.body_size_bytes_max // MEBIBYTE} MiB",
        "for the TLS handshake": f"{bounds.listener.handshake_timeout_ms // SECOND_MS} s",
        "for the headers": f"{bounds.head_timeout_ms // SECOND_MS} s",
        "for the body": f"{bounds.body_timeout_ms // SECOND_MS} s",
        "between two requests": f"{bounds.idle_timeout_ms // SECOND_MS} s",
        "calls a second over all": f"{SOURCE_RATE.calls:,}",
    }
    assert SOURCE_RATE.window_ms == SECOND_MS
    for what, bound in told.items():
        assert f"{bound} {what}" in " ".join(text.split())


def test_every_code_is_documented() -> None:
    page = DOCS / "reference" / "errors.md"
    text = section(page, "## The twelve codes")
    rows = rows_of(text)
    assert rows == {
        code.value: [str(HTTP_STATUS[code]), "yes" if code in RETRYABLE else "no"] for code in Code
    }
    for code in Code:
        assert f"- `{code.value}`: " in text
    exits = rows_of("".join(_exit_rows()))
    assert set(exits) == {code.value for code in Code}


def _exit_rows() -> Iterator[str]:
    """Yield the rows of problems of the exit codes, their code first."""
    text = (DOCS / "reference" / "exit-codes.md").read_text("utf-8")
    for number, code in re.findall(r"^\| (\d+) \| `(\w+)` \|", text, re.MULTILINE):
        yield f"| `{code}` | {number} |\n"


def test_every_error_is_documented() -> None:
    page = DOCS / "reference" / "errors.md"
    rows = rows_of(section(page, "## Errors that any action may answer"))
    assert set(rows) == {error.name for error in FRAMEWORK_ERRORS}
    rooms = section(page, "## Errors of the rooms")
    catalog = Catalog(find_rooms((), ()))
    assert any(room.errors for room in catalog.rooms.values())
    for name, room in catalog.rooms.items():
        if room.errors:
            of_room = rooms.partition(f"### {name}\n")[2].partition("\n### ")[0]
            assert {error: row[0] for error, row in rows_of(of_room).items()} == {
                error.name: f"`{error.code.value}`" for error in room.errors
            }


@pytest.mark.requirement("R40")
def test_every_action_is_documented() -> None:
    page = DOCS / "reference" / "actions.md"
    for action in Catalog(find_rooms((), ())).actions.values():
        text = section(page, f"### {action.name}")
        assert action.summary.replace("``", "`") in text.replace("\n", " ")
        fields, objects = action.request_type.__struct_fields__, rows_of(text)
        assert set(fields) <= set(objects)


def test_glossary_is_in_order() -> None:
    terms = re.findall(
        r"^\*\*(.+?)\*\*", (DOCS / "explanation" / "glossary.md").read_text("utf-8"), re.MULTILINE
    )
    assert len(terms) > 20
    assert terms == sorted(terms, key=str.lower)


def test_each_test_that_the_threats_page_cites_exists() -> None:
    page = (DOCS / "explanation" / "threats.md").read_text("utf-8")
    cited = re.findall(r"`([\w/]+\.py)::(\w+)`", page)
    assert len(cited) > 30
    missing = [
        f"{file}::{name}"
        for file, name in cited
        if f"def {name}(" not in (ROOT / "tests" / file).read_text("utf-8")
    ]
    assert missing == []


# --- the map of the house -------------------------------------------------------------------------

SOURCES = ROOT / "src" / "moothall"


def names_in(path: Path) -> set[str]:
    """Return what a module defines: functions, classes, and methods as ``Class.method``."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            functions = ast.FunctionDef | ast.AsyncFunctionDef
            inside = (one for one in node.body if isinstance(one, functions))
            names |= {f"{node.name}.{one.name}" for one in inside}
    return names


def test_every_file_that_the_map_names_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    named = set(re.findall(r"`([\w/-]+/[\w-]+\.\w+)`", text))
    assert len(named) > 50
    tops = (SOURCES, ROOT)
    assert [one for one in sorted(named) if not any((top / one).exists() for top in tops)] == []


def test_every_function_that_the_map_names_exists() -> None:
    rows = [
        (file, re.findall(r"`([\w.]+)`", cells[0]))
        for file, cells in (
            (file, rest.split("|"))
            for file, rest in _ROW.findall((ROOT / "ARCHITECTURE.md").read_text("utf-8"))
        )
        if file.endswith(".py")
    ]
    assert len(rows) > 40
    assert [file for file, names in rows if not names] == []
    missing = [
        f"{file}: {name}"
        for file, names in rows
        for name in names
        if name not in names_in(SOURCES / file)
    ]
    assert missing == []
