"""A caption made again from its trace: the same to the last digit, and a sentence where it is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
import torch

from scripts.commands import repeat
from scripts.commands.samples import write_samples
from scripts.errors import InputError, WeightsError
from scripts.kernels.precision import resolved
from scripts.predictor import CaptionPredictor


@pytest.fixture(scope="module")
def predictor(starter: Callable[..., CaptionPredictor]) -> CaptionPredictor:
    return starter(agreement_samples=2)


@pytest.fixture(scope="module")
def traces(predictor: CaptionPredictor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """captions.jsonl of a CT with a window of its own and of two views with a prompt; the images lie beside it."""
    folder = tmp_path_factory.mktemp("traces")
    ct, mr, *_ = write_samples(folder / "images")
    made = [
        predictor.caption(ct, window="lung", num_beams=1, max_new_tokens=12),
        predictor.caption([ct, mr], prompt="Axial", num_beams=2, max_new_tokens=8),
    ]
    path = folder / "captions.jsonl"
    path.write_text("".join(json.dumps(caption.record) + "\n" for caption in made))
    return path


def changed(traces: Path, tmp_path: Path, **values: object) -> Path:
    first = json.loads(traces.read_text().splitlines()[0])
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({**first, **values}))
    return path


def test_captions_are_repeated_to_the_last_digit(traces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert repeat.main([str(traces)]) == 0
    assert "2 of 2 captions are the same" in capsys.readouterr().out


def test_other_words_are_noticed(
    traces: Path, tmp_path: Path, predictor: CaptionPredictor, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(repeat, "predictor_of", lambda *_: predictor)
    assert repeat.main([str(changed(traces, tmp_path, caption="Something else."))]) == 1
    assert "differs in caption" in capsys.readouterr().err
    other = pydicom.dcmread(traces.parent / "images" / "ct_head.dcm")
    pixels = other.pixel_array.copy()
    pixels[256:260, 256:260] += 300  # in the brain
    other.PixelData, other.file_meta.TransferSyntaxUID = pixels.tobytes(), pydicom.uid.ExplicitVRLittleEndian
    other.save_as(tmp_path / "other.dcm")
    assert repeat.main([str(changed(traces, tmp_path, image=str(tmp_path / "other.dcm")))]) == 1
    assert "pixels" in capsys.readouterr().err


def test_other_weights_are_refused(traces: Path, bundle_root: Path, predictor: CaptionPredictor) -> None:
    record = json.loads(traces.read_text().splitlines()[0])
    record["weights"]["model.pt"] = "0" * 64
    with pytest.raises(WeightsError, match="model.pt are not those of the trace"):
        repeat.predictor_of(record, bundle_root, {"network": predictor.network})


def test_what_is_no_trace_is_refused(tmp_path: Path, traces: Path) -> None:
    path = tmp_path / "captions.jsonl"
    path.write_text('{"caption": "x"}\n')
    with pytest.raises(InputError, match="line 1 has no trace"):
        repeat.main([str(path)])
    with pytest.raises(InputError, match="2 lines"):
        repeat.main([str(traces), "--line", "7"])


def test_the_trace_is_complete_and_names_nobody(traces: Path, predictor: CaptionPredictor) -> None:
    record = json.loads(traces.read_text().splitlines()[0])
    trace = record["trace"]
    assert trace["settings"]["window"] == "lung" and trace["generation"]["num_beams"] == 1
    assert trace["settings"]["seed"] == 0 and trace["settings"]["amp_dtype"] == resolved("auto", "cpu")
    assert trace["versions"]["torch"] == torch.__version__
    assert len(trace["pixels"]) == 64 and len(trace["network"]) == 64 and trace["batch"] == {"row": 0, "of": 1}
    assert all(len(value) == 64 for value in record["weights"].values())
    assert "CompressedSamples" not in json.dumps(record)  # the PatientName of pydicom's sample CT
    assert 0 <= record["agreement"] <= 1


def test_steps_are_timed_and_sum_to_the_whole(predictor: CaptionPredictor, traces: Path) -> None:
    import time

    start = time.perf_counter()
    caption = predictor.caption(traces.parent / "images" / "ct_head.dcm", num_beams=1, max_new_tokens=6)
    whole = time.perf_counter() - start
    encoders = ("encode general", "encode detail", "encode reader")
    steps = ("read", *encoders, "qformer", "prefill", "decode", "sample")
    assert set(caption.seconds) == set(steps)
    assert 0.7 * whole < sum(caption.seconds.values()) <= whole * 1.01
    assert "".join(caption.tokens).strip() == caption.text
