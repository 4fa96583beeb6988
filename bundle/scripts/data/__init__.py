"""Data: datalists, the feature cache, the data set and its batches."""

from .captions import TokenizeCaptiond, clean_caption
from .collate import collate_cases
from .datalist import image_paths, inference_items, load_datalist
from .dataset import CaptionDataset, caption_dataset, feature_caches
from .feature_cache import BuildReport, FeatureCache

__all__ = [
    "BuildReport",
    "CaptionDataset",
    "FeatureCache",
    "TokenizeCaptiond",
    "caption_dataset",
    "clean_caption",
    "collate_cases",
    "feature_caches",
    "image_paths",
    "inference_items",
    "load_datalist",
]
