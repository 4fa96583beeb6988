"""Test captions that stand in training: what they are worth as a test."""

from __future__ import annotations

from collections.abc import Sequence

WARN_ABOVE = 0.01


def leak_warnings(
    images: Sequence[str], captions: Sequence[str], training_images: Sequence[str], training: Sequence[str]
) -> list[str]:
    """Sentences on test images and captions that are in the training split of the same datalist.

    Captions are compared in lower case with white space joined. Short template captions repeat by chance, so the
    sentence gives the share and says what to do.

    Args:
        images, captions: of the references.
        training_images, training: of the training split.
    """
    warnings = []
    known = {_plain(text) for text in training}
    both = sum(_plain(text) in known for text in captions)
    if captions and both / len(captions) > WARN_ABOVE:
        warnings.append(
            f"{both} of {len(captions)} reference captions stand word for word in training; where the images do, too, "
            "scores are too good: `python -m scripts.commands.datalist leaks` tells"
        )
    if same := set(images) & set(training_images):
        warnings.append(f"{len(same)} of {len(images)} test images are training images, such as {min(same)}")
    return warnings


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
