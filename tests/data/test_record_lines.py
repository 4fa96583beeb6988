"""Captions and paths of any characters survive every writer and reader of JSON Lines."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from staged import Staged

from scripts.commands.archive import _finished
from scripts.commands.repeat import read_records
from scripts.commands.worker import Worker, serve
from scripts.data.datalist import load_datalist
from scripts.data.record_lines import each_line, json_line, json_text, read_json_lines
from scripts.errors import InputError
from scripts.metrics.pairs import read_items
from scripts.outputs.captioned_case import CaptionedCase
from scripts.outputs.delivery import Delivery
from scripts.studies.calibrate import made_before

ODD = (
    "two\u2028lines", "next\u0085line", "para\u2029graph", "form\x0cfeed \x1c\x1d\x1e \x0b", "tab\t cr\r lf\n",
    'a "quoted" word and a \\ back', "emoji \U0001fac0 \U0001f468\u200d\u2695\ufe0f", "half \ud83d of one",
    b"bytes \xff\xfe".decode("utf-8", "surrogateescape"), "\ufeff mark", "right \u202e to left", "nul \x00", "",
    "</script>",
)  # fmt: skip


@pytest.mark.parametrize("text", ODD)
def test_a_line_is_one_line_to_every_reader_and_comes_back_whole(tmp_path: Path, text: str) -> None:
    line = json_line({"image": text, "caption": text})
    assert line.count("\n") == 1 and len(line.splitlines()) == 1 and line.encode()
    assert json.loads(line) == {"image": text, "caption": text}
    assert json.loads(json_text([text], indent=1)) == [text] and json_text([text]).encode()
    (tmp_path / "a.jsonl").write_text(line * 3, encoding="utf-8")
    assert [record["caption"] for record in read_json_lines(tmp_path / "a.jsonl")] == [text] * 3


def test_lines_that_others_wrote_end_at_a_line_feed_only(tmp_path: Path) -> None:
    """As `json.dumps(..., ensure_ascii=False)` writes them: with U+2028 and the like as they are."""
    whole = [text for text in ODD if not any(0xD800 <= ord(character) < 0xE000 for character in text)]
    records = [
        {"image": f"{n}.png", "caption": text, "token_logprobs": [-0.1], "trace": {}} for n, text in enumerate(whole)
    ]
    path = tmp_path / "captions.jsonl"
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8", newline="")
    assert read_json_lines(path) == records == read_records(path)
    assert [item.captions[0] for item in read_items(path)] == whole
    assert {record["caption"] for record in _finished(tmp_path).values()} == set(whole)
    entries = [
        {"image": f"{n}.png", "caption": text} for n, text in enumerate(whole) if text.strip() and "\0" not in text
    ]
    (tmp_path / "list.jsonl").write_text(
        "".join(json.dumps({"section": "test", **e}, ensure_ascii=False) + "\n" for e in entries)
    )
    found = load_datalist(tmp_path / "list.jsonl", section="test", dataset_dir=tmp_path, check_files=False)
    assert [entry["caption"] for entry in found] == [entry["caption"] for entry in entries]


def test_a_run_writes_them_to_all_its_outputs(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path, outputs=["html", "jsonl"])
    for text in ODD:
        record = {"image": text or "a.png", "caption": text, "error": None, "confidence": 0.5, "weights": {},
                  "trace": {"input": {}}, "tokens": [text], "token_logprobs": [-0.1]}  # fmt: skip
        delivered = delivery.deliver(CaptionedCase(text or "a.png", record, torch.rand(1, 3, 32, 32), ()))
        assert not delivered.record.get("output_errors")
    delivery.finish()
    assert [record["caption"] for record in read_json_lines(tmp_path / "captions.jsonl")] == list(ODD)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert (
        page.count("</script>") == (tmp_path / "report.html").read_bytes().count(b"</script>") == page.count("<script")
    )


def test_a_file_name_that_is_no_utf8_is_captioned_like_any_other(tmp_path: Path) -> None:
    name = os.fsdecode(b"image \xff\xfe.png")
    (tmp_path / name).write_bytes(b"")
    delivery = Delivery(tmp_path / "out", outputs=["jsonl"])
    record = {"image": str(tmp_path / name), "caption": "x", "error": None}
    delivery.deliver(CaptionedCase(str(tmp_path / name), record, None, ()))
    delivery.finish()
    [line] = read_json_lines(tmp_path / "out" / "captions.jsonl")
    assert Path(line["image"]).exists()


@pytest.mark.parametrize("bad", [b'{"a": 1', b"\xff\xfe", b"[" * 100_000, b'{"a": "\xc3\x28"}', b"nonsense"])
def test_a_bad_line_is_named(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "captions.jsonl"
    path.write_bytes(b'{"image": "a", "trace": {}}\n\n' + bad + b"\n")
    with pytest.raises(InputError, match=r"captions.jsonl, line 3: is not JSON \(.*write one object a line") as said:
        read_json_lines(path)
    assert "\n" not in str(said.value)
    for reads in (read_records, read_items):
        with pytest.raises(InputError, match="captions.jsonl"):
            reads(path)
    assert [number for number, _ in each_line(path)] == [1, 3]
    assert len(_finished(tmp_path)) == 1  # half of a line is a case that is not done
    with pytest.raises(InputError, match="cannot be read"):
        read_json_lines(tmp_path / "absent.jsonl")


def test_captions_of_a_study_are_read_alike(tmp_path: Path, bundle_root: Path) -> None:
    (tmp_path / "captions.jsonl").write_text("7\n")
    with pytest.raises(InputError, match="captions.jsonl"):
        made_before(bundle_root, [{"image": "a.png"}], tmp_path / "captions.jsonl")


def test_the_worker_answers_every_line(tmp_path: Path) -> None:
    lines = [
        "[" * 100_000,
        '{"do": "hello", "id": 1}',
        "\udcff\udcfe",
        "7",
        '{"do": "caption", "image": "\udcff"}',
        "\n",
    ]
    with (tmp_path / "replies").open("w+", encoding="utf-8") as replies:
        worker = Worker(str(tmp_path))
        worker._predictor = Staged()
        serve(worker, lines, replies)
        replies.seek(0)
        answers = [json.loads(line) for line in replies]
    assert [answer["ok"] for answer in answers] == [False, True, False, False, False]
