"""The results report: one HTML page and one Markdown file, with nothing fetched from anywhere.

python -m scripts.metrics.report --evaluation evaluation.json --captions captions.jsonl --datalist datalist.json
"""

from scripts import loads_submodules

__getattr__ = loads_submodules(__name__)
