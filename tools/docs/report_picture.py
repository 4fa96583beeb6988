"""Draw ``images/integration/pdf_report.png`` of the guide: the PDF report of an image, rendered by poppler.

    PYTHONPATH=bundle .venv/bin/python tools/docs/report_picture.py

The image is one that pydicom ships (MIT licence), the caption is what the shipped checkpoint says about it.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pydicom

from scripts.outputs.dicom.pdf import write_pdf
from scripts.predictor import CaptionPredictor

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs" / "images" / "integration" / "pdf_report.png"


def main() -> None:
    predictor = CaptionPredictor.from_bundle(ROOT / "bundle", device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"
        case = predictor.caption(source).case
        document = pydicom.dcmread(write_pdf(source, case.record, Path(folder) / "report.dcm", image=case.image))
        page = Path(folder) / "page.pdf"
        page.write_bytes(document.EncapsulatedDocument[: document.EncapsulatedDocumentLength])
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        command = ["pdftoppm", "-r", "80", "-png", "-singlefile", str(page), str(TARGET.with_suffix(""))]
        subprocess.run(command, check=True)
    print(TARGET)


if __name__ == "__main__":
    main()
