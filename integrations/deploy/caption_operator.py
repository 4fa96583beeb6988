"""MONAI Deploy operator: selected DICOM series in, draft captions as DICOM SR (or any other output) out.

Instead of the SDK's ``MonaiBundleInferenceOperator`` and ``DICOMTextSRWriterOperator``, the bundle's own code windows
the image, decodes the caption and writes the report: a study captioned here gives what it gives everywhere else, and
the report points to the image it is about and says that it is a draft.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai.deploy.core import ConditionType, Fragment, Operator, OperatorSpec
from packed_bundle import import_from


class CaptionOperator(Operator):
    """Captions each selected series and writes the outputs asked for.

    Named input:
        study_selected_series_list: list of StudySelectedSeries, from DICOMSeriesSelectorOperator.

    Named output:
        captions: list of records, the lines of ``captions.jsonl``. Receiver optional.

    Args:
        fragment: the application.
        bundle: folder of the bundle.
        output_folder: where files go.
        outputs: names of ``scripts.outputs.WRITERS``.
        options: of the prediction: ``window``, ``slice``, ``plane``, ``prompt``.
        overrides: config values of the bundle, such as ``num_beams=1``.
    """

    def __init__(
        self,
        fragment: Fragment,
        *args: Any,
        bundle: Path,
        output_folder: Path,
        outputs: Sequence[str] = ("dicom_sr", "jsonl"),
        options: dict[str, Any] | None = None,
        overrides: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.bundle, self.output_folder = Path(bundle), Path(output_folder)
        self.outputs, self.options, self.overrides = tuple(outputs), dict(options or {}), dict(overrides or {})
        self.failed = 0
        self._log = logging.getLogger(f"{__name__}.{type(self).__name__}")
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        spec.input("study_selected_series_list")
        spec.output("captions").condition(ConditionType.NONE)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Caption every series once; one that cannot be captioned is logged and the rest goes on.

        Raises:
            RuntimeError: there was no series to caption.
        """
        import_from(self.bundle)
        from scripts.outputs.delivery import Delivery
        from scripts.predictor import CaptionPredictor

        predictor = CaptionPredictor.from_bundle(self.bundle, **self.overrides)
        delivery = Delivery(self.output_folder, outputs=self.outputs)
        records = [
            self._caption(predictor, delivery, files)
            for files in series_files(op_input.receive("study_selected_series_list"))
        ]
        delivery.finish()
        self.failed += delivery.failed
        if not records:
            raise RuntimeError("the study has no series with images: check the input folder and the selection rules")
        op_output.emit(records, "captions")

    def _caption(self, predictor: Any, delivery: Any, files: list[Path]) -> dict[str, Any]:
        """Record of one series. The reader takes a series as a folder, so its files are gathered in one by links."""
        from scripts.errors import InputError
        from scripts.outputs.captioned_case import CaptionedCase
        from scripts.outputs.record import caption_record

        named = str(files[0] if len(files) == 1 else files[0].parent)  # as the user knows it
        with tempfile.TemporaryDirectory(prefix="series") as folder:
            source = gathered(files, Path(folder) / files[0].parent.name)
            try:
                case = predictor.caption(source, **self.options).case
                case = replace(case, record={**case.record, "image": named})
            except InputError as error:
                self.failed += 1
                reason = str(error).replace(str(source), named)
                self._log.error("%s", reason)
                record = caption_record(named, caption=None, token_logprobs=None, meta=None,
                                        error=reason, provenance=predictor.provenance)  # fmt: skip
                case = CaptionedCase(named, record, None, ())
            return dict(delivery.deliver(case).record)


def series_files(selected: Sequence[Any]) -> list[list[Path]]:
    """The files of each selected series of each study; reports, segmentations and the like are left out."""
    from scripts.reading.dicom.kinds import is_no_image

    found = []
    for study in selected or ():
        for item in study.selected_series:
            images = [instance.get_native_sop_instance() for instance in item.series.get_sop_instances()]
            modality = str(item.series.Modality or "")
            files = [Path(i.filename) for i in images if not is_no_image(str(i.get("SOPClassUID", "")), modality)]
            if files:
                found.append(sorted(files))
    return found


def gathered(files: Sequence[Path], folder: Path) -> Path:
    """A single file as it is; several as links in ``folder``, which is made."""
    if len(files) == 1:
        return files[0]
    folder.mkdir(parents=True)
    for number, file in enumerate(files):
        os.symlink(file.resolve(), folder / f"{number:05d}-{file.name}")
    return folder
