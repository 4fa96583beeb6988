"""JSON Lines of records, whatever is in their texts: lines end at a line feed and nowhere else.

Captions and paths may hold what Python's ``splitlines`` takes for the end of a line (U+2028, U+0085 and others), and
halves of characters (a file name that is no UTF-8). A reader of others should stumble over neither.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.errors import InputError

_ENDS_A_LINE = re.compile("[\x85\u2028\u2029]")
"""What JSON may hold as it is and some readers take for the end of a line."""


def json_line(record: Any) -> str:
    """A record as one line, its line feed included.

    Raises:
        ValueError: it holds a number that is not finite.
    """
    text = json_text(record)
    return _ENDS_A_LINE.sub(lambda end: f"\\u{ord(end[0]):04x}", text) + "\n"


def json_text(value: Any, **layout: Any) -> str:
    """JSON that UTF-8 can hold, readable where it may be.

    Args:
        value: to write.
        layout: ``indent`` or ``separators``.

    Raises:
        ValueError: it holds a number that is not finite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, **layout)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a character, which UTF-8 does not have and JSON can escape
        return json.dumps(value, allow_nan=False, **layout)
    return text


def each_line(path: str | os.PathLike[str]) -> Iterator[tuple[int, bytes]]:
    """Number (from 1) and bytes of each line that is not blank.

    Raises:
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        yield from ((number, line) for number, line in enumerate(file, start=1) if line.strip())


def read_json_lines(path: str | os.PathLike[str]) -> list[Any]:
    """The records of a file.

    Raises:
        InputError: it cannot be read, or a line is no JSON; the message has its number.
    """
    records: list[Any] = []
    number = 0
    try:
        for number, line in each_line(path):  # noqa: B007 (the message names it)
            records.append(json.loads(line))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): check the path") from None
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", None) or getattr(error, "reason", None) or type(error).__name__
        raise InputError(f"{path}, line {number}: is not JSON ({reason}); write one object a line") from None
    return records
