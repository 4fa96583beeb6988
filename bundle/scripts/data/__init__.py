"""Data: datalists, the feature cache, the data set and its batches."""

from scripts import loads_submodules
from scripts.data.cache.cache_options import CacheOptions
from scripts.data.cache.feature_cache import BuildReport, FeatureCache, feature_caches
from scripts.data.collate import collate_cases
from scripts.data.datalist import image_paths, inference_items, load_datalist
from scripts.data.dataset import CaptionDataset, caption_dataset
from scripts.data.epoch_sampler import EpochSampler

__all__ = [
    "BuildReport",
    "CacheOptions",
    "CaptionDataset",
    "EpochSampler",
    "FeatureCache",
    "caption_dataset",
    "collate_cases",
    "feature_caches",
    "image_paths",
    "inference_items",
    "load_datalist",
]

__getattr__ = loads_submodules(__name__)
