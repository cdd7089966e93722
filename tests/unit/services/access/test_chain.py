"""The chain over the audit trail, as pure rules: the first spot that was touched is named."""

from collections.abc import Sequence

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from moothall.services.access.errors import AuditBrokenError
from moothall.services.access.model import AuditEntry, Head, Seal
from moothall.services.access.rules.chain import (
    Link,
    TrailKeys,
    canonical,
    check_seals,
    first_link,
    is_genuine,
    link_after,
    make_seal,
)
from moothall.services.access.rules.heads import (
    Mark,
    check_head,
    check_head_agrees,
    check_heads_reach,
    read_head,
    sign_head,
    write_head,
)

KEYS = TrailKeys(b"c" * 32, b"s" * 32)
OTHER_KEYS = TrailKeys(b"x" * 32, b"y" * 32)
SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(b"h" * 32)
PUBLIC_KEY = SIGNING_KEY.public_key()

NO_HEAD = Mark()

replace = msgspec.structs.replace


def row(number: int, **fields: object) -> AuditEntry:
    values = {
        "at_ms": 1_000 + number,
        "actor": "bob",
        "action": "shop.buy",
        "path": "shop/1",
        "outcome": "done",
        "source": "192.0.2.1",
        "request_id": f"r{number}",
    }
    return AuditEntry(number=number, **{**values, **fields})  # type: ignore[arg-type]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
rows_of = st.builds(
    lambda steps, actors: [
        row(sum(steps[: at + 1]), actor=actor)
        for at, (_, actor) in enumerate(zip(steps, actors, strict=False))
    ],
    # Steps above 1 are numbers that were never given.
    st.lists(st.sampled_from([1, 1, 1, 2, 7]), min_size=1, max_size=12),
    st.lists(texts, min_size=12, max_size=12),
)


def seal_all(rows: Sequence[AuditEntry], size: int, keys: TrailKeys = KEYS) -> list[Seal]:
    seals: list[Seal] = []
    link = first_link(keys)
    for start in range(0, len(rows), size):
        seals.append(make_seal(keys, link, rows[start : start + size], 5_000 + start))
        link = link_after(seals[-1])
    return seals


def finding(seals: Sequence[Seal], rows: Sequence[AuditEntry]) -> tuple[str, int]:
    with pytest.raises(AuditBrokenError) as error:
        check_seals(KEYS, first_link(KEYS), seals, rows)
    return str(error.value.details["fault"]), int(str(error.value.details["number"]))


# --- rows -----------------------------------------------------------------------------------------


@pytest.mark.requirement("R24")
@given(rows_of, st.integers(1, 5))
def test_what_was_sealed_agrees(rows: list[AuditEntry], size: int) -> None:
    seals = seal_all(rows, size)
    link = check_seals(KEYS, first_link(KEYS), seals, rows)
    latest = max(each.at_ms for each in rows)
    assert link == Link(rows[-1].number, seals[-1].chain, latest)


@pytest.mark.requirement("R24")
@given(rows_of, st.integers(1, 5), st.data())
def test_any_altered_field_is_named(rows: list[AuditEntry], size: int, data: st.DataObject) -> None:
    seals = seal_all(rows, size)
    at = data.draw(st.integers(0, len(rows) - 1))
    field = data.draw(st.sampled_from(AuditEntry.__struct_fields__[1:]))
    new = data.draw(st.integers() if field == "at_ms" else texts)
    if new == getattr(rows[at], field):
        return
    number = rows[at].number
    rows[at] = replace(rows[at], **{field: new})
    assert finding(seals, rows) == ("altered", number)


@pytest.mark.requirement("R24")
@given(rows_of, st.integers(1, 5), st.data())
def test_the_first_of_several_removed_rows_is_named(
    rows: list[AuditEntry], size: int, data: st.DataObject
) -> None:
    seals = seal_all(rows, size)
    gone = data.draw(st.sets(st.sampled_from([each.number for each in rows]), min_size=1))
    left = [each for each in rows if each.number not in gone]
    assert finding(seals, left) == ("missing", min(gone))


@pytest.mark.requirement("R24")
@given(rows_of, st.integers(1, 5), st.integers(-5, 90))
def test_an_inserted_row_is_named(rows: list[AuditEntry], size: int, number: int) -> None:
    taken = {each.number for each in rows}
    if number in taken or number > max(taken):
        return
    more = sorted([*rows, row(number)], key=lambda each: each.number)
    assert finding(seal_all(rows, size), more) == ("inserted", number)


@pytest.mark.requirement("R24")
@given(rows_of, st.integers(1, 5), st.data())
def test_two_swapped_rows_are_altered_from_the_first_on(
    rows: list[AuditEntry], size: int, data: st.DataObject
) -> None:
    places = st.sets(st.integers(0, len(rows) - 1), min_size=2, max_size=2)
    if len(rows) == 1:
        return
    seals = seal_all(rows, size)
    one, other = sorted(data.draw(places))
    swapped = [*rows]
    swapped[one] = replace(rows[other], number=rows[one].number)
    swapped[other] = replace(rows[one], number=rows[other].number)
    assert finding(seals, swapped) == ("altered", rows[one].number)


@pytest.mark.parametrize("value", [b"bob", None, 1.5, 7, ""])
def test_a_value_of_another_type_is_an_alteration(value: object) -> None:
    rows = [row(1), row(2)]
    seals = seal_all(rows, 2)
    assert finding(seals, [rows[0], replace(rows[1], actor=value)]) == ("altered", 2)


def test_rows_that_differ_have_different_bytes() -> None:
    rows = [
        row(1, actor="a", action="bc"),
        row(1, actor="ab", action="c"),
        row(1, actor="Ym9i"),
        row(1, actor=b"bob"),
        row(1, actor="b'bob'"),
        row(1, actor=None),
        row(1, actor="None"),
        row(1, at_ms="1001"),
        row(1, actor='","'),
        row(1),
    ]
    assert len(set(map(canonical, rows))) == len(rows)


# --- seals ----------------------------------------------------------------------------------------


@pytest.mark.requirement("R24")
@given(rows_of, st.data())
def test_any_altered_field_of_a_seal_is_named(rows: list[AuditEntry], data: st.DataObject) -> None:
    seals = seal_all(rows, 3)
    at = data.draw(st.integers(0, len(seals) - 1))
    field = data.draw(st.sampled_from(Seal.__struct_fields__))
    old = getattr(seals[at], field)
    new = data.draw(st.integers(-9, 99) if isinstance(old, int) else st.binary(max_size=40))
    if new == old:
        return
    first = seals[at].after_number + 1
    seals[at] = replace(seals[at], **{field: new})
    assert finding(seals, rows) == ("seal_altered", first)


@pytest.mark.requirement("R24")
@given(rows_of, st.data())
def test_a_removed_seal_is_named(rows: list[AuditEntry], data: st.DataObject) -> None:
    seals = seal_all(rows, 3)
    if len(seals) == 1:
        return
    gone = seals.pop(data.draw(st.integers(0, len(seals) - 2)))
    assert finding(seals, rows) == ("seal_missing", gone.after_number + 1)


@pytest.mark.requirement("R24")
def test_seals_of_another_key_are_altered() -> None:
    rows = [row(1), row(2)]
    assert finding(seal_all(rows, 1, OTHER_KEYS), rows) == ("seal_altered", 1)
    forged_chain = TrailKeys(OTHER_KEYS.chain, KEYS.seal)
    assert finding(seal_all(rows, 1, forged_chain), rows) == ("altered", 1)


def test_an_older_seal_in_the_place_of_a_newer_one_is_noticed() -> None:
    rows = [row(number) for number in range(1, 5)]
    seals = seal_all(rows, 2)
    assert finding([seals[0], seals[0]], rows)[0] == "seal_missing"


def test_the_latest_time_never_falls() -> None:
    rows = [row(1, at_ms=50), row(2, at_ms=10), row(3, at_ms=60), row(4, at_ms="99")]
    assert [seal.latest_at_ms for seal in seal_all(rows, 1)] == [50, 50, 60, 60]


def test_keys_are_not_shown() -> None:
    assert "ccc" not in repr(KEYS)
    assert is_genuine(KEYS, seal_all([row(1)], 1)[0])


# --- heads ----------------------------------------------------------------------------------------


def head_of(seal: Seal, head: int = 1, key: Ed25519PrivateKey = SIGNING_KEY) -> Head:
    return sign_head(key, seal, head=head, at_ms=9_000, hall="urn:hall")


def head_finding(head: Head, before: Mark = NO_HEAD) -> tuple[str, int]:
    with pytest.raises(AuditBrokenError) as error:
        check_head(PUBLIC_KEY, before, head)
    return str(error.value.details["fault"]), int(str(error.value.details["number"]))


@pytest.mark.requirement("R24")
def test_a_head_is_read_as_it_was_written() -> None:
    head = head_of(seal_all([row(1)], 1)[0])
    assert read_head(write_head(head)) == head
    assert "\n" not in write_head(head)
    assert check_head(PUBLIC_KEY, Mark(), head) == Mark(1, 1)
    for torn in ("", "{", write_head(head)[:-1], "\0\0\0", "[]"):
        assert read_head(torn) is None


@pytest.mark.requirement("R24")
@pytest.mark.parametrize(
    "change",
    [
        {"head": 2},
        {"number": 8},
        {"chain": "00" * 32},
        {"sealed_at_ms": 1},
        {"at_ms": 1},
        {"hall": "urn:other"},
        {"public_key": "00" * 32},
        {"signature": "00" * 64},
        {"signature": "no digits"},
    ],
)
def test_any_altered_field_of_a_head_is_a_forgery(change: dict[str, object]) -> None:
    head = head_of(seal_all([row(1)], 1)[0])
    assert head_finding(replace(head, **change)) == ("head_forged", 1)


@pytest.mark.requirement("R24")
def test_a_head_of_another_key_is_a_forgery() -> None:
    other = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
    assert head_finding(head_of(seal_all([row(1)], 1)[0], key=other)) == ("head_forged", 1)


@pytest.mark.requirement("R24")
def test_heads_are_counted() -> None:
    seals = seal_all([row(1), row(2), row(3)], 1)
    assert head_finding(head_of(seals[2], 3), Mark(1, 1)) == ("head_missing", 2)
    assert head_finding(head_of(seals[0], 1), Mark(1, 1)) == ("head_forged", 2)
    check_heads_reach(Mark(3, 3), 3)
    check_heads_reach(Mark(4, 3), 3)
    with pytest.raises(AuditBrokenError) as error:
        check_heads_reach(Mark(2, 2), 3)
    assert error.value.details["number"] == 3


@pytest.mark.requirement("R24")
@given(rows_of, st.integers(1, 5), st.integers(1, 12), st.data())
def test_a_head_agrees_with_seals_that_were_made_anew(
    rows: list[AuditEntry], size: int, new_size: int, data: st.DataObject
) -> None:
    head = head_of(data.draw(st.sampled_from(seal_all(rows, size))))
    (seal,) = [
        each
        for each in seal_all(rows, new_size)
        if each.after_number < head.number <= each.last_number
    ]
    check_head_agrees(Mark(), head, seal)
    rows[0] = replace(rows[0], actor=rows[0].actor + "!")
    (seal,) = [
        each
        for each in seal_all(rows, new_size)
        if each.after_number < head.number <= each.last_number
    ]
    with pytest.raises(AuditBrokenError) as error:
        check_head_agrees(Mark(), head, seal)
    assert (error.value.details["number"], error.value.details["until_number"]) == (1, head.number)
