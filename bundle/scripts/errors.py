"""Errors that a user can cause, each carrying one sentence that names the thing and the remedy."""

from __future__ import annotations

import errno
import sys
import traceback
from types import TracebackType

DISK = {
    errno.ENOSPC: "the disk is full: free space",
    errno.EDQUOT: "your quota on this disk is used up: free space",
    errno.EROFS: "the disk is read-only: give another folder",
}
"""What a disk may refuse -> what to do."""


class InputError(ValueError):
    """A file, folder, datalist or option that cannot be used; the message names it and says what to do."""


NOT_EXPORTED = (
    "a captioner writes word by word in a search that neither TorchScript, ONNX nor TensorRT can hold: share the "
    "packed bundle (make package), and caption with scripts.predictor.CaptionPredictor or the service "
    "(python -m scripts.commands.serve)"
)
"""Why this network is not exported, and what to use instead."""


class WeightsError(RuntimeError):
    """Weights that are absent, damaged, or do not fit the network; the message names the file or key."""


def user_cause(error: BaseException) -> InputError | WeightsError | None:
    """The ``InputError`` or ``WeightsError`` that an error was raised from, or is; None if there is none.

    MONAI wraps what a transform or a config expression raises; a user needs the cause.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, (InputError, WeightsError)):
        cause = cause.__cause__
    return cause


def sentence(error: BaseException | None) -> str | None:
    """What a user is told of the first ``InputError``, ``WeightsError`` or unusable disk in a chain of causes.

    None if there is none. MONAI wraps what a config expression raises; a user needs the cause.
    """
    while error is not None:
        if isinstance(error, (InputError, WeightsError)):
            return " ".join(str(error).split())
        if isinstance(error, OSError) and error.errno in DISK:
            return f"{error.filename or 'a file'} could not be written: {DISK[error.errno]}, then run the same again"
        error = error.__cause__ or error.__context__
    return None


def where(error: BaseException | None) -> str:
    """Kind and frames of an error and of its causes, the first cause first, for a log.

    Their texts are left out: they may quote the header of an image, which names a patient.
    """
    if error is None:
        return ""
    frames = "".join(traceback.format_tb(error.__traceback__))
    return where(error.__cause__ or error.__context__) + f"{type(error).__name__}, raised at:\n{frames}"


def show_sentences() -> None:
    """From now on an uncaught error that a user can cause ends the program with its sentence, not a traceback."""
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        text = sentence(error)
        if text is None:
            usual(kind, error, trace)
        else:
            print(f"error: {text}", file=sys.stderr)

    if getattr(usual, "__name__", "") != "hook":
        sys.excepthook = hook
