"""Rows of a file, each with its line: CSV or JSON Lines, as people have them."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_DELIMITERS = ",;\t"
_HEADER_BYTES = 8_192


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


def read_rows(content: bytes, *, is_jsonl: bool) -> tuple[list[str], list[Row]]:
    """Return the columns and the rows of a file.

    Raises:
        ValueError: It is no text in UTF-8, or has no header.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"the file is no UTF-8 text (byte {error.start})") from None
    rows = list(_read_jsonl(text)) if is_jsonl else list(_read_csv(text))
    columns = list(dict.fromkeys(name for row in rows for name in row.values))
    return columns, rows


def _read_csv(text: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        header = next(reader, None)
        if not header or len(set(header)) != len(header):
            raise ValueError("the first line must name the columns, each once")
        begin = reader.line_num + 1
        for cells in reader:
            line, begin = begin, reader.line_num + 1
            if not cells:
                continue
            if len(cells) != len(header):
                yield Row(line, {}, f"has {len(cells)} values; the header has {len(header)}")
            else:
                yield Row(line, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from None


def _delimiter(text: str) -> str:
    header = text[:_HEADER_BYTES].partition("\n")[0]
    return max(_DELIMITERS, key=header.count)


def _read_jsonl(text: str) -> Iterator[Row]:
    for line, one in enumerate(text.split("\n"), start=1):
        if not one.strip():
            continue
        try:
            value = json.loads(one)
        except (json.JSONDecodeError, RecursionError):
            yield Row(line, {}, "is no JSON text")
            continue
        if isinstance(value, dict):
            yield Row(line, value)
        else:
            yield Row(line, {}, "is no JSON object")
