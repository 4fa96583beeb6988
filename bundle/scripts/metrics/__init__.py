"""Scores of captions: text overlap, fields, checks that scores hide, baselines, tests between systems, and the report.

python -m scripts.metrics --predictions captions.jsonl --references datalist.json --baselines
python -m scripts.metrics.report --evaluation evaluation.json --captions captions.jsonl --datalist datalist.json
"""

from typing import Any

from scripts import loads_submodules

__all__ = ["CaptionMetrics", "caption_scores"]

_submodule = loads_submodules(__name__)


def __getattr__(name: str) -> Any:
    """Load what needs Ignite when it is asked for: captioning reads fields off captions and starts without it."""
    if name in __all__:
        from scripts.metrics import caption_metrics

        return getattr(caption_metrics, name)
    return _submodule(name)
