"""Captions for other programs: one process that keeps the network, one JSON object a line in, one a line out.

    python -m scripts.commands.worker --bundle bundle

    > {"id": 1, "do": "caption", "image": "slice.png", "options": {"window": "40/400", "explain": true}}
    < {"id": 1, "ok": true, "result": {"caption": "...", "confidence": 0.88, ...}}
    > {"id": 2, "do": "region", "caption": "the reply's id", "word": 4}
    < {"id": 2, "ok": true, "result": {"size": 256, "inside": "base64"}}
    > {"id": 3, "do": "report", "source": "series_folder", "caption": "...", "output": "report.dcm"}
    < {"id": 3, "ok": true, "result": {"file": "report.dcm"}}

A region is what SAM's mask decoder draws around the peak of a word of the last explained caption, which its ``id``
names: bits ``[size, size]`` over the network's square, row by row, the first in the highest bit of a byte.

A report of a caption that was withheld (``"abstained": true``) needs ``"edited"`` or ``"confirmed": true``.
What a request does wrong comes back as ``{"ok": false, "error": "one sentence"}`` and the worker lives on; it ends when
its input ends. Programs whose own Python should not load torch (3D Slicer) start it beside them.
"""

from __future__ import annotations

import argparse
import base64
import json
import logging
import os
import secrets
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from scripts import BUNDLE
from scripts.commands.options import options_of
from scripts.commands.replies import reply_of
from scripts.errors import InputError, WeightsError, where
from scripts.kernels.allocator import keep_memory
from scripts.kernels.free_cores import follow_free_cores
from scripts.predictor import Caption, CaptionPredictor
from scripts.reading.dicom.source_plane import images_in

logger = logging.getLogger(__name__)

REPORTED = (
    "caption", "confidence", "calibrated_confidence", "token_confidence", "finding_confidence", "findings",
    "model_version", "weights",
)  # fmt: skip
"""What a report tells of a caption, by the names of a reply."""


class Worker:
    """Answers requests.

    Args:
        bundle: the bundle folder.
        overrides: values of its inference config, such as ``weights``.
    """

    def __init__(self, bundle: str | Path, **overrides: Any) -> None:
        self.bundle = Path(bundle)
        self.overrides = overrides
        self._predictor: CaptionPredictor | None = None
        self._last: tuple[str, Caption] | None = None
        self._known: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "hello": self._hello,
            "caption": self._caption,
            "region": self._region,
            "report": self._report,
        }

    def answer(self, line: str) -> dict[str, Any]:
        """Reply to one line."""
        number = None
        try:
            request = _parsed(line)
            if not isinstance(request, dict) or request.get("do") not in self._known:
                raise InputError(f"a request is a JSON object whose 'do' is {', '.join(self._known)}")
            number = request.get("id")
            return {"id": number, "ok": True, "result": self._known[request["do"]](request)}
        except (InputError, WeightsError) as error:
            return {"id": number, "ok": False, "error": " ".join(str(error).split())}
        except Exception as error:  # one bad request must not end the worker; the log has the place
            logger.error("request failed: %s", where(error))
            return {"id": number, "ok": False, "error": f"the request failed ({type(error).__name__}); see the log"}

    def _hello(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Load the network, so that the first caption comes as quickly as the others."""
        version = self._network().provenance.get("model_version")
        return {"model_version": version, "process": os.getpid()}

    def _caption(self, request: Mapping[str, Any]) -> dict[str, Any]:
        image = request.get("image")
        if not isinstance(image, str) or not image:
            raise InputError("a caption request names its 'image', a path")
        options = options_of(dict(request.get("options") or {})).given()
        options["prompt"] = options.get("prompt") or None
        self._last = secrets.token_urlsafe(12), self._network().caption(image, **options)
        return {**reply_of(self._last[1], show_withheld=True).model_dump(), "id": self._last[0]}

    def _region(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Draw the region of a word of the last caption.

        Raises:
            InputError: another image was captioned since, or the word has no region.
        """
        if self._last is None or request.get("caption") != self._last[0]:
            raise InputError("another image was captioned since: caption this one again to see the region of a word")
        explanation, word = self._last[1].case.explanation, request.get("word")
        regions = None if explanation is None else explanation.regions
        if (
            regions is None
            or not isinstance(word, int)
            or not 0 <= word < len(regions)
            or not explanation.visible[word]
        ):
            raise InputError("there is no region for this word")
        inside = regions[word, 0].cpu().numpy() > 0
        return {"size": len(inside), "inside": base64.b64encode(np.packbits(inside)).decode("ascii")}

    def _report(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Write a caption as a report of the source's own patient and study: ``format`` ``dicom_sr`` or ``fhir``.

        Raises:
            InputError: something is missing, or the caption is withheld and a person neither changed nor confirmed it.
        """
        from scripts.outputs.dicom.sr import write_sr
        from scripts.outputs.fhir import write_fhir

        writers = {"dicom_sr": partial(write_sr, kind=request.get("kind", "basic")), "fhir": write_fhir}
        source, output, plane = request.get("source"), request.get("output"), request.get("plane")
        if not source or not isinstance(output, str):
            raise InputError("a report request names its 'source' (DICOM files) and 'output' (file to write)")
        if request.get("format", "dicom_sr") not in writers:
            raise InputError(f"a report's 'format' is {' or '.join(writers)}, not {request['format']!r}")
        if request.get("abstained") and not (request.get("edited") or request.get("confirmed")):
            raise InputError("the model is not sure enough of this caption: edit it, or confirm that it is right")
        record = {name: request[name] for name in REPORTED if name in request}
        files = [source] if isinstance(source, str) else list(source)
        written = writers[request.get("format", "dicom_sr")](
            images_in(files, plane) if plane else files,
            record,
            output,
            edited=bool(request.get("edited")),
            when=datetime.now().astimezone(),
        )
        return {"file": str(written)}

    def _network(self) -> CaptionPredictor:
        if self._predictor is None:
            self._predictor = CaptionPredictor.from_bundle(self.bundle, **self.overrides)
        return self._predictor


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise InputError("the line is not JSON") from None


def serve(worker: Worker, lines: Iterable[str], replies: IO[str]) -> None:
    """Answer each line until there are no more."""
    for line in lines:
        if line.strip():
            replies.write(json.dumps(worker.answer(line), allow_nan=False) + "\n")
            replies.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default=BUNDLE, help="the bundle folder")
    parser.add_argument("--weights", help="another checkpoint than the bundle's")
    given = parser.parse_args(arguments)
    keep_memory()
    follow_free_cores()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    # What libraries print must not come between replies: they get standard error, replies the true standard output.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    worker = Worker(given.bundle, **({"weights": given.weights} if given.weights else {}))
    sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")  # a line of other bytes is one bad request
    serve(worker, sys.stdin, replies)
    return 0


if __name__ == "__main__":
    sys.exit(main())
