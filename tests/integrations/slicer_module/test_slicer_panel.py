"""The panel as its user has it: loaded from its ``.ui`` files, shown off screen, every button pressed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed (make test installs it)")
pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed (make test installs it)")

from desktop import Desktop, desktop  # noqa: E402
from ImageCaptioningLib import scene  # noqa: E402
from ImageCaptioningLib.captioners import choices  # noqa: E402
from ImageCaptioningLib.errors import CaptioningError  # noqa: E402
from ImageCaptioningLib.sources import IMAGE_ID, INSTANCES  # noqa: E402
from PIL import Image  # noqa: E402
from pythonqt import FILE_DIALOG  # noqa: E402
from scenes import Scene, voxel_to_ras  # noqa: E402
from study_files import body, write_series  # noqa: E402
from test_slicer_logic import DoubtfulBackend, FixedBackend  # noqa: E402


class SlowBackend(FixedBackend):
    """Answers when it is let; ends without an answer when it is cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.cancelled = threading.Event(), False

    def caption(self, file: Path, **options: object) -> dict:
        assert self.go.wait(30)
        if self.cancelled:
            raise CaptioningError("the captioning process ended: it said nothing")
        return super().caption(file, **options)

    def cancel(self) -> None:
        self.cancelled = True
        self.go.set()


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desktop]:
    """The panel on a CT series whose slice 6 is on screen; captions come from ``shown.backend``."""
    place = Scene()
    volume = place.load(write_series(tmp_path / "series", body()))
    place.look("Axial", voxel_to_ras(volume, (40, 48, 6)))
    with desktop(place, tmp_path, monkeypatch) as made:
        made.backend, made.volume = FixedBackend(), volume
        monkeypatch.setattr(choices.Choice, "backend", lambda self, installation: made.backend)
        yield made


def _captioned(shown: Desktop) -> object:
    """Caption the slice on screen; the widgets of the caption."""
    shown.press(shown.panel.ui.captionButton)
    return shown.panel.caption_ui


def test_every_widget_of_the_panel_is_there_and_explains_itself(shown: Desktop) -> None:
    widgets = {**vars(shown.panel.ui), **vars(shown.panel.caption_ui), **vars(shown.panel.captioner.ui)}
    buttons = [widget for name, widget in widgets.items() if name.endswith("Button")]
    assert len(buttons) == 15 and all(button.toolTip for button in buttons)
    assert shown.panel.volume is shown.volume  # the first volume of the scene is chosen
    assert shown.panel.ui.sliceLabel.text == "axial slice 6" and shown.panel.ui.windowLabel.text == "40/400"
    shown.place.look("Coronal", voxel_to_ras(shown.volume, (40, 30, 4)))
    assert shown.panel.ui.sliceLabel.text == "coronal slice 30"  # the label follows the view


def test_caption_show_and_accept(shown: Desktop) -> None:
    caption_ui = _captioned(shown)
    assert caption_ui.captionEdit.toPlainText() == "a nodule"
    assert shown.backend.asked[0][1] == {"num_beams": 3, "explain": True, "window": "none"}
    assert caption_ui.aboutLabel.text == "axial 6 of series, window 40/400 as shown, model 1"
    words = shown.panel.caption.words.buttons
    assert [button.text for button in words] == ["whole caption", "a", "nodule"]
    words[2].click()
    composite = shown.place.mrml.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    heat = shown.place.mrml.GetNodeByID(composite.GetForegroundVolumeID())
    assert heat.GetClassName() == "vtkMRMLScalarVolumeNode" and composite.GetForegroundOpacity() == 0.5
    caption_ui.showAsComboBox.setCurrentIndex(1)
    mask = shown.place.mrml.GetNodeByID(composite.GetLabelVolumeID())
    assert mask.GetClassName() == "vtkMRMLLabelMapVolumeNode" and composite.GetForegroundVolumeID() is None
    assert 0 < slicer.util.arrayFromVolume(mask).mean() < 0.5
    words[2].click()
    assert composite.GetLabelVolumeID() is None
    caption_ui.captionEdit.setPlainText("a nodule, corrected")
    shown.press(caption_ui.acceptButton)
    assert scene.captions_of(shown.place.mrml, shown.volume)[0].GetText() == "a nodule, corrected"
    table = shown.panel.ui.historyTable
    assert [table.item(0, column).text() for column in range(3)] == ["axial 6", "a nodule, corrected", "corrected"]
    shown.press(caption_ui.copyButton)
    assert shown.app.copied == "a nodule, corrected"


def test_a_region_is_the_captioners_own_where_it_draws_one(shown: Desktop) -> None:
    plain, asked = shown.backend.caption, []
    lies = {"from": [96, 80], "to": [96, 80], "offset": [0, 8], "size": 96}
    shown.backend.caption = lambda file, **options: {**plain(file, **options), "id": "c1", "resize": lies}

    def region(caption: str, word: int) -> np.ndarray:
        asked.append((caption, word))
        square = np.zeros((96, 96), bool)
        square[10:20, 38:58] = word == 1
        return square

    shown.backend.region = region
    caption_ui = _captioned(shown)
    words = shown.panel.caption.words.buttons
    composite = shown.place.mrml.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    caption_ui.showAsComboBox.setCurrentIndex(1)
    words[2].click()
    assert shown.wait().startswith("Region: drawn by SAM's mask decoder") and asked == [("c1", 1)]
    mask = slicer.util.arrayFromVolume(shown.place.mrml.GetNodeByID(composite.GetLabelVolumeID()))[0]
    expected = np.zeros((96, 80), bool)
    expected[10:20, 30:50] = True
    np.testing.assert_array_equal(mask > 0, expected)
    words[1].click()  # the captioner outlines nothing: the map's own region, and that is said
    assert shown.wait().endswith("nothing was outlined in the image.") and asked[-1] == ("c1", 0)
    words[0].click()  # the whole caption has a map only
    assert shown.status.endswith("nothing was outlined in the image.") and len(asked) == 2
    words[2].click()
    words[2].click()  # released before the region came
    shown.wait()
    assert composite.GetLabelVolumeID() is None


def test_the_captioners_own_window_gets_the_values_and_is_named(shown: Desktop) -> None:
    shown.panel.ui.windowComboBox.setCurrentIndex(1)
    assert shown.panel.ui.windowLabel.text == ""
    reply, sizes = FixedBackend.caption, []

    def caption(file: Path, **options: object) -> dict:
        sizes.append(np.frombuffer(file.read_bytes()[-96 * 80 * 4 :], "<i4").reshape(96, 80))
        Image.new("L", (80, 96)).save(file.with_suffix(".png"))
        return {**reply(FixedBackend(), file.with_suffix(".png"), **options), "window": "-600/1500 (lung)"}

    shown.backend.caption = caption
    caption_ui = _captioned(shown)
    np.testing.assert_array_equal(sizes[0], body()[6])  # Hounsfield units, not grey values
    assert "window -600/1500 (lung) chosen by the captioner" in caption_ui.aboutLabel.text


def test_a_second_press_is_answered_and_loses_nothing(shown: Desktop) -> None:
    shown.backend = SlowBackend()
    shown.panel.ui.captionButton.click()
    assert shown.panel.tasks.busy and not shown.panel.ui.captionButton.isEnabled()
    assert not shown.panel.ui.progressBar.isHidden() and shown.panel.ui.cancelButton.isEnabled()
    shown.panel.tasks.attempt(shown.panel.on_caption)  # the shortcut does not ask the button
    assert shown.status.endswith("Wait for it, or cancel it first.")
    shown.backend.go.set()
    assert shown.wait() == "Read it, correct it, accept it."
    assert len(shown.backend.asked) == 1 and shown.panel.caption.text == "a nodule"
    assert shown.panel.ui.captionButton.isEnabled() and shown.panel.ui.progressBar.isHidden()


def test_cancel_ends_a_caption_and_keeps_the_text_being_edited(shown: Desktop) -> None:
    caption_ui = _captioned(shown)
    caption_ui.captionEdit.setPlainText("half written")
    shown.backend = SlowBackend()
    shown.panel._choice = None
    shown.panel.ui.captionButton.click()
    shown.panel.ui.cancelButton.click()
    assert shown.wait() == "Cancelled." and shown.backend.cancelled
    assert shown.panel.caption.text == "half written"


def test_an_edit_is_kept_when_the_next_caption_comes(shown: Desktop) -> None:
    caption_ui = _captioned(shown)
    caption_ui.captionEdit.setPlainText("half written")
    shown.place.look("Axial", voxel_to_ras(shown.volume, (40, 48, 9)))
    _captioned(shown)
    assert shown.panel.caption.text == "a nodule"
    [node] = scene.captions_of(shown.place.mrml, shown.volume)
    assert node.GetText() == "half written" and scene.told(node, "Status") == "draft"
    assert shown.panel.ui.historyTable.item(0, 2).text() == "draft, edited"
    shown.panel.ui.historyTable.cellDoubleClicked.emit(0, 0)  # and can be gone on with
    assert shown.panel.caption.text == "half written" and shown.panel.ui.sliceLabel.text == "axial slice 6"


def test_a_scene_that_closes_during_captioning(shown: Desktop) -> None:
    caption_ui = _captioned(shown)
    caption_ui.captionEdit.setPlainText("half written")
    shown.backend = SlowBackend()
    shown.panel._choice = None
    shown.panel.ui.captionButton.click()
    shown.place.mrml.Clear(0)
    assert "still here to copy" in shown.status
    shown.backend.go.set()
    assert shown.wait().startswith("The volume was closed while it was captioned")
    assert shown.panel.caption.text == "half written"
    assert not shown.panel.ui.captionButton.isEnabled()  # nothing to caption
    shown.press(caption_ui.acceptButton)
    assert shown.status.startswith("The volume was closed since it was captioned")
    shown.press(caption_ui.copyButton)
    assert shown.app.copied == "half written"


def test_what_nobody_expected_is_one_sentence_with_the_details_in_the_log(
    shown: Desktop, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(file: Path, **options: object) -> dict:
        raise ZeroDivisionError("division by zero")

    shown.backend.caption = broken
    shown.press(shown.panel.ui.captionButton)
    assert shown.status == "Something unexpected failed (ZeroDivisionError); the log has the details."
    assert "division by zero" in caplog.text
    shown.backend.caption = lambda file, **options: {"answer": 42}
    shown.press(shown.panel.ui.captionButton)
    assert "has no caption" in shown.status


def test_doubts_and_findings_are_shown_where_the_reply_has_them(shown: Desktop) -> None:
    caption_ui = _captioned(shown)
    assert (
        caption_ui.doubtFrame.isHidden() and caption_ui.findingsFrame.isHidden() and caption_ui.withheldLabel.isHidden()
    )
    more = {
        "calibrated_confidence": 0.88, "finding_confidence": 0.12, "withheld": "no organ is likely", "new_key": [1],
        "findings": [{"finding": "effusion", "probability": 0.1, "stated": False},
                     {"finding": "nodule", "probability": 0.3, "stated": True}],
    }  # fmt: skip
    plain = shown.backend.caption
    shown.backend.caption = lambda file, **options: {**plain(file, **options), **more}
    _captioned(shown)
    assert (caption_ui.kindLabel.text, caption_ui.kindBar.value) == ("88 % likely right", 88)
    assert (caption_ui.findingLabel.text, caption_ui.findingBar.value) == ("12 % likely right", 12)
    assert caption_ui.withheldLabel.text.endswith("no organ is likely")
    buttons = shown.panel.caption.findings.buttons
    assert [button.text for button in buttons] == ["nodule  30 %", "effusion  10 %"]
    assert [button.font.bold() for button in buttons] == [True, False]
    del more["finding_confidence"], more["calibrated_confidence"]
    more |= {"confidence": 0.75, "token_confidence": 0.5, "findings": [{**more["findings"][0], "stated": False}]}
    more["similar"] = [{"text": "CT, chest: effusion", "distance": 0.123, "source": "case 7"}]
    _captioned(shown)
    assert (caption_ui.kindLabel.text, caption_ui.findingLabel.text) == ("75 % likely right", "not stated")
    assert caption_ui.findingBar.value == 0 and "CT, chest: effusion (0.12)" in caption_ui.doubtFrame.toolTip
    caption_ui.captionEdit.selectAll()
    shown.panel.caption.findings.buttons[0].click()
    assert shown.panel.caption.text == "effusion"


def test_a_withheld_caption_is_confirmed_before_it_leaves(shown: Desktop, tmp_path: Path) -> None:
    shown.backend = DoubtfulBackend()
    shown.panel.captioner.ui.modeComboBox.setCurrentIndex(1)
    caption_ui = _captioned(shown)
    assert "31 % likely right" in caption_ui.kindLabel.text and shown.status.startswith("Withheld")
    shown.answers.append(False)
    shown.press(caption_ui.sendButton)
    assert shown.backend.kept == [] and "Is it right as it stands?" in shown.asked[0]
    shown.press(caption_ui.sendButton)
    assert [kept["caption"] for kept in shown.backend.kept] == ["a nodule"]
    assert shown.status == "Sent; the server keeps it with 'sent'."
    FILE_DIALOG["getSaveFileName"] = str(tmp_path / "caption.txt")
    shown.panel.on_export("text")
    assert "a nodule" in (tmp_path / "caption.txt").read_text() and len(shown.asked) == 3


def test_files_of_a_folder_are_images_of_their_own(
    shown: Desktop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next image of a server: numbered pictures are loaded one by one, a series as one volume."""
    series = write_series(tmp_path / "fetched", body(3))
    film = tmp_path / "IM001.png"
    offers = [{"id": "p/ct", "path": "x"}, {"id": "IM001", "path": "y"}, {}]
    shown.backend.next_image = lambda: offers.pop(0)
    shown.backend.fetch = lambda offered, folder: series if offered["id"] == "p/ct" else film
    loaded = []

    def load(path: str, properties: dict) -> object:
        loaded.append((Path(path).name, properties))
        return shown.place.load(series)

    monkeypatch.setattr(slicer.util, "loadVolume", load)
    shown.panel.captioner.ui.modeComboBox.setCurrentIndex(1)
    shown.press(shown.panel.ui.nextButton)
    volume = shown.panel.volume
    assert volume.GetAttribute(IMAGE_ID) == "p/ct" and len(volume.GetAttribute(INSTANCES).split()) == 3
    shown.press(shown.panel.ui.nextButton)
    assert loaded == [("000.dcm", {"singleFile": False}), ("IM001.png", {"singleFile": True})]
    assert shown.press(shown.panel.ui.nextButton) == "Every image has a reviewed caption."


def test_all_loaded_volumes_get_a_draft_and_the_least_certain_comes_first(shown: Desktop, tmp_path: Path) -> None:
    other = shown.place.load(write_series(tmp_path / "other", body(9)))
    scene.show_mask(shown.place.mrml, other, _picture(shown, other), np.ones((96, 80)))  # no volume to caption
    plain, chances = shown.backend.caption, [0.9, 0.2]
    shown.backend.caption = lambda file, **o: {**plain(file, **o), "calibrated_confidence": chances.pop(0)}
    assert shown.press(shown.panel.ui.allButton) == "2 volumes have a draft now."
    [first], [second] = (scene.captions_of(shown.place.mrml, volume) for volume in (shown.volume, other))
    assert (scene.told(first, "Slice"), scene.told(second, "Slice")) == ("9", "4")  # their middle slices
    shown.press(shown.panel.ui.nextButton)
    assert shown.panel.volume is other and shown.panel.ui.sliceLabel.text == "axial slice 4"
    shown.press(shown.panel.caption_ui.acceptButton)
    shown.press(shown.panel.ui.nextButton)
    assert shown.panel.volume is shown.volume
    shown.press(shown.panel.caption_ui.acceptButton)
    assert shown.press(shown.panel.ui.nextButton).startswith("No draft waits")


def test_a_volume_that_fails_does_not_stop_the_others(shown: Desktop, tmp_path: Path) -> None:
    shown.place.load(write_series(tmp_path / "other", body(9)))
    plain, count = shown.backend.caption, iter(range(9))

    def caption(file: Path, **options: object) -> dict:
        if next(count) == 0:
            raise CaptioningError("the first one is broken")
        return plain(file, **options)

    shown.backend.caption = caption
    assert shown.press(shown.panel.ui.allButton) == "1 volumes have a draft now. series: the first one is broken"


def test_a_text_that_was_changed_is_kept_when_the_module_is_left(shown: Desktop) -> None:
    _captioned(shown).captionEdit.setPlainText("half written")
    shown.widget.exit()
    [node] = scene.captions_of(shown.place.mrml, shown.volume)
    assert (node.GetText(), scene.told(node, "Status")) == ("half written", "draft")
    shown.widget.enter()
    assert shown.panel.caption.text == "half written" and not shown.panel.caption.has_unkept_edit


@pytest.mark.parametrize(("language", "button", "says"), [
    ("de_DE", "Diese Schicht beschreiben", "In der Szene ist kein Volumen"),
    ("fr-FR", "Décrire cette coupe", "Il n'y a pas de volume dans la scène"),
])  # fmt: skip
def test_the_panel_speaks_the_users_language(
    language: str, button: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with desktop(Scene(), tmp_path, monkeypatch, language=language) as shown:
        assert shown.panel.ui.captionButton.text == button
        shown.press(shown.panel.ui.allButton)
        assert shown.status.startswith(says)


def test_removing_the_set_up_leaves_nothing_in_the_settings(shown: Desktop) -> None:
    box = shown.panel.captioner
    box.ui.sourceEdit.setText("/bundles/msmedcap.zip")
    box.ui.wheelsPath.currentPath = "/wheels"
    box.choice()
    box.installation.root.mkdir(parents=True)
    (box.installation.root / "packages").mkdir()
    box.refresh()
    assert shown.press(box.ui.removeButton) == "Removed."
    assert not box.installation.root.exists()
    told = "".join(str(value) for value in shown.app.values.values())
    assert "msmedcap.zip" not in told and "/wheels" not in told
    assert "ImageCaptioning/source" not in shown.app.values and box.ui.sourceEdit.text == ""


def test_the_panels_choices_are_saved_with_the_scene(shown: Desktop) -> None:
    shown.panel.ui.promptEdit.setText("Axial CT")
    shown.panel.ui.beamsSpinBox.setValue(5)
    shown.panel.ui.explainCheckBox.setChecked(False)
    shown.widget.exit()  # another module, and back
    shown.widget.enter()
    parameters = shown.panel.parameters
    assert (parameters.prompt, parameters.beams, parameters.explain) == ("Axial CT", 5, False)
    _captioned(shown)
    assert shown.backend.asked[0][1] == {"prompt": "Axial CT", "num_beams": 5, "window": "none"}
    shown.place.mrml.Clear(0)
    assert shown.panel.parameters.prompt == ""  # a new scene begins anew


def test_a_server_learns_and_says_how_far_it_is(shown: Desktop) -> None:
    shown.panel.captioner.ui.modeComboBox.setCurrentIndex(1)
    shown.press(shown.panel.ui.trainButton)
    assert "a MONAI Label server learns" in shown.status.replace("A MONAI", "a MONAI")
    seen = threading.Event()

    def train(progress: object) -> dict:
        progress.text, progress.fraction = "epoch 3/10", 0.3
        assert seen.wait(30)
        return {"version": "0002", "training": 12, "validation_loss": [1.5, 1.25]}

    shown.backend.train = train
    shown.panel.ui.trainButton.click()
    while shown.panel.ui.progressBar.value != 30:
        shown.panel.tasks.look()
    assert shown.status.startswith("epoch 3/10")
    seen.set()
    assert shown.wait() == "Version 0002 is active, trained on 12 captions."
    assert "1.500, 1.250" in shown.panel.ui.learningLabel.text


def _picture(shown: Desktop, volume: object) -> object:
    from ImageCaptioningLib.images.slices import middle_view, slice_picture

    return slice_picture(volume, middle_view(volume))
