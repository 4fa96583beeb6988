"""A made scene from end to end: CT, PET/CT, films of one folder, a sequence, an oblique cut; maps in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed (make test installs it)")

import vtk  # noqa: E402
from ImageCaptioningLib import overlay, scene  # noqa: E402
from ImageCaptioningLib.errors import CaptioningError  # noqa: E402
from ImageCaptioningLib.images import samples  # noqa: E402
from ImageCaptioningLib.images.pixels import write_metaimage  # noqa: E402
from ImageCaptioningLib.images.segments import on_pixels  # noqa: E402
from ImageCaptioningLib.images.sequences import frame_of, show_frame  # noqa: E402
from ImageCaptioningLib.images.slices import ijk_to_ras, matrix, middle_view, slice_picture  # noqa: E402
from ImageCaptioningLib.logic import CHOSEN, SHOWN, CaptionLogic  # noqa: E402
from PIL import Image  # noqa: E402
from scenes import Scene, voxel_to_ras  # noqa: E402
from study_files import body, write_series  # noqa: E402

from scripts.reading import read_case  # noqa: E402

SINGLE_FILE = 4
"""vtkSlicerVolumesLogic's loading option, which ``loadVolume(..., {"singleFile": True})`` sets."""
MARK = 4000


class PointsAtTheBrightest:
    """A captioner whose one word rests on the brightest pixel of the file, read as the bundle reads it."""

    reports, name = False, "points"

    def check(self) -> str:
        return "1"

    def caption(self, file: Path, **options: Any) -> dict[str, Any]:
        pixels = np.asarray(Image.open(file)) if file.suffix == ".png" else read_case(file).pixels[0, 0]
        pixels = pixels.mean(-1) if pixels.ndim == 3 else pixels
        height, width = pixels.shape
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        grid = np.zeros((side, side))
        bright = np.argwhere(pixels == pixels.max()).mean(0)  # the middle of the mark
        grid[tuple(np.rint(bright).astype(int) + (top, left))] = 1
        return {
            "caption": "a mark", "confidence": 0.5, "model_version": "1", "weights": {}, "window": "auto",
            "resize": {"from": [height, width], "to": [height, width], "offset": [top, left], "size": side},
            "explanation": {"words": ["mark"], "maps": {"detail": [grid.tolist()]}, "share": {"detail": [1.0]}},
        }  # fmt: skip

    def cancel(self) -> None: ...

    def close(self) -> None: ...


def _mark(volume: Any, voxel: tuple[int, int, int]) -> np.ndarray:
    """Make a voxel the brightest, and its neighbours nearly; where it is, in RAS."""
    i, j, k = voxel
    values = slicer.util.arrayFromVolume(volume)
    np.minimum(values, 200, out=values)
    values[k, j, i] = MARK if values.dtype.itemsize > 1 else 255
    volume.Modified()
    return ijk_to_ras(volume) @ [i, j, k, 1]


def _brightest(node: Any) -> np.ndarray:
    """RAS of an overlay's largest value."""
    values = slicer.util.arrayFromVolume(node)
    k, j, i = np.unravel_index(values.argmax(), values.shape)
    return ijk_to_ras(node) @ [i, j, k, 1]


def _half_a_voxel(volume: Any) -> float:
    return float(np.linalg.norm(ijk_to_ras(volume)[:3, :3], axis=0).max() / 2)


def _series(place: Scene, folder: Path) -> tuple[Any, tuple[int, int, int]]:
    return place.load(write_series(folder / "series", body())), (30, 40, 6)


def _sample(load: Any, voxel: tuple[int, int, int], which: int = 0) -> Any:
    return lambda place, folder: (load(place.mrml)[which], voxel)


def _film(place: Scene, folder: Path) -> tuple[Any, tuple[int, int, int]]:
    """The second of three numbered films of one folder, as the module loads it: alone."""
    for number in range(3):
        place_ = np.eye(4)
        write_metaimage(np.full((40, 60), 100 * number + 50, np.int16), place_, folder / f"film_{number:03d}.mha")
    film = place.volumes.AddArchetypeVolume(str(folder / "film_001.mha"), "film", SINGLE_FILE)
    assert film.GetImageData().GetDimensions() == (60, 40, 1) and slicer.util.arrayFromVolume(film).max() == 150
    return film, (44, 9, 0)


WHAT = {
    "CT series": _series,
    "made CT": _sample(samples.load_ct, (92, 54, 24)),
    "PET of a pair": _sample(samples.load_pet_ct, (30, 60, 12), which=1),
    "film of a folder": _film,
    "colour film": _sample(samples.load_film, (20, 30, 0)),
    "sequence": _sample(samples.load_sequence, (40, 20, 3)),
}


@pytest.fixture
def place() -> Scene:
    return Scene()


@pytest.mark.parametrize("window", [SHOWN, CHOSEN])
@pytest.mark.parametrize("orientation", ["Axial", "Coronal", "Sagittal", "oblique"])
@pytest.mark.parametrize("what", WHAT)
def test_the_map_lies_where_the_mark_is(place: Scene, tmp_path: Path, what: str, orientation: str, window: str) -> None:
    """To half a voxel of the coarsest side, through letterbox, window, mirrored and turned views."""
    volume, voxel = WHAT[what](place, tmp_path)
    at = _mark(volume, voxel)[:3]
    display = volume.GetDisplayNode()
    if hasattr(display, "SetWindowLevelMinMax"):
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(0, MARK)
    view = place.look("Axial" if orientation == "oblique" else orientation, tuple(at))
    if orientation == "oblique":
        cut = np.eye(4)
        cut[:3, :3] = [[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]]  # mirrored against a radiologist's view, too
        cut[:3, 3] = at
        view.GetSliceToRAS().DeepCopy(cut.ravel().tolist())
        view.UpdateMatrices()
    logic = CaptionLogic(place.mrml, PointsAtTheBrightest())
    if volume.GetImageData().GetDimensions()[2] == 1 and orientation != "Axial":
        with pytest.raises(CaptioningError, match="turn it with 'Rotate to volume plane'"):  # it shows a line only
            logic.caption(volume, view, window=window, explain="gradient")
        return
    draft = logic.caption(volume, view, window=window, explain="gradient")
    assert np.linalg.norm(_brightest(logic.show(draft, 0))[:3] - at) <= _half_a_voxel(volume) + 1e-6
    assert np.linalg.norm(_brightest(logic.show_region(draft, 0))[:3] - at) <= _half_a_voxel(volume) + 1e-6
    assert (draft.picture.values is None) == (window == SHOWN or what == "colour film")
    logic.close()


def test_a_picture_that_lies_askew_is_captioned_in_its_own_plane(place: Scene) -> None:
    """As a localizer does: the view that is turned to it shows all of it, and none of the straight ones do."""
    [film] = samples.load_film(place.mrml)
    turn = vtk.vtkTransform()
    turn.RotateX(30)  # about an axis of its own, so that it keeps its size
    grid = vtk.vtkMatrix4x4()
    film.GetIJKToRASMatrix(grid)
    vtk.vtkMatrix4x4.Multiply4x4(turn.GetMatrix(), grid, grid)
    film.SetIJKToRASMatrix(grid)
    own = middle_view(film)
    assert slice_picture(film, own).pixels.shape[:2] == (128, 128)
    centre = matrix(own.GetSliceToRAS())[:3, 3]
    for orientation in ("Axial", "Coronal", "Sagittal"):
        with pytest.raises(CaptioningError, match="Rotate to volume plane"):
            slice_picture(film, place.look(orientation, tuple(centre)))


def test_what_the_captioner_reads_is_the_picture_whatever_way_the_view_is_turned(place: Scene, tmp_path: Path) -> None:
    """All 8 ways to turn and mirror a view: the reader's pixels are the turned picture's, bit for bit."""
    from ImageCaptioningLib.images.turning import turned

    volume, voxel = _series(place, tmp_path)
    at = voxel_to_ras(volume, voxel)
    for orientation in ("Axial", "Coronal", "Sagittal"):
        straight = matrix(place.look(orientation, at).GetSliceToRAS())
        for swap in (False, True):
            for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
                cut = straight.copy()
                cut[:3, :2] = straight[:3, [1, 0]] * signs if swap else straight[:3, :2] * signs
                place.view.GetSliceToRAS().DeepCopy(cut.ravel().tolist())
                place.view.UpdateMatrices()
                picture = turned(slice_picture(volume, place.view))
                read = read_case(write_metaimage(picture.values, picture.to_own, tmp_path / "slice.mha"))
                np.testing.assert_array_equal(read.pixels[0, 0], picture.values)
                assert read.meta["orientation"]["plane"] == orientation.lower()


def test_the_scene_is_saved_and_found_again_as_it_was(place: Scene, tmp_path: Path) -> None:
    """Captions, their slices and frames, their map and mask: after a reload in another scene."""
    series, _voxel = _series(place, tmp_path)
    [heart] = samples.load_sequence(place.mrml)
    logic = CaptionLogic(place.mrml, PointsAtTheBrightest())
    draft = logic.caption(series, place.look("Coronal", voxel_to_ras(series, (40, 30, 4))), explain="gradient")
    logic.save(draft, "coronal, corrected")
    at = _brightest(logic.show(draft, 0))
    for number, text in ((2, "third frame"), (5, "sixth frame")):
        show_frame(heart, number)
        logic.save(logic.caption(heart, middle_view(heart)), text)
    assert len(scene.captions_of(place.mrml, heart)) == 2  # a frame's caption does not replace another's
    show_frame(heart, 2)
    logic.save(logic.caption(heart, middle_view(heart)), "third frame, again")
    assert len(scene.captions_of(place.mrml, heart)) == 2

    for volume in (series, heart, series.GetNodeReference(scene.PREFIX + "overlay")):
        storage = volume.CreateDefaultStorageNode()
        place.mrml.AddNode(storage)
        storage.SetFileName(str(tmp_path / f"{volume.GetID()}.nrrd"))
        volume.SetAndObserveStorageNodeID(storage.GetID())
        assert storage.WriteData(volume)
    place.mrml.SetRootDirectory(str(tmp_path))
    place.mrml.SetURL(str(tmp_path / "scene.mrml"))
    assert place.mrml.Commit()
    again = Scene()
    again.mrml.SetURL(str(tmp_path / "scene.mrml"))
    again.mrml.Import()
    texts = {node.GetText(): node for node in scene._texts(again.mrml)}
    assert set(texts) == {"coronal, corrected", "third frame, again", "sixth frame"}
    node = texts["coronal, corrected"]
    scene.look_at(node, again.view)
    np.testing.assert_allclose(matrix(again.view.GetSliceToRAS()), draft.picture.cut, atol=1e-9)
    found = slice_picture(scene.volume_of(node), again.view)
    np.testing.assert_array_equal(found.pixels.shape, draft.picture.pixels.shape)
    assert (found.plane, found.index) == ("coronal", 30)
    heat = scene.volume_of(node).GetNodeReference(scene.PREFIX + "overlay")
    np.testing.assert_allclose(_brightest(heat), at, atol=1e-3)
    assert scene.told(texts["sixth frame"], "Frame") == "5"
    logic.close()


def test_a_sequence_says_which_frame_it_shows(place: Scene) -> None:
    [heart] = samples.load_sequence(place.mrml)
    assert frame_of(heart).count == 8 and frame_of(heart).value == "0 ms"
    shown = []
    for number in range(8):
        show_frame(heart, number)
        assert (frame_of(heart).number, frame_of(heart).value) == (number, f"{100 * number} ms")
        shown.append(slice_picture(heart, middle_view(heart)))
    assert [picture.frame for picture in shown] == list(range(8))
    assert len({picture.pixels.tobytes() for picture in shown}) == 5  # the ring opens as it closes
    show_frame(heart, 99)  # no such frame
    assert frame_of(heart).number == 7
    [ct] = samples.load_ct(place.mrml)
    assert frame_of(ct) is None


def _segmentation(place: Scene, volume: Any, mask: np.ndarray) -> tuple[Any, str]:
    """A segmentation of one segment, in the volume's grid, of ``[Z, Y, X]``."""
    labels = slicer.vtkOrientedImageData()
    labels.DeepCopy(volume.GetImageData())
    grid = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(grid)
    labels.SetGeometryFromImageToWorldMatrix(grid)
    scalars = vtk.util.numpy_support.numpy_to_vtk(mask.astype(np.uint8).ravel(), deep=True)
    labels.GetPointData().SetScalars(scalars)
    node = place.mrml.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    segment = slicer.vtkSegment()
    segment.SetName("liver")
    segment.AddRepresentation("Binary labelmap", labels)
    assert node.GetSegmentation().AddSegment(segment, "liver_id")
    return node, "liver_id"


def test_a_segment_restricts_the_picture_to_itself(place: Scene, tmp_path: Path) -> None:
    volume, _voxel = _series(place, tmp_path)
    mask = np.zeros(body().shape, bool)
    mask[4:9, 30:50, 20:45] = True
    chosen = _segmentation(place, volume, mask)
    view = place.look("Axial", voxel_to_ras(volume, (40, 48, 6)))
    whole = slice_picture(volume, view)
    np.testing.assert_array_equal(on_pixels(whole, *chosen), mask[6])
    logic = CaptionLogic(place.mrml, PointsAtTheBrightest())
    draft = logic.caption(volume, view, segment=chosen, window=CHOSEN)
    np.testing.assert_array_equal(draft.picture.values, np.where(mask[6], body()[6], body()[6].min()))
    np.testing.assert_array_equal(draft.picture.pixels, np.where(mask[6], whole.pixels, whole.pixels.min()))
    assert scene.told(logic.save(draft, "inside"), "Inside") == "liver"
    other = logic.save(logic.caption(volume, view), "all of it")
    assert len(scene.captions_of(place.mrml, volume)) == 2 and scene.told(other, "Inside") == ""
    across = place.look("Sagittal", voxel_to_ras(volume, (30, 48, 6)))
    inside = on_pixels(slice_picture(volume, across), *chosen)
    assert inside.sum() == 20 * 25  # 20 rows to the back, five slices of five square pixels
    with pytest.raises(CaptioningError, match="liver does not meet this slice"):
        logic.caption(volume, place.look("Axial", voxel_to_ras(volume, (40, 48, 1))), segment=chosen)
    chosen[0].GetSegmentation().RemoveSegment("liver_id")
    with pytest.raises(CaptioningError, match="segment is gone"):
        logic.caption(volume, view, segment=chosen)
    logic.close()


def test_a_map_region_is_the_part_around_its_peak() -> None:
    heat = np.zeros((8, 9))
    heat[2, 3], heat[2, 4], heat[3, 3], heat[6, 7] = 1, 0.6, 0.4, 0.9
    region = overlay.region(heat)
    assert sorted(map(tuple, np.argwhere(region))) == [(2, 3), (2, 4)]  # not the other hill, not the foot
    heat[0, 3] = heat[7, 3] = 0.9  # an edge is no neighbour of the opposite one
    assert overlay.region(heat).sum() == 2
    assert not overlay.region(np.zeros((3, 3))).any()


def test_a_picture_with_two_values_a_pixel_is_refused(place: Scene) -> None:
    [film] = samples.load_film(place.mrml)
    image = vtk.vtkImageData()
    image.SetDimensions(8, 8, 1)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 2)
    film.SetAndObserveImageData(image)
    with pytest.raises(CaptioningError, match="2 values a pixel"):
        slice_picture(film, middle_view(film))


def test_the_self_test_of_the_extension_runs_as_far_as_it_needs_no_desktop(
    place: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What CTest starts in Slicer, but for saving the scene, which asks ``slicer.app``."""
    import importlib.util
    import unittest

    from ImageCaptioningLib import logic

    folder = Path(logic.__file__).parents[1] / "Testing" / "Python"
    spec = importlib.util.spec_from_file_location("self_test", folder / "ImageCaptioningSelfTest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(slicer, "mrmlScene", place.mrml, raising=False)
    case = module.ImageCaptioningSelfTest
    names = [name for name in unittest.defaultTestLoader.getTestCaseNames(case) if "saving" not in name]
    result = unittest.TestResult()
    unittest.TestSuite(case(name) for name in names).run(result)
    assert len(names) == 3 and not result.errors and not result.failures, result
