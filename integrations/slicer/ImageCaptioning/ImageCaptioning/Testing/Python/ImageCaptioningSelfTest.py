"""Runs in Slicer, as CTest starts it: the made samples are captioned, mapped, kept, and found again after a reload."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from ImageCaptioningLib import scene
from ImageCaptioningLib.images import samples
from ImageCaptioningLib.images.slices import middle_view, own_grid, slice_picture
from ImageCaptioningLib.jobs import Progress
from ImageCaptioningLib.logic import CHOSEN, CaptionLogic
from ImageCaptioningLib.rounds import Round, volumes_of


class Explains:
    """A captioner without a network: it explains one word by the upper left quarter of what it is shown."""

    reports, name = False, "self test"
    sizes: dict[str, tuple[int, int]] = {}

    def check(self) -> str:
        return "0"

    def caption(self, file: Path, **options: Any) -> dict[str, Any]:
        height, width = self.sizes["shown"]
        grid = np.zeros((1, 2, 2))
        grid[0, 0, 0] = 1
        return {
            "caption": "word", "confidence": 0.5, "model_version": "0", "weights": {},
            "resize": {"from": [height, width], "to": [64, 64], "offset": [0, 0], "size": 64},
            "explanation": {"words": ["word"], "maps": {"detail": grid.tolist()}, "share": {"detail": [1.0]}},
        }  # fmt: skip

    def cancel(self) -> None: ...

    def close(self) -> None: ...


class ImageCaptioningSelfTest(unittest.TestCase):
    def setUp(self) -> None:
        slicer.mrmlScene.Clear()
        self.captioner = Explains()
        self.logic = CaptionLogic(slicer.mrmlScene, self.captioner)

    def tearDown(self) -> None:
        self.logic.close()

    def caption(self, volume: Any, view: Any, **options: Any) -> Any:
        self.captioner.sizes["shown"] = slice_picture(volume, view).pixels.shape[:2]
        return self.logic.caption(volume, view, **options)

    def test_every_sample_is_captioned_and_its_map_lies_in_place(self) -> None:
        for name, load in samples.SAMPLES.items():
            with self.subTest(name):
                for volume in load(slicer.mrmlScene):
                    view = middle_view(volume)
                    draft = self.caption(volume, view, explain="gradient")
                    heat = self.logic.show(draft, 0)
                    values = slicer.util.arrayFromVolume(heat)[0]
                    self.assertEqual(values.shape, draft.picture.pixels.shape[:2])
                    self.assertGreater(values[0, 0], values[-1, -1])
                    np.testing.assert_allclose(own_grid(heat)[:, 3], draft.picture.to_ras[:, 3], atol=1e-3)

    def test_the_captioners_window_is_asked_with_values(self) -> None:
        [volume] = samples.load_ct(slicer.mrmlScene)
        draft = self.caption(volume, middle_view(volume), window=CHOSEN)
        self.assertIsNotNone(draft.picture.values)

    def test_a_round_over_all_volumes(self) -> None:
        samples.load_pet_ct(slicer.mrmlScene)
        self.captioner.sizes["shown"] = (128, 128)
        done = Round(self.logic, volumes_of(slicer.mrmlScene)).run(Progress())
        self.assertEqual((len(done.drafts), done.failures), (2, {}))

    def test_captions_survive_saving_the_scene(self) -> None:
        [volume] = samples.load_ct(slicer.mrmlScene)
        draft = self.caption(volume, middle_view(volume))
        self.logic.save(draft, "kept")
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "scene.mrb")
            self.assertTrue(slicer.util.saveScene(path))
            slicer.mrmlScene.Clear()
            slicer.util.loadScene(path)
        texts = slicer.util.getNodesByClass("vtkMRMLTextNode")
        kept = [text for text in texts if scene.volume_of(text) is not None]
        self.assertEqual([text.GetText() for text in kept], ["kept"])
