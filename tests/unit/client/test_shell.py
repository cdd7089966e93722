"""The shell, typed at, against a real hall: what is offered, what is sent, what is survived."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from moothall.client import Wallet
from moothall.testing.hall import PASSWORD, Visitor
from tests.unit.client.shell_person import Desk

EVIL = "\x1b]0;owned\x07\u202ename"


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    desk = Desk(tmp_path, capsys)
    yield desk
    desk.close()


@pytest.fixture
def boss(desk: Desk) -> Visitor:
    """The administrator, who has made a board where everybody may write."""
    boss: Visitor = desk.run(desk.hall.administrator("boss"))
    desk.does(
        "leaderboards.create_board",
        boss,
        name="Kart",
        board_id="kart",
        direction="ascending",
        default_level="write",
    )
    return boss


@pytest.fixture
def ann(desk: Desk) -> Visitor:
    """A member, who is signed in at the desk."""
    ann: Visitor = desk.run(desk.hall.member("ann"))
    desk.signs_in("ann")
    return ann


# --- the engine -----------------------------------------------------------------------------------


@pytest.mark.requirement("R110")
def test_sign_in_and_out_without_a_terminal(desk: Desk) -> None:
    desk.run(desk.hall.member("ann"))
    shown = desk.types("i", "ann", PASSWORD, "O", "q")
    assert desk.code == 0
    assert "Signed in as: ann" in shown
    assert shown.count("Signed in as: nobody") == 2
    assert PASSWORD not in shown


@pytest.mark.requirement("R110")
@pytest.mark.parametrize("word", ["l", "L", "boards", " Boards "])
def test_choice_by_letter_or_word_in_either_case(desk: Desk, ann: Visitor, word: str) -> None:
    assert "Leaderboards\n------------" in desk.types(word)


def test_what_is_no_choice_changes_nothing(desk: Desk, ann: Visitor) -> None:
    shown = desk.types("boarts", "99", "\x00\x1b[A", "-1", "q")
    assert "did you mean boards?" in shown
    assert shown.count("there is no choice") == 4
    assert "\x1b" not in shown
    assert "\x00" not in shown
    assert desk.calls == ["identity.open_session"]


def test_bytes_that_are_no_text_and_lines_without_end(desk: Desk, ann: Visitor) -> None:
    shown = desk.sends(b"\xff\xfe\n" + b"x" * 40_000 + b"\nm\nq")
    assert "too long" in shown
    assert "Members\n-------" in shown
    assert desk.code == 0


def test_empty_line_shows_the_screen_again_and_help_explains(desk: Desk, ann: Visitor) -> None:
    shown = desk.types("", "?", "q")
    assert shown.count("[l] leaderboards") == 2
    assert "what it does" in shown


def test_screens_fit_a_small_terminal(desk: Desk, boss: Visitor) -> None:
    desk.signs_in("boss")
    for number in range(12):
        desk.does("leaderboards.submit_score", boss, board_id="kart", score=number)
    shown = desk.types("l", "1", "w", "1", "b", "b", "c", "b", "v", "b", "b", "b", "m", "b", "a")
    assert max(map(len, shown.splitlines())) <= 80
    assert max(len(screen.splitlines()) for screen in shown.split("\n> ")) <= 24


@pytest.mark.requirement("R110")
def test_hall_that_is_away_costs_a_refresh(desk: Desk, boss: Visitor, ann: Visitor) -> None:
    desk.away_for = {"leaderboards.list_boards", "leaderboards.submit_score"}
    shown = desk.types("l", "r", "1", "s", "128.5", "", "y", "s", "128.5", "", "y", "q")
    assert "could not be loaded" in shown
    assert "check the address and that the hall is running" in shown
    assert "Submitted. It has no place" in shown
    assert desk.calls.count("leaderboards.submit_score") == 1
    assert desk.code == 0


def test_refusal_is_told_with_its_remedy_and_stays(desk: Desk, boss: Visitor, ann: Visitor) -> None:
    shown = desk.types("l", "1", "a", "s", "inf", "", "y", "", "q")
    assert "not_ranked" in shown
    assert shown.count("Board Kart (kart)") == 2
    assert "score:" in shown


def test_wallet_that_is_empty(desk: Desk) -> None:
    desk.state.wallet.remove_server("home")
    shown = desk.types("l", "s", "", "q")
    assert "none yet: add one" in shown
    assert "there is no choice 'l' here" in shown
    assert desk.code == 0


@pytest.mark.requirement("R110")
def test_wallet_that_is_damaged_is_left_as_it_is(desk: Desk) -> None:
    file = Path(desk.state.settings.config_dir or "") / "servers.json"
    file.write_text('{"format": 1, "servers": {"home"')
    shown = desk.types("s", "r", "q")
    assert "is damaged and was left as it is" in shown
    assert shown.count("could not be loaded") == 2
    assert file.read_text() == '{"format": 1, "servers": {"home"'


def test_server_that_is_not_known_can_be_left_for_another(desk: Desk) -> None:
    desk.state.settings = replace(desk.state.settings, server="nowhere")
    shown = desk.types("l", "s", "1", "u", "b", "b", "q")
    assert "Server: choose one" in shown
    assert "Server:       home (https://hall.test)" in shown


def test_servers_are_chosen_renamed_and_forgotten(desk: Desk) -> None:
    wallet = desk.state.wallet
    wallet.add_server("other", wallet.get_server("home")[1])
    desk.types("s", "2", "u", "e", "elsewhere", "q")
    assert (wallet.read().current, list(wallet.read().servers)) == (
        "elsewhere",
        ["home", "elsewhere"],
    )
    desk.types("s", "2", "d", "n", "q")
    assert len(wallet.read().servers) == 2
    desk.types("s", "2", "d", "y", "q")
    assert list(wallet.read().servers) == ["home"]


def test_name_of_a_server_is_never_an_option(desk: Desk) -> None:
    shown = desk.types("s", "1", "e", "--yes", "q")
    assert "cannot be called '--yes'" in shown
    assert list(Wallet(desk.state.settings.folder).read().servers) == ["home"]


# --- boards ---------------------------------------------------------------------------------------

READ = {"[a] around me", "[m] my entries", "[w] waiting entries", "[e] seasons", "[l] follow live"}
WRITE = READ | {"[s] submit a score"}
MODERATE = WRITE | {"[v] levels"}
MANAGE = MODERATE | {"[c] change the board", "[d] remove the board"}


@pytest.mark.requirement("R50")
@pytest.mark.parametrize(
    ("level", "offered"), [("read", READ), ("write", WRITE), ("moderate", MODERATE)]
)
def test_only_what_may_be_done_is_offered(
    desk: Desk, boss: Visitor, ann: Visitor, level: str, offered: set[str]
) -> None:
    desk.does("leaderboards.update_board", boss, board_id="kart", default_level="none")
    desk.does("leaderboards.set_level", boss, board_id="kart", member="ann", level=level)
    shown = desk.types("l", "1", "q")
    assert {one for one in MANAGE if one in shown} == offered


@pytest.mark.requirement("R51")
def test_board_that_may_not_be_read_is_not_shown(desk: Desk, boss: Visitor, ann: Visitor) -> None:
    desk.does("leaderboards.update_board", boss, board_id="kart", default_level="none")
    assert "There are none here." in desk.types("l", "q")


@pytest.mark.requirement("R59")
@pytest.mark.requirement("R112")
def test_board_is_made_changed_and_removed(desk: Desk, boss: Visitor) -> None:
    desk.signs_in("boss")
    form = ("l", "c", "Jump", "d", "", "w")
    assert "Everyone may: write\n" in desk.types(*form, "n", "q")
    assert "leaderboards.create_board" not in desk.calls
    made = desk.types(*form, "Y", "q")
    assert "Board Jump (jump)" in made
    shown = desk.types("l", "1", "c", "e", "Long Jump", "y", "v", "moderate", "y", "q")
    assert "Everyone may:    moderate" in shown
    desk.types("l", "1", "d", "jump", "q")
    assert "leaderboards.remove_board" not in desk.calls
    gone = desk.types("l", "1", "d", "Long Jump", "r", "q")
    assert "Long Jump is removed." in gone
    assert "long-jump" not in desk.types("l", "q")


@pytest.mark.requirement("R54")
def test_ranking_by_pages_and_around_oneself(desk: Desk, boss: Visitor, ann: Visitor) -> None:
    rivals = [desk.run(desk.hall.member(f"rival{number:02}")) for number in range(20)]
    for number, member in enumerate([*rivals[:15], ann, *rivals[15:]]):
        entry = desk.does("leaderboards.submit_score", member, board_id="kart", score=number)
        desk.does("leaderboards.verify_entry", boss, entry_id=entry.entry_id)
    first, second, third, back = desk.types("l", "1", "n", "n", "p", "q").split("Board Kart")[1:]
    assert "rival00" in first
    assert "[p] previous" not in first
    assert ("rival10" in second, "rival00" in second) == (True, False)
    assert ("rival19" in third, "[n] next" in third) == (True, False)
    assert "rival10" in back
    around = desk.types("l", "1", "a", "16", "q").rpartition("Board Kart")[2]
    assert re.search(r"16 +16 +ann +15 ", around)
    assert "Entry of ann" in around


@pytest.mark.requirement("R56")
def test_comments_of_others_are_harmless(desk: Desk, boss: Visitor, ann: Visitor) -> None:
    desk.does("leaderboards.submit_score", ann, board_id="kart", score=1, description=f"a{EVIL}\nb")
    shown = desk.types("l", "1", "m", "1", "c", "a", "well done", "y", "q")
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "a\\x1b]0;owned" in shown
    assert "2. ann" in shown
    assert "    well done" in shown


@pytest.mark.requirement("R56")
def test_comments_are_removed_by_their_authors_and_by_moderators(
    desk: Desk, boss: Visitor, ann: Visitor
) -> None:
    entry = desk.does("leaderboards.submit_score", ann, board_id="kart", score=1, description="a")
    for author, text in ((boss, "b"), (ann, "c")):
        desk.does("leaderboards.add_comment", author, entry_id=entry.entry_id, text=text)
    to_comments = ("l", "1", "m", "1", "c")
    shown = desk.types(*to_comments, "2", "3", "n", "3", "y", "q")
    assert "[1,3] remove a comment" in shown
    assert "there is no choice '2' here" in shown
    assert desk.calls.count("leaderboards.remove_comment") == 1
    assert "[1] remove a comment" in shown
    desk.signs_in("boss")
    assert "[1-2] remove a comment" in desk.types("l", "1", "w", "1", "c", "q")


@pytest.mark.requirement("R55")
@pytest.mark.requirement("R112")
def test_verdict_asks_first(desk: Desk, boss: Visitor, ann: Visitor) -> None:
    desk.does("leaderboards.submit_score", ann, board_id="kart", score=7.5)
    desk.signs_in("boss")
    to_entry = ("l", "1", "w", "1")
    shown = desk.types(*to_entry, "v", "n", "v", "", "d", "no", "q")
    assert shown.count("nothing was done") == 3
    assert not {"leaderboards.verify_entry", "leaderboards.remove_entry"} & set(desk.calls)
    shown = desk.types(*to_entry, "v", "y", "u", "y", "d", "yes", "q")
    assert "Verified by:  boss" in shown
    assert "The entry is removed." in shown
    assert desk.run(desk.hall.rows("SELECT count(*) FROM leaderboards_entry")) == [(0,)]


@pytest.mark.requirement("R58")
def test_levels_are_set_and_listed(desk: Desk, boss: Visitor, ann: Visitor) -> None:
    desk.signs_in("boss")
    shown = desk.types("l", "1", "v", "s", "ann", "m", "y", "1", "read", "y", "q")
    assert "ann     moderate" in shown
    assert "ann     read" in shown


@pytest.mark.requirement("R50")
def test_seasons_are_begun_and_chosen(desk: Desk, boss: Visitor) -> None:
    entry = desk.does("leaderboards.submit_score", boss, board_id="kart", score=7.5)
    desk.does("leaderboards.verify_entry", boss, entry_id=entry.entry_id)
    desk.signs_in("boss")
    shown = desk.types("l", "1", "e", "s", "y", "e", "2", "q")
    began, old = shown.split("Board Kart (kart)")[-2:]
    assert "Season 2, 0 ranked" in began
    assert "Season 1, 1 ranked" in old


# --- members --------------------------------------------------------------------------------------


@pytest.mark.requirement("R60")
def test_members_by_pages_and_one_of_them(desk: Desk, boss: Visitor, ann: Visitor) -> None:
    for number in range(10):
        desk.run(desk.hall.member(f"guest{number}"))
    desk.does("leaderboards.submit_score", boss, board_id="kart", score=7.5)
    shown = desk.types("m", "n", "p", "1", "b", "f", "boss", "q")
    assert shown.count("guest9") == 1
    assert "Member ann" in shown
    boss_view = shown.rpartition("Member boss")[2]
    assert "Member since" in boss_view
    assert "There are none." in boss_view  # it is not verified


@pytest.mark.requirement("R60")
def test_own_account_shows_what_one_holds(desk: Desk, boss: Visitor, ann: Visitor) -> None:
    desk.does("leaderboards.set_level", boss, board_id="kart", member="ann", level="moderate")
    shown = desk.types("a", "p", "b", "c", "wrong", "q")
    assert "board_moderator  board/kart" in shown
    assert desk.calls[-1] == "access.claim_administration"
    assert "[o] what they may do" not in desk.types("m", "1", "q")
    desk.signs_in("boss")
    shown = desk.types("a", "b", "m", "f", "ann", "o", "q")
    assert "[c]" not in shown
    assert "board_moderator  board/kart" in shown


# --- proofs ---------------------------------------------------------------------------------------


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in the person's own folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    photo = tmp_path / "--photo.png"
    photo.write_bytes(bytes(range(256)) * 40)
    return photo


@pytest.mark.requirement("R57")
def test_proof_is_added_fetched_and_removed(
    desk: Desk, boss: Visitor, ann: Visitor, photo: Path
) -> None:
    desk.does("leaderboards.submit_score", ann, board_id="kart", score=7.5)
    to_proofs = ("l", "1", "m", "1", "f")
    shown = desk.types(*to_proofs, "a", "~/--photo.png", "n", "a", "~/--photo.png", "y", "q")
    assert desk.calls.count("leaderboards.add_proof") == 1
    assert " 1  --photo.png  image/png  10 KiB" in shown
    assert "Proofs:       1" in desk.types("l", "1", "m", "1", "q")

    fetched = photo.with_name("fetched.png")
    shown = desk.types(*to_proofs, "1", "g", "~/fetched.png", "g", "~/fetched.png", "q")
    assert fetched.read_bytes() == photo.read_bytes()
    assert shown.count("Saved as") == 1
    assert "nothing is written over it" in shown

    shown = desk.types(*to_proofs, "1", "d", "n", "d", "y", "q")
    assert shown.rpartition("Proofs\n------")[2].startswith("\nThere are none.")


@pytest.mark.requirement("R57")
@pytest.mark.parametrize("path", ["~/no-such-file", "~", "~nobody-here/x", "a\0b", "\x1b[2J", ""])
def test_path_that_is_no_file_sends_nothing(
    desk: Desk, boss: Visitor, ann: Visitor, photo: Path, path: str
) -> None:
    desk.does("leaderboards.submit_score", ann, board_id="kart", score=7.5)
    shown = desk.types("l", "1", "m", "1", "f", "a", path, "q")
    assert desk.code == 0
    assert "files.put_chunk" not in desk.calls
    assert "\x1b" not in shown


@pytest.mark.requirement("R57")
def test_proofs_are_offered_to_readers_once_the_entry_is_verified(
    desk: Desk, boss: Visitor, ann: Visitor
) -> None:
    entry = desk.does("leaderboards.submit_score", boss, board_id="kart", score=7.5)
    desk.does("leaderboards.verify_entry", boss, entry_id=entry.entry_id)
    shown = desk.types("l", "1", "1", "f", "q")
    assert "[c] comments  [f] proofs  [r] refresh" in shown
    assert "[a] add a file" not in shown


@pytest.mark.requirement("R8")
def test_forgotten_password_with_a_code_of_an_administrator(desk: Desk, boss: Visitor) -> None:
    desk.run(desk.hall.member("ann"))
    code = desk.does("identity.issue_recovery_code", boss, member="ann").code
    new = "another horse battery staple"
    shown = desk.types("f", "ann", code, new, "differs", "f", "ann", code, new, new, "q")
    assert "the two differ; nothing was done" in shown
    assert "The password is changed" in shown
    assert not {code, new} & set(shown.split("\n"))
    shown = desk.types("i", "ann", new, "q")
    assert "Signed in as: ann" in shown


@pytest.mark.requirement("R50")
def test_schedule_is_set_refused_and_taken_away(desk: Desk, boss: Visitor) -> None:
    desk.signs_in("boss")
    to_settings = ("l", "1", "c")
    shown = desk.types(*to_settings, "s", "0 0 1 * *", "Europe/Berlin", "y", "q")
    assert "0 0 1 * * (Europe/Berlin)" in shown
    assert "Next season:" in shown
    shown = desk.types(*to_settings, "s", "often", "", "y", "", "q")
    assert "moothall: schedule: " in shown
    shown = desk.types(*to_settings, "s", "none", "y", "q")
    assert "Schedule:        none" in shown


@pytest.mark.requirement("R110")
def test_session_that_was_ended_elsewhere(desk: Desk, boss: Visitor, ann: Visitor) -> None:
    desk.does("identity.revoke_sessions_of", boss, member="ann")
    shown = desk.types("l", "b", "i", "ann", PASSWORD, "l", "q")
    assert "sign in again" in shown
    assert "Board" not in shown.partition("could not be loaded")[0]
    assert "[1] one board" in shown
