"""MONAI Deploy application: a DICOM study in, draft captions as DICOM SR out.

    python integrations/deploy/app.py --input STUDY --output OUT --model dist/msmedcap_v0.2.0.zip

Environment, for what the SDK's command line has no option for:
    MSMEDCAP_OUTPUTS     names of outputs, "dicom_sr,jsonl" unless set; also dicom_sr_enhanced, dicom_pdf, fhir
    MSMEDCAP_WINDOW      "auto" unless set, a CT preset, or centre/width
    MSMEDCAP_SLICE       "middle" unless set
    MSMEDCAP_NUM_BEAMS   the bundle's own value unless set
    MSMEDCAP_RULES       file with selection rules of DICOMSeriesSelectorOperator; all series with images unless set
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from caption_operator import CaptionOperator
from monai.deploy.conditions import CountCondition
from monai.deploy.core import Application
from monai.deploy.operators.dicom_data_loader_operator import DICOMDataLoaderOperator
from monai.deploy.operators.dicom_series_selector_operator import DICOMSeriesSelectorOperator
from packed_bundle import import_from, open_bundle


class CaptionApp(Application):
    """Load the study, select its series, caption them."""

    captions: CaptionOperator

    def compose(self) -> None:
        context = Application.init_app_context(self.argv)
        output = Path(context.output_path)
        if not context.workdir:
            self.unpacked = tempfile.TemporaryDirectory(prefix="msmedcap")  # gone with the application
        bundle = open_bundle(context.model_path, context.workdir or self.unpacked.name)
        outputs = _outputs(bundle)
        rules = os.environ.get("MSMEDCAP_RULES")
        loader = DICOMDataLoaderOperator(
            self, CountCondition(self, 1), input_folder=Path(context.input_path), name="load_study"
        )
        selector = DICOMSeriesSelectorOperator(
            self,
            rules=Path(rules).read_text(encoding="utf-8") if rules else "",
            all_matched=True,
            name="select_series",
        )
        self.captions = CaptionOperator(
            self,
            bundle=bundle,
            output_folder=output,
            outputs=outputs,
            options={"window": _asked("WINDOW", "auto"), "slice": _asked("SLICE", "middle")},
            overrides=_beams(),
            name="caption",
        )
        self.add_flow(loader, selector, {("dicom_study_list", "dicom_study_list")})
        self.add_flow(selector, self.captions, {("study_selected_series_list", "study_selected_series_list")})


def _outputs(bundle: Path) -> list[str]:
    """Names of the outputs asked for, refused before any work where one cannot be written."""
    import_from(bundle)
    from scripts.outputs import check_requested

    names = [name.strip() for name in _asked("OUTPUTS", "dicom_sr,jsonl").split(",") if name.strip()]
    check_requested(names)
    return names


def _beams() -> dict[str, int]:
    text = _asked("NUM_BEAMS", "")
    if text and not (text.isdecimal() and int(text) > 0):
        raise ValueError(f"MSMEDCAP_NUM_BEAMS is {text!r}: give a whole number from 1")
    return {"num_beams": int(text)} if text else {}


def _asked(name: str, default: str) -> str:
    return os.environ.get(f"MSMEDCAP_{name}") or default


def main() -> int:
    """Exit code 1 where a series could not be captioned or reported, or an option cannot be."""
    app = CaptionApp()
    try:
        app.run()
    except (ValueError, OSError) as error:  # what a user can cause, in a sentence
        logging.error("%s", " ".join(str(error).split()))
        return 1
    if app.captions.failed:
        logging.error("%d series could not be captioned or reported; see the messages above", app.captions.failed)
    return 1 if app.captions.failed else 0


if __name__ == "__main__":
    sys.exit(main())
