"""Rooms are folders; what is wrong with one is told with its name and the remedy."""

import importlib
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from moothall.action.catalog import Catalog
from moothall.app import discovery
from moothall.app.discovery import FURNITURE, find_rooms
from moothall.core.errors import ConfigurationError, DeclarationError
from tests.unit.action.scenes import GOOD, IMPORTS, forget_rooms, write_room

BUILT_IN = ("hall",)


def found(*folders: Path) -> list[str]:
    return [room.name for room in find_rooms(BUILT_IN, folders)][1:]


def refuse(*folders: Path) -> str:
    with pytest.raises(ConfigurationError) as refused:
        Catalog(find_rooms(BUILT_IN, folders))
    return str(refused.value)


@pytest.mark.requirement("R40")
def test_all_built_in_rooms_are_found_and_fit_together() -> None:
    catalog = Catalog(find_rooms((), ()))
    assert {"access", "hall", "identity", "leaderboards"} <= set(catalog.rooms)
    assert "hall.ping" in catalog.actions


def test_what_a_room_depends_on_comes_along(tmp_path: Path) -> None:
    assert [room.name for room in find_rooms(["access"], [])] == ["access", "identity"]
    assert [room.name for room in find_rooms(["feeds"], [])] == ["feeds"]
    plate = "from moothall.action import Service\nSERVICE = Service(depends_on=('access',))\n"
    write_room(tmp_path, "shop_u", __init__=plate)
    served = [room.name for room in find_rooms(BUILT_IN, [tmp_path])]
    assert served == ["access", "hall", "identity", "shop_u"]


FOLLOWER = """
from moothall.action import Follower, Role, Service
SERVICE = Service(
    member_permissions=("a:do", "b:do"),
    roles=(Role("both", ("a:do", "b:do")),),
    follower=Follower(
        actions=("do_thing",), jobs=(JOBS), jobs_of_its_own=(JOBS), member_permissions=("a:do",)
    ),
)
"""
JOBS = """
from moothall.action import Context, job

@job(every_ms=1_000)
async def follow(ctx: Context) -> None:
    \"\"\"Follow.\"\"\"

@job(every_ms=1_000)
async def lead(ctx: Context) -> None:
    \"\"\"Lead.\"\"\"
"""


@pytest.mark.requirement("R3")
def test_a_room_is_served_in_one_of_two_shapes(tmp_path: Path) -> None:
    signed = GOOD.replace("PUBLIC", "Signed('a:do')")
    other = signed.split(IMPORTS)[-1].replace("do_thing", "do_other").replace("a:do", "b:do")
    actions = f"{signed}\n\n{other}"
    plate = FOLLOWER.replace("JOBS", "'follow',")
    write_room(tmp_path, "shop_v", __init__=plate, actions=actions, jobs=JOBS)
    whole, follower = (
        find_rooms(BUILT_IN, [tmp_path], is_follower=is_follower)[-1]
        for is_follower in (False, True)
    )
    assert [one.name for one in whole.actions] == ["shop_v.do_thing", "shop_v.do_other"]
    assert [one.name for one in follower.actions] == ["shop_v.do_thing"]
    assert [one.name for one in whole.jobs] == ["shop_v.lead"]
    assert [one.name for one in follower.jobs] == ["shop_v.follow"]
    assert Catalog([whole]).permissions >= {"a:do", "b:do"}
    assert "b:do" not in Catalog([follower]).permissions


@pytest.mark.requirement("R40")
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("import nowhere_at_all", "room shop_x1: shop_x1.actions cannot be imported: ModuleNotF"),
        ("A = Signed('toss')", "permission 'toss' must be spelled noun:verb"),
        ("B = action(access=PUBLIC)(print)", "the declaration lacks effect, limit, raises"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named_with_the_line(
    tmp_path: Path, line: str, told: str
) -> None:
    room = write_room(tmp_path, "shop_x1", actions=f"{IMPORTS}\n\n{line}\n")
    with forget_rooms(tmp_path), pytest.raises(DeclarationError) as refused:
        find_rooms(BUILT_IN, [room])
    assert str(refused.value).startswith(f"{room / 'actions.py'}:7: ")
    assert told in str(refused.value)


def test_a_follower_names_what_is_there(tmp_path: Path) -> None:
    plate = FOLLOWER.replace("JOBS", "'folow',")
    write_room(tmp_path, "shop_w", __init__=plate, jobs=JOBS)
    told = refuse(tmp_path)
    assert "names 'folow', which is not there; did you mean follow?" in told


@pytest.mark.requirement("R40")
def test_a_folder_is_one_room_or_holds_rooms(tmp_path: Path) -> None:
    write_room(tmp_path / "one", "shop_a")
    write_room(tmp_path / "many", "shop_b")
    write_room(tmp_path / "many", "shop_c")
    (tmp_path / "many" / "docs").mkdir()
    (tmp_path / "many" / "README.md").write_text("not a room")

    assert found(tmp_path / "one" / "shop_a") == ["shop_a"]
    assert found(tmp_path / "many") == ["shop_b", "shop_c"]
    actions = Catalog(find_rooms(BUILT_IN, [tmp_path / "one"])).actions
    assert "hall.ping" in actions
    assert {name for name in actions if not name.startswith("hall.")} == {"shop_a.do_thing"}


def test_a_room_may_lack_an_init_and_split_its_actions(tmp_path: Path) -> None:
    room = tmp_path / "shop_d"
    (room / "actions").mkdir(parents=True)
    (room / "actions" / "__init__.py").write_text("")
    (room / "actions" / "things.py").write_text(GOOD)
    (room / "migrations").mkdir()
    (shop,) = find_rooms(BUILT_IN, [room])[1:]
    assert [action.name for action in shop.actions] == ["shop_d.do_thing"]
    assert shop.migrations == room / "migrations"


def test_a_relative_folder_is_found_from_where_the_operator_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_room(tmp_path, "shop_e")
    monkeypatch.chdir(tmp_path)
    assert found(Path("shop_e")) == ["shop_e"]


def test_what_lies_beside_a_room_hides_no_installed_module(tmp_path: Path) -> None:
    write_room(tmp_path, "shop_f")
    (tmp_path / "json.py").write_text("raise RuntimeError")
    find_rooms(BUILT_IN, [tmp_path / "shop_f"])
    assert sys.path[-1] == str(tmp_path)


def test_a_missing_folder_and_an_empty_one(tmp_path: Path) -> None:
    assert refuse(tmp_path / "nowhere").endswith("is not a folder")
    assert "holds no room (a folder with an actions.py)" in refuse(tmp_path)
    (tmp_path / "file.py").write_text("")
    assert "is not a folder" in refuse(tmp_path / "file.py")


def test_a_built_in_room_that_does_not_exist() -> None:
    with pytest.raises(ConfigurationError, match="no room 'leaderbord'; did you mean leaderboards"):
        find_rooms(["leaderbord"], [])


@pytest.mark.requirement("R40")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("utils.py", "a room has no 'utils.py'; it may have"),
        ("action.py", "it may have actions"),
        ("error.py", "it may have errors"),
        ("README.md", "a room has no 'README.md'"),
        ("model.txt", "a room has no 'model.txt'"),
    ],
)
def test_a_strange_file_is_named_with_what_may_stand_there(
    tmp_path: Path, name: str, told: str
) -> None:
    room = write_room(tmp_path, "shop_g")
    (room / name).write_text("")
    assert told in refuse(room)
    assert str(room / name) in refuse(room)


def test_what_tools_leave_behind_is_no_strange_file(tmp_path: Path) -> None:
    room = write_room(tmp_path, "shop_h")
    (room / ".DS_Store").write_text("")
    (room / "__pycache__").mkdir()
    assert found(room) == ["shop_h"]


def test_all_furniture_may_stand_in_a_room(tmp_path: Path) -> None:
    pieces = dict.fromkeys(FURNITURE - {"migrations", "actions"}, "")
    pieces["restore"] = "async def after_restore(ctx, restored): ...\n"
    pieces["personal"] = "async def export_rows(): ...\nasync def erase_rows(): ...\n"
    assert found(write_room(tmp_path, "shop_i", **pieces)) == ["shop_i"]


def test_a_piece_is_a_file_or_a_folder(tmp_path: Path) -> None:
    room = write_room(tmp_path, "shop_j", store="")
    (room / "store").mkdir()
    assert "'store' is there as a file and as a folder" in refuse(room)


@pytest.mark.requirement("R40")
@pytest.mark.parametrize(
    ("piece", "text", "told"),
    [
        ("actions", "1/0", "shop_k.actions cannot be imported: ZeroDivisionError"),
        ("actions", "def", "actions.py:1: room shop_k: shop_k.actions cannot be imported: Syntax"),
        ("__init__", "import nowhere", "room shop_k: cannot be imported: ModuleNotFoundError"),
        ("__init__", "SERVICE = 7", "SERVICE must be a Service(...), not 7"),
        ("personal", "", "personal.py declares 'async def export_rows'"),
        ("rules", "raise SystemError('x')", "shop_k.rules cannot be imported: SystemError: x"),
        ("actions", GOOD.replace("effect=READ, ", ""), "the declaration lacks effect"),
        ("actions", GOOD.replace("async def", "def"), "an action is an 'async def' function"),
        (
            "errors",
            f"{IMPORTS}\nclass Gone(ActionError):\n    code = Code.NOT_FOUND\n",
            "must end in 'Error'",
        ),
    ],
)
def test_a_room_that_does_not_load_says_where_and_why(
    tmp_path: Path, piece: str, text: str, told: str
) -> None:
    assert told in refuse(write_room(tmp_path, "shop_k", **{piece: text}))


def test_a_broken_module_within_a_piece_is_told_alike(tmp_path: Path) -> None:
    room = tmp_path / "shop_l"
    (room / "actions").mkdir(parents=True)
    (room / "actions" / "__init__.py").write_text("")
    (room / "actions" / "things.py").write_text("1/0")
    assert "room shop_l: shop_l.actions.things cannot be imported: Zero" in refuse(room)


ERRORS = (
    f"{IMPORTS}\nclass GoneError(ActionError):\n    '''It is gone.'''\n    code = Code.NOT_FOUND\n"
)


@pytest.mark.requirement("R40")
@pytest.mark.parametrize("spelling", ["GoneError", "errors.GoneError('x')"])
def test_an_error_that_is_raised_and_not_listed_stops_the_start(
    tmp_path: Path, spelling: str
) -> None:
    actions = f"from shop_m import errors\nfrom shop_m.errors import GoneError\n{GOOD}"
    actions = actions.replace("    return Done", f"    raise {spelling}\n    return Done")
    room = write_room(tmp_path, "shop_m", actions=actions, errors=ERRORS)
    assert "do_thing raises GoneError but does not list it in raises=" in refuse(room)


@pytest.mark.requirement("R40")
def test_a_listed_error_stands_in_errors(tmp_path: Path) -> None:
    here = ERRORS + GOOD.replace("raises=()", "raises=(GoneError,)")
    room = write_room(tmp_path, "shop_n", actions=here)
    assert "GoneError is declared neither in the errors.py of its room" in refuse(room)


def test_errors_of_a_room_it_depends_on_may_be_listed(tmp_path: Path) -> None:
    write_room(tmp_path, "shop_o", errors=ERRORS)
    plate = "from moothall.action import Service\nSERVICE = Service(depends_on=('shop_o',))\n"
    actions = "from shop_o.errors import GoneError\n" + GOOD.replace(
        "raises=()", "raises=(GoneError,), command='gone ask'"
    )
    write_room(tmp_path, "shop_p", __init__=plate, actions=actions)
    assert "shop_p.do_thing" in Catalog(find_rooms(BUILT_IN, [tmp_path])).actions


@pytest.mark.requirement("R40")
def test_two_rooms_of_one_name(tmp_path: Path) -> None:
    write_room(tmp_path / "a", "shop_q")
    write_room(tmp_path / "b", "shop_q")
    assert "another Python module has the name 'shop_q'" in refuse(tmp_path / "a", tmp_path / "b")
    assert "two rooms of the name 'hall'" in refuse(write_room(tmp_path / "c", "hall"))


@pytest.mark.parametrize("name", ["json", "queue", "moothall", "click", "msgspec"])
def test_a_room_is_not_called_like_a_module(tmp_path: Path, name: str) -> None:
    assert "rename the folder" in refuse(write_room(tmp_path, name))


@pytest.mark.parametrize("name", ["my-shop", "Shop", "1shop", "s" * 33, "läden"])
def test_a_rooms_name_stands_on_the_wire(tmp_path: Path, name: str) -> None:
    assert "lower-case letters, digits and '_'" in refuse(write_room(tmp_path, name))


def test_installed_packages_bring_rooms_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(value: str) -> None:
        # Each has a group of its own, because a process asks once for each.
        monkeypatch.setattr(discovery, "ENTRY_POINTS", f"rooms at {value}")
        monkeypatch.setattr(
            discovery, "entry_points", lambda group: [EntryPoint("shop", value, group)]
        )

    write_room(tmp_path / "bundle", "shop_r")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    install("bundle.shop_r")
    assert found() == ["shop_r"]
    install("bundle.shop_r.actions")
    with pytest.raises(DeclarationError, match="rename the folder"):
        find_rooms(BUILT_IN, [])


@pytest.mark.requirement("R40")
@pytest.mark.parametrize("piece", ["model", "actions/others"])
@pytest.mark.parametrize("base", ["Request", "Result"])
def test_two_types_of_one_name_on_the_wire(tmp_path: Path, piece: str, base: str) -> None:
    room = tmp_path / "shop_s"
    (room / "actions").mkdir(parents=True)
    (room / "actions" / "__init__.py").touch()
    (room / "actions" / "things.py").write_text(GOOD)
    again = f"from moothall.action import {base}\nclass Done({base}):\n    pass\n"
    (room / f"{piece}.py").write_text(again)
    told = refuse(room)
    other = f"shop_s.{piece.replace('/', '.')}"
    assert "both declare Done; clients tell types apart by name, so rename one" in told
    assert {"shop_s.actions.things", other} <= set(told.split()), "both are named"


@pytest.mark.requirement("R40")
def test_a_type_that_several_modules_use_is_one_type(tmp_path: Path) -> None:
    model = "from moothall.action import Result\nclass Thing(Result):\n    pass\n"
    actions = "from shop_t.model import Thing\nItem = Thing\n" + GOOD
    write_room(tmp_path, "shop_t", model=model, actions=actions)
    assert found(tmp_path) == ["shop_t"]


def test_rooms_of_users_are_read_again_and_built_in_ones_are_not(tmp_path: Path) -> None:
    room = write_room(tmp_path, "shop_again")
    before = find_rooms(BUILT_IN, [room])
    (room / "migrations").mkdir()
    after = find_rooms(BUILT_IN, [room])
    assert [one is other for one, other in zip(before, after, strict=True)] == [True, False]
    assert after[-1].migrations == room / "migrations"
