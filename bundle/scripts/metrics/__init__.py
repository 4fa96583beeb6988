"""Evaluation of captions: scores, checks that scores hide, baselines, tests between systems, and the report.

python -m scripts.metrics --predictions captions.jsonl --references datalist.json --baselines
python -m scripts.metrics.report --evaluation evaluation.json --captions captions.jsonl --datalist datalist.json
"""

from .caption_metrics import CaptionMetrics, caption_scores

__all__ = ["CaptionMetrics", "caption_scores"]
