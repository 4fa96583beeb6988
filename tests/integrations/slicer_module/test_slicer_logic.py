"""The Slicer module's logic on real MRML scenes: pictures are the slices, captions are kept, overlays lie right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed (make test installs it)")

from ImageCaptioningLib import overlay, scene  # noqa: E402
from ImageCaptioningLib.errors import CaptioningError  # noqa: E402
from ImageCaptioningLib.images.slices import slice_picture  # noqa: E402
from ImageCaptioningLib.logic import CaptionLogic  # noqa: E402
from ImageCaptioningLib.sources import picture_id, series_uid  # noqa: E402
from PIL import Image  # noqa: E402
from scenes import Scene, voxel_to_ras, windowed  # noqa: E402
from study_files import body, write_series  # noqa: E402

from scripts.errors import InputError  # noqa: E402
from scripts.reading import read_case  # noqa: E402
from scripts.reading.dicom.source_plane import images_in  # noqa: E402

VIEWS = [("Axial", "axial", (40, 48, 6)), ("Coronal", "coronal", (40, 30, 4)), ("Sagittal", "sagittal", (22, 48, 4))]


class FixedBackend:
    """Says one caption; keeps what it was asked."""

    reports, name = False, "fixed"

    def __init__(self) -> None:
        self.asked: list[tuple[Path, dict]] = []
        self.pixels: list[np.ndarray] = []

    def check(self) -> str:
        return "1"

    def caption(self, file: Path, **options: object) -> dict:
        self.asked.append((file, options))
        self.pixels.append(np.asarray(Image.open(file)) if file.suffix == ".png" else None)
        height, width = self.pixels[-1].shape[:2]
        grid = np.zeros((2, 4, 4))
        grid[:, 1, 1] = 1
        explanation = {"words": ["a", "nodule"], "logprobs": [-1, -2], "maps": {"detail": grid.tolist()},
                       "share": {"detail": [1.0, 1.0]}, "notes": []}  # fmt: skip
        resize = {"from": [height, width], "to": [64, 64], "offset": [0, 0], "size": 64}
        return {"caption": "a nodule", "confidence": 0.5, "model_version": "1", "weights": {}, "resize": resize,
                "explanation": explanation}  # fmt: skip

    def cancel(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_series(tmp_path_factory.mktemp("slicer") / "series", body())


@pytest.fixture
def made(series: Path) -> tuple[Scene, object]:
    place = Scene()
    return place, place.load(series)


def test_an_axial_picture_is_the_stored_slice_with_the_users_window(made: tuple[Scene, object]) -> None:
    place, volume = made
    picture = slice_picture(volume, place.look("Axial", voxel_to_ras(volume, (40, 48, 6))))
    assert picture.pixels.shape == (96, 80)
    np.testing.assert_array_equal(picture.pixels, windowed(body()[6]))
    assert (picture.plane, picture.index, picture.window) == ("axial", 6, (40, 400))
    corner = picture.to_ras @ [0, 0, 0, 1]
    np.testing.assert_allclose(corner[:3], [40, 48, 30], atol=1e-6)  # first pixel: LPS -40, -48, 6 * 5 mm


@pytest.mark.parametrize(("orientation", "plane", "voxel"), VIEWS)
def test_every_view_agrees_with_the_bundles_reader(
    made: tuple[Scene, object], series: Path, orientation: str, plane: str, voxel: tuple
) -> None:
    """The same slice by the same index, rows and columns alike: compared where the reader has voxels (every 5 mm)."""
    place, volume = made
    picture = slice_picture(volume, place.look(orientation, voxel_to_ras(volume, voxel)))
    assert picture.plane == plane
    expected = windowed(read_case(series, slice=picture.index, plane=plane).pixels[0, 0])
    if plane != "axial":  # the view has square pixels: 5 rows a slice, the slice's own in the middle
        assert picture.pixels.shape[0] == 5 * expected.shape[0]
        assert (picture.pixels[2::5] == expected).all()
    else:
        np.testing.assert_array_equal(picture.pixels, expected)
    neighbour = windowed(read_case(series, slice=picture.index + 1, plane=plane).pixels[0, 0])
    assert (neighbour != expected).any()


def test_an_oblique_view_gives_a_picture_but_no_slice_of_the_volume(made: tuple[Scene, object]) -> None:
    place, volume = made
    view = place.look("Axial", voxel_to_ras(volume, (40, 48, 4)))
    view.GetSliceToRAS().DeepCopy([1, 0, 0, 0, 0, 0.8, -0.6, 0, 0, 0.6, 0.8, 20, 0, 0, 0, 1])
    picture = slice_picture(volume, view)
    assert picture.plane is None and picture.index is None
    assert np.ptp(picture.pixels) > 100


def test_a_transformed_volume_is_captioned_where_it_is_shown(made: tuple[Scene, object]) -> None:
    place, volume = made
    moved = place.mrml.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    import vtk

    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(2, 3, 10.0)
    moved.SetMatrixTransformToParent(matrix)
    volume.SetAndObserveTransformNodeID(moved.GetID())
    at = voxel_to_ras(volume, (40, 48, 6))
    picture = slice_picture(volume, place.look("Axial", (at[0], at[1], at[2] + 10)))
    np.testing.assert_array_equal(picture.pixels, windowed(body()[6]))


def _under(place: Scene, volume: object, matrix: list[list[float]]) -> object:
    """Put a volume under a linear transform; the transform node."""
    import vtk

    wanted = vtk.vtkMatrix4x4()
    wanted.DeepCopy([value for row in matrix for value in row])
    node = place.mrml.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    node.SetMatrixTransformToParent(wanted)
    volume.SetAndObserveTransformNodeID(node.GetID())
    return node


class Images:
    """In place of the process that writes reports: which images it would name."""

    def report(self, source: list[str], output: Path, *, plane: dict, **_: object) -> list[str]:
        return [Path(file).name for file in images_in(source, plane)]


MOVES = {
    "none": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
    "by four slices": [[1, 0, 0, 3], [0, 1, 0, 0], [0, 0, 1, 20], [0, 0, 0, 1]],
    "turned over": [[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 85], [0, 0, 0, 1]],
    "stretched": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]],
}


@pytest.mark.parametrize("move", MOVES)
def test_a_report_names_the_image_that_was_shown_wherever_the_volume_was_moved(
    made: tuple[Scene, object], move: str
) -> None:
    place, volume = made
    at = np.array(MOVES[move]) @ [*voxel_to_ras(volume, (40, 48, 6)), 1]
    node = _under(place, volume, MOVES[move])
    logic = CaptionLogic(place.mrml, FixedBackend())
    draft = logic.caption(volume, place.look("Axial", tuple(at[:3])))
    assert (draft.picture.plane, draft.picture.index) == ("axial", 6)
    assert logic.reporting(draft, "x", Path("sr.dcm"), Images())() == ["006.dcm"]
    node.SetMatrixTransformToParent(None)  # moved back before the report is written: the same image still
    assert logic.reporting(draft, "x", Path("sr.dcm"), Images())() == ["006.dcm"]


@pytest.mark.parametrize("move", ["by four slices", "turned over"])
def test_a_report_of_a_volume_whose_move_was_hardened_is_refused(made: tuple[Scene, object], move: str) -> None:
    place, volume = made
    at = np.array(MOVES[move]) @ [*voxel_to_ras(volume, (40, 48, 6)), 1]
    _under(place, volume, MOVES[move])
    assert volume.HardenTransform()
    logic = CaptionLogic(place.mrml, FixedBackend())
    draft = logic.caption(volume, place.look("Axial", tuple(at[:3])))
    with pytest.raises(InputError, match="does not lie where its images do"):
        logic.reporting(draft, "x", Path("sr.dcm"), Images())()


def test_a_slice_of_a_turned_volume_counts_as_its_file_has_it(made: tuple[Scene, object]) -> None:
    """A quarter turn around left and right: the axial view shows a coronal slice of the file."""
    place, volume = made
    turn = [[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    at = np.array(turn) @ [*voxel_to_ras(volume, (40, 30, 4)), 1]
    _under(place, volume, turn)
    picture = slice_picture(volume, place.look("Axial", tuple(at[:3])))
    assert (picture.plane, picture.index) == ("coronal", 30)
    logic = CaptionLogic(place.mrml, FixedBackend())
    draft = logic.caption(volume, place.view)
    assert len(logic.reporting(draft, "x", Path("sr.dcm"), Images())()) == 18  # it runs across the images


def test_what_cannot_be_captioned_is_said(made: tuple[Scene, object]) -> None:
    place, volume = made
    with pytest.raises(CaptioningError, match="no volume"):
        slice_picture(None, place.view)
    with pytest.raises(CaptioningError, match="outside"):
        slice_picture(volume, place.look("Axial", (0, 0, 900)))


def test_caption_overlay_and_text_survive_saving_the_scene(made: tuple[Scene, object], tmp_path: Path) -> None:
    place, volume = made
    logic, backend = CaptionLogic(place.mrml, FixedBackend()), None
    backend = logic.backend
    draft = logic.caption(volume, place.look("Axial", voxel_to_ras(volume, (40, 48, 6))), prompt="", explain=True)
    np.testing.assert_array_equal(backend.pixels[0], windowed(body()[6]))  # the PNG that was sent
    assert backend.asked[0][1] == {"window": "none", "explain": True}

    node = logic.save(draft, "  a nodule in the left lung,\n 5 mm <ä> ")
    assert node.GetText() == "a nodule in the left lung, 5 mm <ä>"
    assert logic.save(draft, "a nodule, corrected") is node  # the same slice: one caption
    other = logic.caption(volume, place.look("Axial", voxel_to_ras(volume, (40, 48, 2))))
    assert logic.save(other, "nothing") is not node
    heat = logic.show(draft, 1)
    assert heat.GetImageData().GetDimensions() == (80, 96, 1)
    assert logic.show(draft, None) is heat

    place.mrml.SetRootDirectory(str(tmp_path))
    place.mrml.SetURL(str(tmp_path / "scene.mrml"))
    assert place.mrml.Commit()
    again = slicer.vtkMRMLScene()
    again.SetURL(str(tmp_path / "scene.mrml"))
    again.Connect()
    texts = [
        again.GetNthNodeByClass(i, "vtkMRMLTextNode") for i in range(again.GetNumberOfNodesByClass("vtkMRMLTextNode"))
    ]
    kept = {text.GetText(): text for text in texts}
    assert set(kept) == {"a nodule, corrected", "nothing"}
    saved = kept["a nodule, corrected"]
    assert saved.GetNodeReference(scene.VOLUME_ROLE).GetName() == volume.GetName()
    named = {name: saved.GetAttribute(scene.PREFIX + name) for name in ("Draft", "Edited", "Slice", "Plane", "Window")}
    assert named == {"Draft": "a nodule", "Edited": "yes", "Slice": "6", "Plane": "axial", "Window": "40/400"}
    assert "not for diagnosis" in saved.GetAttribute(scene.PREFIX + "Notice")


def test_the_text_stands_beside_its_volume_in_the_subject_hierarchy(made: tuple[Scene, object]) -> None:
    place, volume = made
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(place.mrml)
    study = tree.CreateStudyItem(tree.GetSceneItemID(), "study")
    tree.CreateItem(study, volume)
    logic = CaptionLogic(place.mrml, FixedBackend())
    draft = logic.caption(volume, place.look("Axial", voxel_to_ras(volume, (40, 48, 6))))
    node = logic.save(draft, draft.text)
    assert tree.GetItemParent(tree.GetItemByDataNode(node)) == study
    assert series_uid(volume) == ""
    tree.SetItemUID(tree.GetItemByDataNode(volume), "DICOM", "1.2.840.7")  # as Slicer's DICOM module does
    assert series_uid(volume) == "1.2.840.7"


def test_the_overlay_is_the_map_seen_through_the_letterbox() -> None:
    """Equal to PyTorch's bilinear upsampling of the map to the square, cropped to where the picture lies, and scaled
    from its mean to its peak; 1e-6.
    """
    generator = np.random.default_rng(0)
    grids = {"general": generator.random((3, 7, 7)), "detail": generator.random((3, 16, 16))}
    share = {"general": [0.25, 0.5, 0.1], "detail": [0.75, 0.5, 0.9]}
    reply = {"explanation": {"words": list("abc"), "maps": {k: v.tolist() for k, v in grids.items()}, "share": share},
             "resize": {"from": [60, 112], "to": [60, 112], "offset": [26, 0], "size": 112}}  # fmt: skip
    expected = torch.zeros(112, 112, dtype=torch.float64)
    for name, grid in grids.items():
        one = torch.from_numpy(grid[1] * share[name][1] * grid[1].size)[None, None]
        expected += torch.nn.functional.interpolate(one, size=(112, 112), mode="bilinear", align_corners=False)[0, 0]
    expected = expected[26:86]
    expected = ((expected - expected.mean()) / (expected.max() - expected.mean())).clamp(min=0)
    np.testing.assert_allclose(overlay.heat(reply, (60, 112), 1), expected, atol=1e-6)
    whole = overlay.heat(reply, (60, 112))
    assert whole.shape == (60, 112) and whole.max() == pytest.approx(1)
    even = {name: np.full_like(grid, 0.01).tolist() for name, grid in grids.items()}
    flat = {**reply, "explanation": {**reply["explanation"], "maps": even}}
    assert overlay.heat(flat, (60, 112), 1).max() == 0  # no preference: nothing is drawn
    some = {name: [grid.tolist()[0], None, grid.tolist()[2]] for name, grid in grids.items()}
    silent = {**reply, "explanation": {**reply["explanation"], "maps": some}}
    assert [overlay.names_nothing(silent, word) for word in (0, 1, None)] == [False, True, False]
    assert overlay.heat(silent, (60, 112), 1).max() == 0  # such a word names nothing visible
    np.testing.assert_allclose(overlay.heat(silent, (60, 112), 0), overlay.heat(reply, (60, 112), 0))
    assert overlay.heat(silent, (60, 112)).max() == pytest.approx(1)
    with pytest.raises(CaptioningError, match="another size"):
        overlay.heat(reply, (112, 60))
    with pytest.raises(CaptioningError, match="no explanation"):
        overlay.heat({**reply, "explanation": None}, (60, 112))


def test_an_overlays_pixels_lie_on_the_slices_pixels(made: tuple[Scene, object]) -> None:
    place, volume = made
    logic = CaptionLogic(place.mrml, FixedBackend())
    draft = logic.caption(volume, place.look("Coronal", voxel_to_ras(volume, (40, 30, 4))))
    node = logic.show(draft)
    for column, row in ((0, 0), (79, 44), (10, 30)):
        expected = draft.picture.to_ras @ [column, row, 0, 1]
        np.testing.assert_allclose(voxel_to_ras(node, (column, row, 0)), expected[:3], atol=1e-6)
    assert draft.picture.to_ras[1, 3] == pytest.approx(48 - 30)  # the coronal plane of row 30, LPS -48 + 30 mm


def test_a_pictures_name_tells_slices_apart_and_no_person(made: tuple[Scene, object]) -> None:
    place, volume = made
    volume.SetName("DOE^JANE")
    pictures = [slice_picture(volume, place.look("Axial", voxel_to_ras(volume, (40, 48, k)))) for k in (2, 3)]
    names = [picture_id(volume, picture) for picture in pictures]
    assert names[0] != names[1] and names[0] == picture_id(volume, pictures[0])
    assert all("doe" not in name.lower() and "." not in name and "/" not in name for name in names)


class DoubtfulBackend(FixedBackend):
    """A model that is less sure than it is asked to be; also takes corrections and writes reports."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[dict] = []

    def caption(self, file: Path, **options: object) -> dict:
        return {**super().caption(file, **options), "abstained": True, "calibrated_confidence": 0.31}

    def send(self, label: dict, image_id: str, png: Path) -> str:
        self.kept.append(label)
        return "sent"

    def report(self, source: list[str], output: Path, **content: object) -> Path:
        self.kept.append(content)
        return output


def test_a_withheld_caption_leaves_only_edited_or_confirmed(made: tuple[Scene, object], tmp_path: Path) -> None:
    place, volume = made
    backend = DoubtfulBackend()
    logic = CaptionLogic(place.mrml, backend)
    draft = logic.caption(volume, place.look("Axial", voxel_to_ras(volume, (40, 48, 6))))
    assert draft.withheld and draft.likely == 0.31
    with pytest.raises(CaptioningError, match="edit it, or confirm"):
        logic.sending(draft, " a  nodule ")()
    with pytest.raises(CaptioningError, match="edit it, or confirm"):
        logic.reporting(draft, draft.text, tmp_path / "sr.dcm", backend)()
    assert backend.kept == []
    logic.sending(draft, "a nodule, corrected")()
    logic.sending(draft, draft.text, confirmed=True)()
    logic.reporting(draft, draft.text, tmp_path / "sr.dcm", backend, confirmed=True)()
    assert [kept["caption"] for kept in backend.kept] == ["a nodule, corrected", "a nodule", "a nodule"]
    assert backend.kept[-1]["abstained"] and backend.kept[-1]["confirmed"]
    attributes = [logic.save(draft, text).GetAttribute for text in (draft.text, "a nodule, corrected")]
    assert attributes[0](scene.PREFIX + "LikelyRight") == "0.310"
    assert attributes[1](scene.PREFIX + "Withheld") == "no"
