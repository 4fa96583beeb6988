"""Two files in, one table out: matching by path, baselines beside the predictions, sentences for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.errors import InputError
from scripts.metrics.evaluate_files import Options, evaluate, main
from scripts.metrics.pairs import Item, match, read_items
from scripts.metrics.report.__main__ import main as report
from scripts.metrics.scores import Extras
from scripts.metrics.tables import as_markdown

QUICK = Extras(meteor=False)
CAPTIONS = [
    "Axial CT of the head showing abscess.",
    "Axial CT of the head showing abscess.",
    "Coronal MRI of the spine showing cyst.",
    "PA X-ray of the chest. No pneumothorax.",
]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A datalist with pictures of four grey levels, and predictions in another order under absolute paths."""
    (tmp_path / "images").mkdir()
    items = []
    for i, caption in enumerate(CAPTIONS):
        name = f"images/case{i}.png"
        noise = np.random.default_rng(i).integers(0, 255, size=(40, 60), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / name)
        items.append({"image": name, "caption": caption, "modality": "CT"})
    datalist = tmp_path / "datalist.json"
    datalist.write_text(json.dumps({"training": items[:3], "validation": items}))
    predictions = tmp_path / "captions.jsonl"
    lines = [{"image": str(tmp_path / item["image"]), "caption": item["caption"]} for item in items]
    lines[2]["caption"] = "Sagittal MRI of the spine showing cyst."
    predictions.write_text("\n".join(json.dumps(line) for line in reversed(lines)))
    return {"datalist": datalist, "predictions": predictions, "folder": tmp_path}


def _score(result: dict, system: str, name: str) -> float:
    return next(row["value"] for row in result["systems"][system] if row["name"] == name)


def test_scores_in_the_order_of_the_references(files: dict[str, Path]) -> None:
    result = evaluate(files["predictions"], files["datalist"], Options(extras=QUICK, resamples=50))
    assert _score(result, "predictions", "plane") == 0.75
    assert _score(result, "predictions", "modality") == 1.0
    assert _score(result, "predictions", "verbatim in training") == 0.5
    assert _score(result, "predictions", "distinct captions") == 0.75
    assert "METEOR" in result["skipped"] and result["protocol"] == "coco"
    assert result["by_modality"] == [], "four images are too few for a row"


def test_intervals_are_over_the_groups_of_the_datalist(files: dict[str, Path]) -> None:
    """Two groups of two: no draw can part them, and the table and the record say what was drawn."""
    content = json.loads(files["datalist"].read_text())
    plain = evaluate(files["predictions"], files["datalist"], Options(extras=QUICK, resamples=50))
    assert plain["bootstrap"]["unit"] == "image" and plain["bootstrap"]["units"] == 4
    assert "over images, as if independent (the references name no groups)" in as_markdown(plain)
    for item, group in zip(content["validation"], "abab", strict=True):
        item["group"] = group
    files["datalist"].write_text(json.dumps(content))
    grouped = evaluate(files["predictions"], files["datalist"], Options(extras=QUICK, resamples=50, baselines=True))
    assert grouped["bootstrap"]["unit"] == "group" and grouped["bootstrap"]["units"] == 2
    assert "over 2 groups of images, 50 draws" in as_markdown(grouped)
    plane = next(row for row in grouped["systems"]["predictions"] if row["name"] == "plane")
    assert (plane["value"], plane["low"], plane["high"]) == (0.75, 0.5, 1.0)  # a: .5, b: 1; images alone reach .25
    against = next(row for row in grouped["comparisons"] if row["name"] == "plane")
    assert (against["low"], against["high"]) == (0.0, 0.5)


def test_command_prints_and_writes(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    out = files["folder"] / "out.json"
    table = files["folder"] / "out.md"
    arguments = ["--predictions", str(files["predictions"]), "--references", str(files["datalist"]), "--no-meteor"]
    assert main([*arguments, "--resamples", "20", "--json", str(out), "--markdown", str(table)]) == 0
    printed = capsys.readouterr().out
    assert "plane" in printed and "0.750 [" in printed and "skipped METEOR" in printed
    assert json.loads(out.read_text())["images"] == 4
    assert "| plane | 0.750 [" in table.read_text()


def test_command_names_what_is_wrong(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--predictions", str(files["folder"] / "none.jsonl"), "--references", str(files["datalist"])]) == 2
    assert "no such file" in capsys.readouterr().err


def test_images_match_by_path_ending_and_only_where_it_is_clear() -> None:
    references = [Item("a/1.png", ("one",)), Item("b/1.png", ("two",))]
    predictions = [Item("/data/b/1.png", ("B",)), Item("/data/a/1.png", ("A",))]
    assert match(predictions, references).predictions == ["A", "B"]
    with pytest.raises(InputError, match="2 of 2 references have no prediction"):
        match([Item("x/1.png", ("X",)), Item("y/1.png", ("Y",))], references)
    with pytest.raises(InputError, match="occurs more than once"):
        match([predictions[0], predictions[0]], references)


def test_missing_predictions_are_refused_or_counted() -> None:
    references = [Item("1.png", ("one",)), Item("2.png", ("two",))]
    with pytest.raises(InputError, match="1 of 2 references have no prediction, first '2.png'"):
        match([Item("1.png", ("A",))], references)
    pairs = match([Item("1.png", ("",))], references, allow_missing=True)
    assert (pairs.images, pairs.missing, pairs.failed) == (["1.png"], 1, 1)


def test_reads_imageclef_files_and_refuses_others(tmp_path: Path) -> None:
    table = tmp_path / "run.csv"
    table.write_text('ID,Caption\nimg1,"A mass, left."\nimg2,Cyst\n')
    assert [item.captions for item in read_items(table)] == [("A mass, left.",), ("Cyst",)]
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"image": "a", "caption": "b"}\n{oops\n')
    with pytest.raises(InputError, match="line 2: is not JSON"):
        read_items(broken)
    split = tmp_path / "list.json"
    split.write_text('{"training": []}')
    with pytest.raises(InputError, match="no split 'test'"):
        read_items(split, "test")


def test_other_systems_stand_in_the_same_table(files: dict[str, Path]) -> None:
    """A copy of the predictions differs from them by nothing; one of fixed words is another system."""
    lines = [json.loads(line) for line in files["predictions"].read_text().splitlines()]
    fixed = files["predictions"].with_name("fixed.jsonl")
    fixed.write_text("".join(json.dumps({"image": line["image"], "caption": "Nothing."}) + "\n" for line in lines))
    options = Options(extras=QUICK, resamples=10, also={"same": files["predictions"], "fixed": fixed})
    result = evaluate(files["predictions"], files["datalist"], options)
    assert list(result["systems"]) == ["predictions", "same", "fixed"]
    differences = {(row["against"], row["name"]): row["difference"] for row in result["comparisons"]}
    assert differences["same", "BLEU-4"] == 0 and differences["fixed", "BLEU-4"] > 0


def test_replaced_images_are_compared(files: dict[str, Path]) -> None:
    blank = files["folder"] / "blank.jsonl"
    names = [f"images/case{i}.png" for i in range(4)]
    blank.write_text("\n".join(json.dumps({"image": name, "caption": CAPTIONS[0]}) for name in names))
    options = Options(extras=QUICK, resamples=10, replaced={"blank": blank})
    result = evaluate(files["predictions"], files["datalist"], options)
    assert _score(result, "predictions", "changed by blank") == 0.5


def test_report_is_one_page_and_can_leave_out_pictures_and_captions(files: dict[str, Path]) -> None:
    folder = files["folder"]
    evaluation = folder / "evaluation.json"
    main(["--predictions", str(files["predictions"]), "--references", str(files["datalist"]), "--no-meteor",
          "--resamples", "20", "--json", str(evaluation)])  # fmt: skip
    curves = folder / "curves.json"
    curves.write_text(json.dumps({"loss/training": [2.0, 1.0], "loss/validation": [[1, 2.1], [2, 1.5]]}))
    common = ["--evaluation", str(evaluation), "--captions", str(files["predictions"]), "--datalist",
              str(files["datalist"]), "--curves", str(curves)]  # fmt: skip
    assert report([*common, "--html", str(folder / "full.html")]) == 0
    full = (folder / "full.html").read_text()
    assert full.count("data:image/jpeg;base64,") >= 4 and "Sagittal MRI of the spine" in full
    assert "http://" not in full.replace("http://www.w3.org/2000/svg", "") and "https://" not in full
    assert "<script" not in full and "polyline" in full
    target = folder / "bare.html"
    assert report([*common, "--no-images", "--html", str(target), "--markdown", str(folder / "bare.md")]) == 0
    for text in (target.read_text(), (folder / "bare.md").read_text()):
        assert "data:image" not in text and "Sagittal MRI of the spine" not in text and "case0" not in text
        assert "All scores" in text and "How it fails" in text


def test_nearest_neighbour_baseline_on_its_own_training_images(files: dict[str, Path]) -> None:
    from scripts.errors import WeightsError

    options = Options(extras=QUICK, resamples=10, baselines=True, cache_dir=files["folder"] / "cache")
    try:
        from scripts.encoders.efficientnet import EfficientNetEncoder

        EfficientNetEncoder(weights="starter")
    except WeightsError as error:
        pytest.skip(f"the starter's EfficientNet weights are not on this machine ({error})")
    result = evaluate(files["predictions"], files["datalist"], options)
    assert _score(result, "commonest caption", "plane") == 0.5
    assert _score(result, "1-nearest neighbour", "organ") >= 0.75, "three of four images are training images"
    against = {row["against"] for row in result["comparisons"]}
    assert against == {"commonest caption", "1-nearest neighbour"}
    assert len(list((files["folder"] / "cache").glob("*.npy"))) == 2
