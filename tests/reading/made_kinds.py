"""Files of every kind that is read, made afresh with known pixels: each codec, sign, depth, layout and byte order.

Each maker yields `Made`: a file, the pixels that were written into it, and what a reader that stops at the stored
values gives. `tests/reading/second_readers.py` asks such readers; `tests/reading/test_second_readers.py` compares.
"""

from __future__ import annotations

import bz2
import gzip
import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import made_files
import nibabel as nib
import numpy as np
import tifffile
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

NATIVE = {"explicit": ExplicitVRLittleEndian, "implicit": ImplicitVRLittleEndian, "big endian": ExplicitVRBigEndian,
          "deflated": DeflatedExplicitVRLittleEndian}  # fmt: skip
CODECS = {"RLE": RLELossless, "JPEG-LS": JPEGLSLossless, "JPEG 2000": JPEG2000Lossless}
HEIGHT, WIDTH, DEPTH = 40, 56, 5


@dataclass
class Made:
    """``expected`` ``[C, H, W]`` was written; ``stored`` is what readers give that apply no look-up table (the same
    where None). ``rule`` is the sentence of a standard, where other readers do not read the kind right."""

    kind: str
    name: str
    path: Path
    expected: np.ndarray
    stored: np.ndarray | None = None
    tolerance: float = 0.0
    rule: str = ""


def picture(low: int, high: int, seed: int = 0) -> np.ndarray:
    """Whole numbers ``[H, W]`` from ``low`` to ``high``, no symmetry, both ends there."""
    noise = np.random.default_rng(seed).integers(low, high, (HEIGHT, WIDTH), endpoint=True)
    noise[0, :2] = low, high
    return noise


def smooth(seed: int = 0) -> np.ndarray:
    """8-bit colours ``[H, W, 3]`` that lossy codecs keep."""
    rows, columns = np.mgrid[0 : 2 * HEIGHT, 0 : 2 * WIDTH]
    return np.stack([60 + rows * 3, 200 - columns * 2, 40 + rows + columns], -1).astype(np.uint8)


def dicom_grey(folder: Path) -> Iterator[Made]:
    """Every syntax, sign and depth; 8 bits also in 16."""
    depths = ((8, 8), (16, 8), (16, 10), (16, 12), (16, 16))
    names = [*NATIVE, *CODECS, "JPEG lossless"]
    for number, (name, signed, (allocated, stored), inverse) in enumerate(
        itertools.product(names, (False, True), depths, (False, True))
    ):
        if (signed and name in ("JPEG-LS", "JPEG lossless") and stored != allocated) or (inverse and signed):
            continue  # coded as unsigned there, to be taken with the sign of the header: tested by themselves
        if (
            name in ("RLE", "JPEG-LS", "JPEG lossless")
            and (allocated, stored) == (16, 8)
            or (name == "JPEG lossless" and signed)
        ):
            continue  # which the encoders here do not write
        low, high = (-(2 ** (stored - 1)), 2 ** (stored - 1) - 1) if signed else (0, 2**stored - 1)
        values = picture(low, high, number)
        photometric = "MONOCHROME1" if inverse else "MONOCHROME2"
        made = made_files.dataset(values, modality="MR", allocated=allocated, stored=stored, signed=signed,
                                  photometric=photometric)  # fmt: skip
        path = folder / f"grey{number}.dcm"
        if name in NATIVE:
            _save_native(path, made, NATIVE[name])
        elif name in CODECS:
            made.compress(CODECS[name])
            made.save_as(path, enforce_file_format=True)
        else:
            made_files.as_jpeg_lossless(made_files.save(folder / "plain.dcm", made), path)
        expected = high + low - values if inverse else values
        kind = f"DICOM grey, {name}"
        yield Made(kind, f"{photometric} {stored} in {allocated}, {'signed' if signed else 'unsigned'}", path,
                   expected[None].astype(np.float64), values[None])  # fmt: skip


def _save_native(path: Path, made: object, syntax: str) -> None:
    made_files.save(path, made, syntax)  # type: ignore[arg-type]


def dicom_high_bit(folder: Path) -> Iterator[Made]:
    """Values at the top, or in the middle, of their words."""
    rule = "PS3.5 8.1.1: High Bit specifies where the high order bit of Bits Stored is to be placed"
    for stored, high, signed in itertools.product((8, 10, 12), (13, 15), (False, True)):
        low, top = (-(2 ** (stored - 1)), 2 ** (stored - 1) - 1) if signed else (0, 2**stored - 1)
        values = picture(low, top, stored + high)
        moved = (values & (2**stored - 1)) << (high - stored + 1)
        made = made_files.dataset(moved.astype(np.uint16), modality="MR", stored=stored, signed=False, HighBit=high)
        made.PixelRepresentation = int(signed)
        path = made_files.save(folder / f"high{stored}_{high}_{signed}.dcm", made)
        yield Made("DICOM, HighBit above BitsStored - 1", f"{stored} bits from {high}, signed {signed}", path,
                   values[None], rule=rule)  # fmt: skip


def dicom_colour(folder: Path) -> Iterator[Made]:
    """Every codec, with each PlanarConfiguration, which counts for uncompressed colour alone; and without any."""
    colour = np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 3))
    channels = colour.transpose(2, 0, 1)
    for name, planar in itertools.product([*NATIVE, "RLE", "JPEG-LS", "JPEG 2000", "JPEG lossless"], (0, 1, None)):
        made = made_files.dataset(colour, modality="US", photometric="RGB", allocated=8)
        if name in NATIVE and planar == 1:
            made.PixelData = channels.astype(np.uint8).tobytes()
        made.PlanarConfiguration = planar or 0
        path = folder / f"colour_{name}_{planar}.dcm".replace(" ", "_")
        if name in CODECS:
            made.PlanarConfiguration = 0
            made.compress(CODECS[name])
            _planes(made, planar)
            made.save_as(path, enforce_file_format=True)
        elif name == "JPEG lossless":
            made.PlanarConfiguration = 0
            made_files.as_jpeg_lossless(made_files.save(folder / "plain.dcm", made), path)
            _rewrite_planes(path, planar)
        else:
            _planes(made, planar)
            made_files.save(path, made, NATIVE[name])
        yield Made(f"DICOM colour, {name}", f"PlanarConfiguration {planar}", path, channels)
    for planar, photometric in itertools.product((0, 1), ("YBR_FULL_422", "RGB")):
        buffer = BytesIO()
        Image.fromarray(smooth()).save(buffer, "JPEG", quality=95, subsampling=0)
        made = made_files.dataset(smooth(), modality="US", photometric=photometric, allocated=8)
        made.PixelData = encapsulate([buffer.getvalue()])
        made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
        made.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        made.PlanarConfiguration = planar
        path = folder / f"baseline{planar}{photometric}.dcm"
        made.save_as(path, enforce_file_format=True)
        yield Made("DICOM colour, JPEG baseline", f"PlanarConfiguration {planar}, labelled {photometric}", path,
                   smooth().transpose(2, 0, 1), tolerance=8,
                   rule="PS3.5 8.2.1: that of the stream counts" if photometric == "RGB" else "")  # fmt: skip


def _planes(made: object, planar: int | None) -> None:
    if planar is None:
        del made.PlanarConfiguration  # type: ignore[attr-defined]
    else:
        made.PlanarConfiguration = planar  # type: ignore[attr-defined]


def _rewrite_planes(path: Path, planar: int | None) -> None:
    import pydicom

    made = pydicom.dcmread(path)
    _planes(made, planar)
    made.save_as(path, enforce_file_format=True)


def dicom_tables(folder: Path) -> Iterator[Made]:
    """Modality LUT, VOI LUT and palette: bits, packing, and the VR of the first mapped value."""
    rule = "PS3.3 C.11.1.1.1: the third value specifies the number of bits for each entry, from 8 to 16"
    for bits, packed, signed in itertools.product(range(8, 17), (False, True), (False, True)):
        if packed and bits > 8:
            continue
        first = -128 if signed else 0
        table = np.rint(np.linspace(0, 1, 256) ** 1.5 * (2**bits - 1)).astype(np.uint16)
        values = picture(first, first + 255, bits)
        made = made_files.dataset(values, modality="OT", stored=12, signed=signed)
        made.ModalityLUTSequence = [table_item(table, first, bits, packed, "SS" if signed else "US")]
        path = made_files.save(folder / f"modality{bits}{packed}{signed}.dcm", made)
        yield Made("DICOM modality LUT", f"{bits} bits, packed {packed}, signed {signed}", path,
                   table[values - first][None], rule=rule)  # fmt: skip
    rule = "PS3.3 C.11.2.1.1: the first value mapped is of the same sign as the values that the LUT is for"
    for bits, packed, vr in itertools.product((8, 10, 12, 16), (False, True), ("US", "SS")):
        if packed and bits > 8:
            continue
        first = -1024
        table = np.rint(np.linspace(1, 0, 2048) ** 2 * (2**bits - 1)).astype(np.uint16)
        values = picture(first, 1023, bits)
        made = made_files.dataset(values + 1024, modality="XA", stored=12, RescaleSlope=1, RescaleIntercept=-1024)
        made.VOILUTSequence = [table_item(table, first, bits, packed, vr)]
        path = made_files.save(folder / f"voi{bits}{packed}{vr}.dcm", made)
        yield Made("DICOM VOI LUT", f"{bits} bits, packed {packed}, first mapped as {vr}", path,
                   table[values - first][None], rule=rule)  # fmt: skip
    yield from _palettes(folder)


def table_item(table: np.ndarray, first: int, bits: int, packed: bool, vr: str) -> object:
    """A LUT item; ``vr`` of the descriptor, whose second value is written as its 16 bits say."""
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

    made = Dataset()
    number = first & 0xFFFF if vr == "US" else (first + 2**15) % 2**16 - 2**15
    made.add(DataElement(0x00283002, vr, [len(table) % 65536, number, bits]))
    made.ModalityLUTType = "US"
    data = table.astype(np.uint8 if packed else "<u2").tobytes()
    made.LUTData = data + b"\0" * (len(data) % 2)
    made["LUTData"].VR = "OW"
    return made


def _palettes(folder: Path) -> Iterator[Made]:
    """Palettes whose declared bits are, or are not, those of their entries."""
    rule = "PS3.3 C.7.6.3.1.5: the third value is 8 or 16, the entries' size in the data that follows"
    ramps = [np.arange(256), np.arange(256)[::-1], (np.arange(256) * 7) % 256]
    for declared, stored, entries in ((8, "bytes", 8), (8, "words", 8), (16, "words", 16), (16, "bytes", 8),
                                      (16, "words", 8), (8, "words", 16)):  # fmt: skip
        for allocated, first in itertools.product((8, 16), (0, 10)):
            values = picture(first, first + 240, declared)
            made = made_files.dataset(values, modality="US", photometric="PALETTE COLOR", allocated=allocated)
            wide = [ramp * 257 if entries == 16 else ramp for ramp in ramps]
            for colour, ramp in zip(("Red", "Green", "Blue"), wide, strict=True):
                setattr(made, f"{colour}PaletteColorLookupTableDescriptor", [256, first, declared])
                made[f"{colour}PaletteColorLookupTableDescriptor"].VR = "US"
                data = ramp.astype(np.uint8 if stored == "bytes" else "<u2").tobytes()
                setattr(made, f"{colour}PaletteColorLookupTableData", data)
            path = made_files.save(folder / f"palette{declared}{stored}{entries}{allocated}{first}.dcm", made)
            expected = np.stack([ramp[values - first] for ramp in wide])
            yield Made("DICOM palette", f"declared {declared}, entries of {entries} in {stored}, from {first}", path,
                       expected, rule=rule)  # fmt: skip


def tiffs(folder: Path) -> Iterator[Made]:
    """Depths, signs, byte orders, layouts, polarities and orientations."""
    kinds = ("u1", "i1", "u2", "i2", "u4", "f4")
    for number, (kind, order, big, packed, look) in enumerate(
        itertools.product(kinds, "<>", (False, True), (None, "zlib"), ("grey", "white", "rgb", "grey+alpha", "planes"))
    ):
        dtype = np.dtype(kind)
        if look == "white" and dtype.itemsize == 4:
            continue  # about the picture's own extremes: tested by itself
        samples = {"rgb": 3, "planes": 3, "grey+alpha": 2}.get(look, 1)
        top = np.iinfo(dtype).max if dtype.kind in "iu" else 1
        values = np.random.default_rng(number).integers(0, 2**min(23, 8 * dtype.itemsize - (dtype.kind == "i")) - 1,
                                                        (HEIGHT, WIDTH, samples)).astype(dtype)  # fmt: skip
        if look == "grey+alpha":
            values[..., 1] = top
        path = folder / f"tiff{number}.tif"
        layout = {"photometric": {"white": "miniswhite", "rgb": "rgb", "planes": "rgb"}.get(look, "minisblack")}
        if look == "grey+alpha":
            layout |= {"extrasamples": ["unassalpha"], "planarconfig": "contig"}
        data = values[..., 0] if samples == 1 else values.transpose(2, 0, 1) if look == "planes" else values
        if look == "planes":
            layout["planarconfig"] = "separate"
        predictor = 2 if packed and dtype.kind != "f" and look != "planes" else None
        tifffile.imwrite(path, data, byteorder=order, bigtiff=big, compression=packed, predictor=predictor, **layout)
        colours = values[..., : 1 if samples == 2 else samples].transpose(2, 0, 1)
        white = -1 - colours.astype(int) if dtype.kind == "i" else top - colours
        yield Made(f"TIFF, {look}", f"{order}{kind}, BigTIFF {big}, {packed}", path,
                   white if look == "white" else colours, colours,
                   rule="TIFF 6.0: 0 = WhiteIsZero, 0 is imaged as white" if look == "white" else "")  # fmt: skip
    for orientation, packed, kind, colour in itertools.product(range(1, 9), (None, "zlib"), ("u1", "u2"), (1, 3)):
        values = np.random.default_rng(orientation).integers(0, 255, (HEIGHT, WIDTH, colour)).astype(kind)
        path = folder / f"turned{orientation}{packed}{kind}{colour}.tif"
        tifffile.imwrite(path, values if colour == 3 else values[..., 0], compression=packed,
                         photometric="rgb" if colour == 3 else "minisblack",
                         extratags=[(274, "H", 1, orientation, True)])  # fmt: skip
        yield Made("TIFF, orientation", f"{orientation}, {packed}, {kind}, {colour} samples", path,
                   turned(values, orientation).transpose(2, 0, 1), values.transpose(2, 0, 1),
                   rule="TIFF 6.0, Orientation: where row 0 and column 0 are")  # fmt: skip


def turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """``[H, W, C]`` as TIFF 6.0 wants each orientation shown."""
    steps = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.transpose(1, 0, 2),
             6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).transpose(1, 0, 2), 8: np.rot90}  # fmt: skip
    return steps[orientation](image)


def niftis(folder: Path) -> Iterator[Made]:
    """Types, byte orders, compression, axes, colour."""
    types = ("u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8")
    for number, (kind, order, ending, axes) in enumerate(
        itertools.product(types, "<>", (".nii", ".nii.gz"), (2, 3, 4))
    ):
        volume = block(np.dtype(kind), number)
        stored = {2: volume[DEPTH // 2].T, 3: volume.transpose(2, 1, 0)}.get(axes)
        if stored is None:
            stored = np.stack([volume.transpose(2, 1, 0), volume.transpose(2, 1, 0)[::-1]], -1)
        header = nib.Nifti1Header(endianness=order)
        image = nib.Nifti1Image(stored, np.diag([-1.5, -1.5, 2.0, 1.0]), header, dtype=np.dtype(kind))
        path = folder / f"nifti{number}{ending}"
        nib.save(image, path)
        yield Made(f"NIfTI, {axes} axes", f"{kind}, {order}, {ending}", path, volume[DEPTH // 2][None])
    for number, (channels, ending, flat) in enumerate(itertools.product((3, 4), (".nii", ".nii.gz"), (False, True))):
        colour = np.random.default_rng(number).integers(0, 256, (DEPTH, HEIGHT, WIDTH, channels), np.uint8)
        vector = colour[:1] if flat else colour
        image = nib.Nifti1Image(vector.transpose(2, 1, 0, 3)[:, :, :, None], np.diag([-1, -1, 1, 1]))
        image.header.set_intent("vector")
        path = folder / f"vector{number}{ending}"
        nib.save(image, path)
        middle = vector[len(vector) // 2]
        yield Made("NIfTI, vector of bytes", f"{channels} components, flat {flat}, {ending}", path,
                   middle.transpose(2, 0, 1)[:3], middle.transpose(2, 0, 1))  # fmt: skip


def block(kind: np.dtype, seed: int) -> np.ndarray:
    """Voxels ``[Z, Y, X]`` of a type, all over its range (24 bits of it)."""
    bits = min(24, 8 * kind.itemsize - (kind.kind != "u"))
    low = 0 if kind.kind == "u" else -(2 ** (bits - 1))
    return np.random.default_rng(seed).integers(low, 2 ** (bits - 1), (DEPTH, HEIGHT, WIDTH)).astype(kind)


def nrrds(folder: Path) -> Iterator[Made]:
    """Types, byte orders, encodings, two and three axes, components and volumes."""
    names = {"u1": "uint8", "i2": "int16", "u2": "unsigned short", "i4": "int", "f4": "float", "f8": "double"}
    packers = {"raw": bytes, "gzip": gzip.compress, "bzip2": bz2.compress}
    for number, (kind, order, encoding, look) in enumerate(
        itertools.product(names, "<>", packers, ("volume", "flat", "vector", "sequence"))
    ):
        dtype = np.dtype(kind).newbyteorder(order)
        volume = block(np.dtype(kind), number)
        array = {"volume": volume, "flat": volume[DEPTH // 2], "sequence": np.stack([volume, volume[::-1]])}.get(look)
        if array is None:
            array = np.stack([volume, volume[::-1], volume[:, ::-1]], -1)
        sizes = " ".join(str(n) for n in reversed(array.shape))
        vectors = {"volume": "(1.5,0,0) (0,1.5,0) (0,0,2)", "flat": "(1.5,0) (0,1.5)",
                   "vector": "none (1.5,0,0) (0,1.5,0) (0,0,2)",
                   "sequence": "(1.5,0,0) (0,1.5,0) (0,0,2) none"}[look]  # fmt: skip
        kinds = {"volume": "domain domain domain", "flat": "domain domain", "vector": "vector domain domain domain",
                 "sequence": "domain domain domain list"}[look]  # fmt: skip
        head = (
            f"NRRD0004\n# made\ntype: {names[kind]}\ndimension: {array.ndim}\n"
            f"{'space dimension: 2' if look == 'flat' else 'space: left-posterior-superior'}\n"
            f"sizes: {sizes}\nspace directions: {vectors}\nkinds: {kinds}\n"
            f"endian: {'little' if order == '<' else 'big'}\nencoding: {encoding}\n\n"
        )
        path = folder / f"nrrd{number}.nrrd"
        path.write_bytes(head.encode() + packers[encoding](array.astype(dtype).tobytes()))
        middle = volume[DEPTH // 2][None]
        colour = look == "vector" and kind == "u1"
        expected = array[DEPTH // 2].transpose(2, 0, 1) if colour else middle
        rule = "NRRD, encoding: 'bz2', 'bzip2': bzip2-compressed raw data" if encoding == "bzip2" else ""
        yield Made(f"NRRD, {look}", f"{kind}, {order}, {encoding}", path, expected, rule=rule)


def metaimages(folder: Path) -> Iterator[Made]:
    """Types, byte orders, compression, two to four axes, channels."""
    names = {"u1": "MET_UCHAR", "i2": "MET_SHORT", "u2": "MET_USHORT", "i4": "MET_INT", "f4": "MET_FLOAT"}
    for number, (kind, big, packed, look) in enumerate(
        itertools.product(names, (False, True), (False, True), ("volume", "flat", "colour", "flat colour", "sequence"))
    ):
        dtype = np.dtype(kind).newbyteorder(">" if big else "<")
        volume = block(np.dtype(kind), number)
        channels = np.stack([volume, volume[::-1], volume[:, ::-1]], -1)
        array = {"volume": volume, "flat": volume[DEPTH // 2], "colour": channels, "flat colour": channels[DEPTH // 2],
                 "sequence": np.stack([volume, volume[::-1]])}[look]  # fmt: skip
        space = array.shape[:-1] if "colour" in look else array.shape
        data = array.astype(dtype).tobytes()
        data = zlib.compress(data) if packed else data
        matrix = " ".join(str(int(v)) for v in np.eye(len(space)).ravel())
        head = (
            f"ObjectType = Image\nNDims = {len(space)}\nBinaryData = True\nBinaryDataByteOrderMSB = {big}\n"
            f"CompressedData = {packed}\n" + (f"CompressedDataSize = {len(data)}\n" if packed else "")
            + f"TransformMatrix = {matrix}\nOffset = {' '.join('0' for _ in space)}\n"
            f"ElementSpacing = {' '.join('1.5' for _ in space)}\n"
            f"DimSize = {' '.join(str(n) for n in reversed(space))}\n"
            + ("ElementNumberOfChannels = 3\n" if "colour" in look else "")
            + f"ElementType = {names[kind]}\nElementDataFile = LOCAL\n"
        )  # fmt: skip
        path = folder / f"meta{number}.mha"
        path.write_bytes(head.encode() + data)
        shown = channels[DEPTH // 2].transpose(2, 0, 1) if "colour" in look else volume[DEPTH // 2][None]
        expected = shown if kind == "u1" else shown[:1]
        yield Made(f"MetaImage, {look}", f"{kind}, MSB {big}, compressed {packed}", path, expected)


MAKERS = (dicom_grey, dicom_high_bit, dicom_colour, dicom_tables, tiffs, niftis, nrrds, metaimages)
