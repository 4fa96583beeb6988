"""Put a real line of ``captions.jsonl`` into ``docs/inference.md``, shortened so that it can be read.

make caption && .venv/bin/python tools/docs/example_record.py runs/caption/captions.jsonl mr_abdomen.dcm
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs" / "inference.md"
START, END = "<!-- record -->", "<!-- /record -->"
LIST, HASH = 4, 12


def shortened(value: Any, key: str = "") -> Any:
    """Hashes to their beginning, lists to their first and last entries, the trace to what its parts hold."""
    if key == "trace":
        return {name: shortened(part, name) if not isinstance(part, dict) else "{...}" for name, part in value.items()}
    if isinstance(value, dict):
        return {name: shortened(part, name) for name, part in value.items()}
    if isinstance(value, list) and len(value) > 1 and isinstance(value[0], dict):
        return [shortened(value[0]), "..."]
    if isinstance(value, list) and len(value) > 2 * LIST:
        return [*value[:LIST], "...", value[-1]]
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value):
        return value[:HASH] + "..."
    return value


def as_text(record: dict[str, Any]) -> str:
    """A key a line; what is below stands in its line, but weights and trace, which are long."""
    lines = []
    for key, value in record.items():
        inner = json.dumps(value, ensure_ascii=False)
        if key in ("weights", "trace"):
            parts = [f"        {json.dumps(name)}: {json.dumps(part)}" for name, part in value.items()]
            inner = "{\n" + ",\n".join(parts) + "\n    }"
        lines.append(f"    {json.dumps(key)}: {inner}")
    return "{\n" + ",\n".join(lines) + "\n}"


def main(file: str, name: str) -> None:
    records = [json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines()]
    record = next(record for record in records if Path(record["image"]).name == name)
    record = shortened(record) | {"image": f"/data/{name}"}
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    block = f"{START}\n```json\n{as_text(record)}\n```\n{END}"
    PAGE.write_text(before + block + after, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
