"""Which images a plane rests on: the nearest within half a slice, none of a volume that was moved away."""

from __future__ import annotations

from pathlib import Path

import made_files
import numpy as np
import pytest

from scripts.errors import InputError
from scripts.reading.dicom.source_plane import images_in

STEP = 2.0


def _series(folder: Path, places: list[float], **tags: object) -> list[str]:
    """Axial slices at those positions; files in the order of their names."""
    folder.mkdir()
    volume = made_files.body(len(places))
    return [
        str(made_files.save(folder / f"{k}.dcm", made_files.ct_slice(volume[k], z, k + 1, **tags)))
        for k, z in enumerate(places)
    ]


def _grid(low: float, step: float = STEP) -> list[list[float]]:
    return [[0.6, 0, 0, -20], [0, 0.8, 0, -30], [0, 0, step, low], [0, 0, 0, 1]]


def _plane(z: float, **more: object) -> dict:
    return {"point": [0, 0, z], "normal": [0, 0, -1], **more}


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return _series(tmp_path / "series", [-50 + STEP * k for k in range(12)])


def test_the_image_in_the_plane(files: list[str]) -> None:
    for whole in ({}, {"grid": _grid(-50), "layers": 12}):
        assert images_in(files, _plane(-44, **whole)) == [files[3]]
        assert images_in(files, _plane(-44.9, **whole)) == [files[3]]
        assert images_in(files, _plane(-45, **whole)) == files[2:4]
        assert images_in(files, {**_plane(-44, **whole), "normal": [0, 1, 0]}) == files  # across: it rests on all


def test_an_image_over_half_a_slice_away_is_not_taken(files: list[str]) -> None:
    assert images_in(files, _plane(-51)) == [files[0]]
    for away in (-51.2, -26.8, 40):
        with pytest.raises(InputError, match="the nearest image lies .* mm from the slice .* load it again"):
            images_in(files, _plane(away))
    with pytest.raises(InputError, match=r"lies 2\.0 mm"):
        images_in([*files[:3], *files[4:]], _plane(-44))  # the plane of a file that is missing


@pytest.mark.parametrize(("thickness", "reach"), [(2, 1.0), (5, 2.5), (None, 0.5)])
def test_a_single_image_reaches_half_its_thickness(tmp_path: Path, thickness: float | None, reach: float) -> None:
    [file] = _series(tmp_path / "one", [10.0], SliceThickness=thickness)
    assert images_in([file], _plane(10 + reach)) == [file]
    with pytest.raises(InputError, match="nearest image"):
        images_in([file], _plane(10 + reach + 0.1))


def test_a_volume_that_was_moved_by_whole_slices_is_refused(files: list[str]) -> None:
    for moved in (-2, 2, 6):
        with pytest.raises(InputError, match="does not lie where its images do"):
            images_in(files, _plane(-40, grid=_grid(-50 + moved), layers=12))
    beside = _grid(-50)
    beside[0][3] = 400  # to the side: the same image still
    assert images_in(files, _plane(-40, grid=beside, layers=12)) == [files[5]]


def test_a_volume_that_was_turned_over_is_refused(files: list[str]) -> None:
    """By half a turn around a row: the layers lie where they did, the other way round."""
    turned = np.diag([1, -1, -1, 1]) @ np.array(_grid(-50))
    turned[2, 3] = -50 + 11 * STEP
    with pytest.raises(InputError, match="moved or turned"):
        images_in(files, _plane(-40, grid=turned.tolist(), layers=12))


def test_slices_that_a_viewer_spread_evenly_are_refused_where_they_are_other_images(tmp_path: Path) -> None:
    files = _series(tmp_path / "uneven", [0, 1, 2, 3, 10])
    spread = {"grid": _grid(0, 2.5), "layers": 5}
    with pytest.raises(InputError, match="not evenly spaced"):
        images_in(files, _plane(2.5, **spread))
    assert images_in(files, _plane(0, **spread)) == [files[0]]
    assert images_in(files, _plane(2.5)) == files[2:4]  # without the grid, what lies there


def test_what_has_no_position_is_left_to_the_report(tmp_path: Path, files: list[str]) -> None:
    (tmp_path / "a.txt").write_text("no DICOM")
    named = [*files, str(tmp_path / "a.txt")]
    assert images_in(named, _plane(-44)) == named
    many = made_files.enhanced_ct(made_files.body(4), [0, 1, 2, 3])
    frames = [str(made_files.save(tmp_path / "frames.dcm", many))]
    assert images_in(frames, _plane(-44)) == frames
