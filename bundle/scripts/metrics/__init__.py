"""Scores of captions: text overlap, fields, checks that scores hide, baselines, tests between systems, and the report.

python -m scripts.metrics --predictions captions.jsonl --references datalist.json --baselines
python -m scripts.metrics.report --evaluation evaluation.json --captions captions.jsonl --datalist datalist.json
"""

from scripts import loads_submodules

# What needs Ignite is loaded when it is asked for: captioning reads fields off captions and starts without it.
__getattr__ = loads_submodules(__name__, dict.fromkeys(("CaptionMetrics", "caption_scores"), "caption_metrics"))
