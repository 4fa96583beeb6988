"""Damaged files by the thousand: each must end in an image or in one clear sentence.

    python tests/reading/fuzzing.py --count 2000 --structured 20000 --seed 0

Damaged files (``--count``) have bytes changed anywhere; structured ones (``--structured``, `mutations`) have tags that
contradict the rest. Of these the values count: they are the good file's, or a note says what was believed.

Reads each file in a worker process, so that a crash, a hang (over 10 s) or memory over 2 GiB is seen and named. Prints
a line for people and, as its last line, one JSON object: ``files``, ``images``, ``refused``, ``failures``,
``slowest_s``, ``peak_gib``; of ``images``, ``same`` have the good file's pixels and ``noted`` others with a note.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import random
import signal
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[2] / "bundle"), str(HERE.parent)]

import made_files  # noqa: E402
import mutations  # noqa: E402
import nibabel as nib  # noqa: E402
import numpy as np  # noqa: E402
import pydicom  # noqa: E402
from PIL import Image  # noqa: E402
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless  # noqa: E402

SECONDS = 10.0
"""Processor time that a file may take."""
PATIENCE = 60
"""Times that in wall-clock time for one that waits and does nothing; the machine may be busy with other things."""
GIB = 2.0


@dataclass
class Outcome:
    """What a run found; ``failures`` are (file, how it failed)."""

    images: int = 0
    same: int = 0
    noted: int = 0
    refused: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    slowest: float = 0.0
    peak: float = 0.0

    def summary(self) -> dict[str, object]:
        return {
            "files": self.images + self.refused + len(self.failures), "images": self.images, "same": self.same,
            "noted": self.noted, "refused": self.refused,
            "failures": self.failures[:20], "slowest_s": round(self.slowest, 2), "peak_gib": round(self.peak, 2),
        }  # fmt: skip


def seeds(folder: Path, itk_too: bool = True) -> list[Path]:
    """Whole files of every kind, to be damaged; NRRD and MetaImage need ITK, which takes seconds to load."""
    folder.mkdir(parents=True, exist_ok=True)
    volume = made_files.body()
    grey, colour = made_files.phantom(), np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    plain = made_files.save(folder / "ct.dcm", made_files.ct_slice(volume[5], WindowCenter=40, WindowWidth=400))
    found = [plain, made_files.as_jpeg_lossless(plain, folder / "lossless.dcm")]
    for name, syntax in (("j2k", JPEG2000Lossless), ("jls", JPEGLSLossless), ("rle", RLELossless)):
        made = made_files.ct_slice(volume[5])
        made.compress(syntax)
        made.save_as(folder / f"{name}.dcm", enforce_file_format=True)
        found.append(folder / f"{name}.dcm")
    deflated = made_files.ct_slice(volume[5])
    found.append(made_files.save(folder / "deflated.dcm", deflated, DeflatedExplicitVRLittleEndian))
    enhanced = made_files.enhanced_ct(volume, list(range(len(volume))))
    found.append(made_files.save(folder / "enhanced.dcm", enhanced))
    jpeg = made_files.jpeg_dataset(colour, modality="US")
    jpeg.save_as(folder / "jpeg.dcm", enforce_file_format=True)
    lut = [made_files.lut_item(0, np.linspace(0, 65535, 4096))]
    computed = made_files.dataset(grey, modality="CR", stored=12, photometric="MONOCHROME1", VOILUTSequence=lut)
    found += [folder / "jpeg.dcm", made_files.save(folder / "cr.dcm", computed)]
    found += _packaged() + _volumes(folder, volume, itk_too) + _pictures(folder, grey, colour)
    return found + _archives(folder, volume)


def _packaged() -> list[Path]:
    root = Path(pydicom.__file__).parent / "data" / "test_files"
    names = ("examples_palette", "examples_ybr_color", "MR_small_bigendian", "JPGExtended", "JPEG2000",
             "SC_rgb_jls_lossy_line", "liver_1frame")  # fmt: skip
    return [root / f"{name}.dcm" for name in names]


def _volumes(folder: Path, volume: np.ndarray, itk_too: bool) -> list[Path]:
    nifti = nib.Nifti1Image(volume.transpose(2, 1, 0).astype(np.int16), np.diag([-0.6, -0.8, 2, 1]))
    nib.save(nifti, folder / "v.nii")
    nib.save(nifti, folder / "v.nii.gz")
    nib.save(nib.Spm99AnalyzeImage(volume.transpose(2, 1, 0).astype(np.int16), np.eye(4)), folder / "analyze.img")
    names = ["v.nii", "v.nii.gz", "analyze.hdr"]
    if itk_too:
        import itk

        image = itk.image_from_array(volume.astype(np.int16))
        for name in ("v.nrrd", "v.mha", "raw.nrrd"):
            itk.imwrite(image, str(folder / name), compression=name == "v.nrrd")
            names.append(name)
    return [folder / name for name in names]


def _pictures(folder: Path, grey: np.ndarray, colour: np.ndarray) -> list[Path]:
    Image.fromarray(grey.astype(np.uint16)).save(folder / "grey16.png")
    Image.fromarray(grey.astype(np.uint16)).save(folder / "grey16.tif")
    picture = Image.fromarray(colour)
    for name in ("c.png", "c.jpg", "c.tif", "c.bmp", "c.webp", "c.gif", "c.jp2"):
        picture.save(folder / name)
    picture.save(folder / "lzw.tif", compression="tiff_lzw")
    pages = [Image.fromarray(np.roll(colour, k, 0)) for k in range(3)]
    pages[0].save(folder / "pages.tif", save_all=True, append_images=pages[1:])
    names = ("grey16.png", "grey16.tif", "c.png", "c.jpg", "c.tif", "c.bmp", "c.webp", "c.gif", "c.jp2", "lzw.tif",
             "pages.tif")  # fmt: skip
    return [folder / n for n in names]


def _archives(folder: Path, volume: np.ndarray) -> list[Path]:
    series = made_files.ct_series(folder / "series", volume[:4])
    with zipfile.ZipFile(folder / "study.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(series.iterdir()):
            archive.write(path, path.name)
    return [folder / "study.zip"]


def damage(source: Path, target: Path, chance: random.Random) -> None:
    """Write a damaged copy of ``source``."""
    data = source.read_bytes()
    ways: list[Callable[[bytes, random.Random], bytes]] = [_flip, _flip_head, _cut, _splice, _extreme]
    if source.suffix == ".dcm" and chance.random() < 0.5:
        ways = [_contradict]
    if source.suffix == ".gz" and chance.random() < 0.7:
        target.write_bytes(gzip.compress(chance.choice(ways)(gzip.decompress(data), chance)))
        return
    target.write_bytes(chance.choice(ways)(data, chance))


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 3, 10, 50))):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def _flip_head(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 2, 5))):
        changed[chance.randrange(min(len(changed), 1500))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def _splice(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + chance.randbytes(chance.choice((1, 4, 100))) + data[at + chance.choice((0, 4, 50)) :]


_EXTREMES = (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\x80")


def _extreme(data: bytes, chance: random.Random) -> bytes:
    """Overwrite an aligned field of the header with the largest or smallest numbers there are."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 2))):
        at = chance.randrange(0, max(1, min(len(changed), 600) - 8), 2)
        changed[at : at + 4] = chance.choice(_EXTREMES)
    return bytes(changed)


_WRONG = {
    "Rows": (0, 1, 65535, 41, 20000), "Columns": (0, 3, 65535, 57), "BitsAllocated": (0, 1, 8, 12, 32, 64),
    "BitsStored": (0, 1, 17, 64), "SamplesPerPixel": (0, 2, 3, 4, 65535), "PixelRepresentation": (1, 2, 7),
    "NumberOfFrames": ("0", "-1", "2", "999999999"), "PlanarConfiguration": (1, 5),
    "WindowWidth": ("0", "-3", "nan", "1e40"),
    "PhotometricInterpretation": ("RGB", "PALETTE COLOR", "YBR_FULL_422", "MONOCHROME1", "XYZ", ""),
    "RescaleSlope": ("0", "nan", "1e300", "abc", ""), "ImageOrientationPatient": (["0"] * 6, ["nan"] * 6, ["1"] * 5),
    "ImagePositionPatient": (["1e300"] * 3, ["a", "b", "c"]), "PixelSpacing": (["0", "0"], ["-1", "1"], ["1e30", "1"]),
    "HighBit": (0, 3, 200), "Modality": ("", "ZZ", "MR"), "PixelPaddingValue": (0, 65535),
}  # fmt: skip


def _contradict(data: bytes, chance: random.Random) -> bytes:
    """Remove elements of a DICOM file or give them values that contradict the rest."""
    from io import BytesIO

    with pydicom.config.disable_value_validation():
        made = pydicom.dcmread(BytesIO(data), force=True)
        for _ in range(chance.choice((1, 1, 2, 4))):
            keyword = chance.choice(list(_WRONG))
            try:
                if chance.random() < 0.35:
                    made.pop(chance.choice([e.tag for e in made]), None)
                else:
                    setattr(made, keyword, chance.choice(_WRONG[keyword]))
            except Exception:
                continue
        out = BytesIO()
        try:
            made.save_as(out)
        except Exception:
            return _flip_head(data, chance)
    return out.getvalue()


def _worker(pipe: multiprocessing.connection.Connection, itk_too: bool) -> None:
    import torch

    torch.set_num_threads(1)
    if itk_too:  # loading ITK is not to be timed
        import itk

        itk.array_from_image(itk.image_from_array(np.zeros((2, 2, 2), np.int16)))
    from scripts.errors import InputError
    from scripts.reading import read_case
    from scripts.windowing import window_image

    originals: dict[str, tuple[np.ndarray, set[str]]] = {}
    while (asked := pipe.recv()) is not None:
        path, original = asked
        if original and original not in originals:
            good = read_case(original)
            originals[original] = good.pixels, set(good.meta["notes"])
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # the system ends a process that computes for longer
        try:
            case = read_case(path)
            shown, _ = window_image(case.pixels, case.meta)
            sound = shown.min() >= 0 and shown.max() <= 1 and shown.dtype == np.float32 and shown.shape[1] == 3
            answer = "image" if sound else "failure: values outside [0, 1] or not finite"
            if sound and original:
                answer = _compared(case.pixels, case.meta["notes"], *originals[original])
        except InputError as error:
            text = str(error)
            answer = "refused" if path in text and "\n" not in text else f"failure: unclear message {text!r}"
        except BaseException as error:
            answer = f"failure: {type(error).__name__}: {error}"
        signal.setitimer(signal.ITIMER_PROF, 0)
        spent = time.process_time() - start
        pipe.send((answer, spent, _peak_gib()))


def _compared(pixels: np.ndarray, notes: list[str], good: np.ndarray, known: set[str]) -> str:
    """ "same", "noted", or a failure: other values without a word."""
    if pixels.shape == good.shape and np.array_equal(pixels, good):
        return "same"
    return "noted" if set(notes) - known else "failure: other pixels, and no note"


def _peak_gib() -> float:
    """Peak memory of this process alone; ``ru_maxrss`` would begin at its parent's, which survives exec."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


class _Reader:
    """A worker process that is replaced when it dies or hangs."""

    def __init__(self, itk_too: bool = True) -> None:
        self.itk_too = itk_too
        self.process: multiprocessing.process.BaseProcess | None = None

    def ask(self, path: Path, original: Path | None = None) -> tuple[str, float, float]:
        """(answer, processor seconds, peak memory in GiB); with ``original`` the answer compares pixels."""
        if self.process is None:
            context = multiprocessing.get_context("spawn")
            self.pipe, theirs = context.Pipe()
            self.process = context.Process(target=_worker, args=(theirs, self.itk_too), daemon=True)
            self.process.start()
            theirs.close()
            self.pipe.send(("", ""))  # the first answer comes after the imports, which are not to be timed
            self.pipe.recv()
        try:
            self.pipe.send((str(path), str(original or "")))
            if self.pipe.poll(PATIENCE * SECONDS):
                return self.pipe.recv()
            self.close()
            return f"failure: waited for over {PATIENCE * SECONDS:.0f} s", PATIENCE * SECONDS, 0.0
        except (EOFError, BrokenPipeError):
            self.process.join()
            code = self.process.exitcode
            self.process = None
            if code == -signal.SIGPROF:
                return f"failure: took over {SECONDS:.0f} s", SECONDS, 0.0
            return f"failure: the process died with code {code}", 0.0, 0.0

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None


def run(count: int, seed: int, folder: Path, keep: Path | None = None, itk_too: bool = True) -> Outcome:
    """Damage and read ``count`` files; those that fail are kept in ``keep``."""
    chance = random.Random(seed)
    sources = seeds(folder / "seeds", itk_too)
    outcome, reader = Outcome(), _Reader(itk_too)
    for number in range(count):
        source = sources[number % len(sources)]
        target = folder / f"{number:05d}_{source.name}"
        damage(source, target, chance)
        if source.name == "analyze.hdr":
            target.with_suffix(".img").write_bytes(source.with_suffix(".img").read_bytes())
        _judge(outcome, reader, target, reader.ask(target), keep)
    reader.close()
    return outcome


def run_structured(count: int, seed: int, folder: Path, keep: Path | None = None) -> Outcome:
    """Mutate and read ``count`` files; those that end in other pixels without a note fail, too."""
    chance = random.Random(seed)
    sources = mutations.seeds(folder / "good")
    outcome, reader = Outcome(), _Reader(itk_too=False)
    for number in range(count):
        source = sources[number % len(sources)]
        target = folder / f"{number:05d}_{source.name}"
        done = mutations.mutate(source, target, chance)
        answer, spent, peak = reader.ask(target, source)
        if answer.startswith("failure"):
            answer += f" ({source.name}: {done})"
        _judge(outcome, reader, target, (answer, spent, peak), keep)
    reader.close()
    return outcome


def _judge(
    outcome: Outcome, reader: _Reader, target: Path, answered: tuple[str, float, float], keep: Path | None
) -> None:
    """Count one answer, keep a file that failed, and clear up."""
    answer, spent, peak = answered
    outcome.slowest = max(outcome.slowest, spent)
    outcome.peak = max(outcome.peak, peak)
    if peak > GIB:
        answer = f"failure: took {peak:.1f} GiB"
        reader.close()
    if answer in ("image", "same", "noted"):
        outcome.images += 1
        outcome.same += answer == "same"
        outcome.noted += answer == "noted"
    elif answer == "refused":
        outcome.refused += 1
    else:
        outcome.failures.append((target.name, answer))
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / target.name).write_bytes(target.read_bytes())
    for part in target.parent.glob(f"{target.name[:5]}_*"):
        part.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="files with damaged bytes")
    parser.add_argument("--structured", type=int, default=20_000, help="files with contradicting tags")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=None, help="folder for files that fail")
    options = parser.parse_args()
    outcomes = {}
    for what, count, runs in (("damaged", options.count, run), ("structured", options.structured, run_structured)):
        with tempfile.TemporaryDirectory() as folder:
            outcome = outcomes[what] = runs(count, options.seed, Path(folder), options.keep)
        for name, how in outcome.failures:
            print(f"{name}: {how}")
        print(f"{what}: {outcome.images} read ({outcome.same} as the good file, {outcome.noted} otherwise and noted), "
              f"{outcome.refused} refused, {len(outcome.failures)} failed")  # fmt: skip
    print(json.dumps({what: outcome.summary() for what, outcome in outcomes.items()}))
    return 1 if any(outcome.failures for outcome in outcomes.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
