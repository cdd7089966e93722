"""Rows of a file, each with its line: CSV or JSON Lines, as people have them.

A file is read twice: first to see that it is a table at all, before anything is done with it,
then row by row. It is never held whole.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import msgspec

_DELIMITERS = ",;\t"
_HEADER_CHARACTERS = 8_192
_JSONL_SUFFIXES = frozenset({".jsonl", ".ndjson"})


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        line: Line of the file where it begins, from 1.
        values: Its values by column.
        fault: Why it cannot be read, or ''.
    """

    line: int
    values: Mapping[str, Any]
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """What a file holds, as far as it can be told before its rows are looked at."""

    columns: list[str]
    rows: int


def survey(file: Path) -> Table:
    """Read a file once, and return its columns and the number of its rows.

    Raises:
        ValueError: It is no text in UTF-8, or no table.
    """
    columns: dict[str, None] = {}
    rows = 0
    for row in read_rows(file):
        rows += 1
        if row.values.keys() != columns.keys():
            columns |= dict.fromkeys(row.values)
    return Table(list(columns), rows)


def read_rows(file: Path) -> Iterator[Row]:
    """Yield the rows of a file: JSON Lines if its name says so, CSV otherwise.

    Raises:
        ValueError: It is no text in UTF-8, or no table.
    """
    is_jsonl = file.suffix.lower() in _JSONL_SUFFIXES
    with file.open(encoding="utf-8-sig", newline="\n" if is_jsonl else "") as text:
        try:
            yield from _read_jsonl(text) if is_jsonl else _read_csv(text)
        except UnicodeDecodeError as error:
            strange = error.object[error.start]
            raise ValueError(f"the file is no UTF-8 text (byte 0x{strange:02x})") from None


def _read_csv(text: TextIO) -> Iterator[Row]:
    delimiter = _delimiter(text.readline(_HEADER_CHARACTERS))
    text.seek(0)
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
        if not header or len(set(header)) != len(header):
            raise ValueError("the first line must name the columns, each once")
        begin = reader.line_num + 1
        for cells in reader:
            line, begin = begin, reader.line_num + 1
            if not cells:
                continue
            values = dict(zip(header, cells, strict=False))
            if len(cells) == len(header):
                yield Row(line, values)
            else:
                yield Row(line, values, f"has {len(cells)} values; the header has {len(header)}")
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from None


def _delimiter(header: str) -> str:
    return max(_DELIMITERS, key=header.count)


def _read_jsonl(text: TextIO) -> Iterator[Row]:
    decode = msgspec.json.decode
    for line, one in enumerate(text, start=1):
        if not one.strip():
            continue
        try:
            value = decode(one)
        except (msgspec.DecodeError, RecursionError):
            yield Row(line, {}, "is no JSON text")
            continue
        if isinstance(value, dict):
            yield Row(line, value)
        else:
            yield Row(line, {}, "is no JSON object")
