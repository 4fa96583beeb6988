"""Words of a caption that name a kind of image, whatever the wording: "diffusion-weighted imaging" is of MR.

`fields.read_fields` gives the one answer by which captions are scored, in the terms of the training captions. Here
every word of any caption that commits it to a family, a weighting or a plane is found, so that a caption that says
two things, or says one in words that no training caption has, is not taken for one that agrees with its file.
"""

from __future__ import annotations

import re
from functools import lru_cache

from scripts.concepts.fields import before_finding, planes_in

_WORDS = {
    "CT": r"(?:[a-z-]*enhanced |non-?contrast )?c\.?t\.?(?: (?:angio|myelo|uro)gra(?:m|phy))?|cta|hrct|cat scans?|"
    r"computed tomogra(?:m|phy|ms)|computerized tomography|hounsfield",
    "MR": r"mr (?:(?:angio|veno|arthro)gra(?:m|phy)|images?|imaging)|mri?s?|mra|mrv|mrcp|"
    r"magnetic[- ]resonance(?: \w+)?|t[12]\*?[- ]?w(?:eighted|i)?|t[12]\*? (?:images?|imaging|sequences?)|flair|stir|"
    r"spgr|mprage|fiesta|swi|dwi|adc|diffusion[- ](?:weighted|tensor)(?: images?| imaging)?|proton[- ]density|"
    r"pd[- ]weighted|(?:gradient|spin)[- ]echo|gadolinium|susceptibility[- ]weighted|fluid[- ]attenuated",
    "XR": r"x-?rays?|x rays?|radiogra(?:phs?|phy|ms?)|plain[- ]films?|roentgenograms?|densitometry|orthopantomograms?",
    "RF": r"fluoroscop(?:y|ic)|barium (?:swallow|enema|meal|study|follow[- ]through)|upper gi|esophagrams?|"
    r"small[- ]bowel follow[- ]through|hysterosalpingograms?|(?:cyst|ur|pyel|arthr|cholangi)ogra(?:m|phy)",
    "AN": r"angiogra(?:ms?|phy)|arteriogra(?:ms?|phy)|venogra(?:ms?|phy)|aortogra(?:m|phy)|dsa",
    "US": r"ultraso(?:und|nic|nogram|nography)(?: images?)?|sono(?:grams?|graphy|graphic)|doppler(?: ultrasound)?|"
    r"echocardiogra(?:m|phy)",
    "MG": r"mammo(?:grams?|graphy|graphic)|(?:breast )?tomosynthesis",
    "NM": r"nuclear[- ]medicine(?: \w+)?|scintigra(?:m|phy|phic)|bone scans?|spect",
    "PT": r"pet(?:[- /]ct(?: fusion)?)?|positron[- ]emission(?: tomography)?|fdg",
    "ES": r"endoscopy|endoscopic (?:images?|views?)|(?:colon|gastr|lapar|cyst|colp|bronch)oscopy",
    "GM": r"microscopy|microscopic images?|(?:photo)?micrographs?|histology|(?:histologic|pathology) slides?",
    "OCT": r"optical coherence tomogra(?:m|phy)|oct",
    "OP": r"ophthalmic (?:images?|photographs?)|ophthalmoscopy|fund[uo]scopy|fundus photographs?",
    "XC": r"photographs?|photos?|dermoscop(?:y|ic)",
    "TG": r"thermogra(?:ms?|phy|phic)",
    "LS": r"surface scans?",
    "DG": r"diaphanogra(?:m|phy)",
    "PA": r"photoacoustic",
    "BI": r"biomagnetic",
}
"""Family -> words that name it wherever they stand: none that a finding has ("T1 fracture", "gastric fundus")."""
_ANY = re.compile(
    r"(?<![\w*-])(?:" + "|".join(f"(?P<{family}>(?:{words}))(?![\\w*])" for family, words in _WORDS.items()) + ")"
)
_WEIGHTINGS = {
    "ADC": r"adc|apparent diffusion", "DWI": r"diffusion|dwi", "FLAIR": r"flair|fluid[- ]attenuated", "STIR": r"stir",
    "T2*": r"t2\*|t2-star", "T2": r"t2(?!\*|-star)", "T1": r"t1", "PD": r"proton[- ]density|pd[- ]weighted",
    "SSFP": r"fiesta", "MRA": r"mra|mr (?:angio|veno)gra(?:m|phy)",
}  # fmt: skip
_WEIGHTING_PATTERNS = {name: re.compile(rf"(?<![\w*-])(?:{words})") for name, words in _WEIGHTINGS.items()}
_WITHOUT_CONTRAST = re.compile(r"non-?contrast|unenhanced|without (?:\w+ )?contrast")


@lru_cache(maxsize=4096)
def families_in(caption: str) -> frozenset[str]:
    """Families ("CT", "MR", "XR", ...) of all modality words in a caption, those of its finding too."""
    text, found, place = " ".join(caption.lower().split()), set(), 0
    while match := _longest(text, place):
        family, place = match
        found.add(family)
    return frozenset(found)


def _longest(text: str, start: int) -> tuple[str, int] | None:
    """Family and end of the next modality word; of several that begin there the longest ("ct" in "pet-ct" is none)."""
    first = _ANY.search(text, start)
    if first is None:
        return None
    begun = [
        (family, match.end()) for family, pattern in _SINGLE.items() if (match := pattern.match(text, first.start()))
    ]
    return max(begun, key=lambda pair: pair[1])


_SINGLE = {family: re.compile(rf"(?:{words})(?![\w*])") for family, words in _WORDS.items()}


def weightings_in(caption: str) -> set[str]:
    """MR weightings that a caption names before its finding; "T2*" is no "T2", and an ADC map no diffusion image."""
    text = before_finding(caption).lower()
    found = {name for name, pattern in _WEIGHTING_PATTERNS.items() if pattern.search(text)}
    return found - {"DWI"} if "ADC" in found else found


def planes_in_view(caption: str) -> set[str]:
    """Planes and projections, by their names in `fields`, that a caption names before its finding."""
    return planes_in(before_finding(caption))


def says_without_contrast(caption: str) -> bool:
    """Whether a caption says that no contrast agent was given."""
    return bool(_WITHOUT_CONTRAST.search(before_finding(caption).lower()))
