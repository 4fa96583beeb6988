"""Names of planes in the user's language."""

from __future__ import annotations

from slicer.i18n import tr as _


def plane_name(plane: str) -> str:
    """Such as ``axial``; another text, such as that of an oblique view, as it is."""
    names = {"axial": _("axial"), "coronal": _("coronal"), "sagittal": _("sagittal"), "oblique": _("oblique")}
    return names.get(plane, plane)
