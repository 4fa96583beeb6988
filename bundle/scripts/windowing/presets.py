"""CT windows by name, centre and width in Hounsfield units.

Sources: [R] "Windowing (CT)", Radiopaedia.org, section on typical window width and level values, for all but
angiography; where it gives a range (subdural: width 130 to 300, level 50 to 100), the middle is taken. [O] Orthanc
Stone Web Viewer's preset "CT Angio". "spine" is [R]'s soft tissue window of the spine, "bone" its bone window of the
spine, "soft_tissue" its abdomen window under a general name. OHIF's defaults agree on lung, brain and the width of
soft tissue; they set liver at 90/150 and bone at 480/2500.
"""

from __future__ import annotations

from dataclasses import dataclass

from scripts.errors import InputError


@dataclass(frozen=True)
class Window:
    """``centre`` and ``width``; values below ``low`` are black, above ``high`` white."""

    centre: float
    width: float
    name: str = ""

    @property
    def low(self) -> float:
        return self.centre - self.width / 2

    @property
    def high(self) -> float:
        return self.centre + self.width / 2


CT_PRESETS: dict[str, Window] = {
    name: Window(centre, width, name)
    for name, centre, width in (
        ("lung", -600, 1500),
        ("mediastinum", 50, 350),
        ("abdomen", 50, 400),
        ("liver", 30, 150),
        ("bone", 400, 1800),
        ("spine", 50, 250),
        ("brain", 40, 80),
        ("subdural", 75, 215),
        ("stroke", 40, 40),
        ("temporal_bone", 600, 2800),
        ("soft_tissue", 50, 400),
        ("angiography", 300, 600),
    )
}
COMPOSITES: dict[str, tuple[str, str, str]] = {
    "composite": ("lung", "mediastinum", "bone"),
    "composite_head": ("brain", "subdural", "bone"),
}
"""Three windows as the three channels of one image."""


def ct_window(name: str, path: str) -> Window:
    """The preset called ``name``.

    Raises:
        InputError: there is none.
    """
    if name not in CT_PRESETS:
        known = ", ".join([*CT_PRESETS, *COMPOSITES])
        raise InputError(f"{path}: window {name!r} is not known; give 'auto', 'file', 'centre/width' or one of {known}")
    return CT_PRESETS[name]
