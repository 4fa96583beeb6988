"""Captioned cases to files: JSON Lines, page, overlay, FHIR, NIfTI, DICOM.

Writers are found by name in `WRITERS` and loaded at first use, so none costs a run without it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts import loads_submodules
from scripts.errors import InputError
from scripts.given_values import switch
from scripts.outputs.captioned_case import CaptionedCase, OutputWriter

__all__ = ["WRITERS", "CaptionedCase", "OutputWriter", "build_writers", "check_requested", "writer_class"]

# Name in a config: module in this package, class. A line added here is all that a new output needs.
WRITERS: dict[str, str] = {
    "jsonl": "jsonl:JsonLinesWriter",
    "html": "html:HtmlWriter",
    "dicom_sr": "dicom.sr:DicomSrWriter",
    "dicom_sr_enhanced": "dicom.sr_enhanced:EnhancedSrWriter",
    "dicom_pdf": "dicom.pdf:DicomPdfWriter",
    "fhir": "fhir:FhirWriter",
    "overlay": "overlay:OverlayWriter",
    "nifti_mask": "nifti_mask:NiftiMaskWriter",
    "dicom_seg": "dicom.seg:DicomSegWriter",
}
EXPLANATIONS = (False, True, "attention", "gradient", "occlusion", "reader")


def writer_class(name: str) -> type[OutputWriter]:
    """The class behind an output's name.

    Raises:
        InputError: there is no such output, or a package that it needs is not installed.
    """
    if name not in WRITERS:
        raise InputError(f"output {name!r} is not known: outputs are a list of {', '.join(WRITERS)}")
    module, _, attribute = WRITERS[name].partition(":")
    try:
        return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
    except ModuleNotFoundError as error:
        if error.name == f"{__name__}.{module}":
            raise InputError(f"output {name!r} cannot be written by this version: leave it out of outputs") from None
        raise InputError(f"output {name!r} needs the package {error.name}: pip install it, or leave it out") from None


def check_requested(outputs: Sequence[str], explain: bool | str = False) -> None:
    """Refuse outputs that cannot be written, before any work.

    Raises:
        InputError: an unknown output, one that needs ``explain`` without it, or an unknown ``explain``.
    """
    if isinstance(outputs, str):
        raise InputError(f"outputs is a list, such as ['jsonl', 'html'], not the text {outputs!r}")
    explain = switch(explain)
    if explain not in EXPLANATIONS:
        raise InputError(f'explain is false, true, "attention", "gradient", "occlusion" or "reader", not {explain!r}')
    for name in outputs:
        if getattr(writer_class(name), "needs_explanation", False) and not explain:
            raise InputError(f"output {name!r} is drawn from explanations: set explain to true, or leave {name!r} out")


def build_writers(
    outputs: Sequence[str], output_dir: str | Path, options: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, OutputWriter]:
    """A writer for each name, built as ``Writer(output_dir=Path, **options[name])``.

    Raises:
        InputError: an unknown output, options for one that is not asked for, or options that a writer does not take.
    """
    options = dict(options or {})
    unused = [name for name in options if name not in outputs]
    if unused:
        raise InputError(f"output_options has {unused[0]!r}, which is not in outputs {list(outputs)}: add it there")
    writers = {}
    for name in dict.fromkeys(outputs):
        kind = writer_class(name)
        try:
            writers[name] = kind(output_dir=Path(output_dir), **options.get(name, {}))
        except TypeError as error:
            raise InputError(f"output_options of {name!r} do not fit: {error}") from None
    return writers


__getattr__ = loads_submodules(__name__)
