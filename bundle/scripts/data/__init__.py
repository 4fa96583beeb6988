"""Data: datalists, the feature cache, the data set and its batches.

Names load their modules at first use: what captioning takes from here (datalists, batches) comes without MONAI.
"""

from scripts import loads_submodules

_MODULES = {
    "BuildReport": "cache.feature_cache",
    "CacheOptions": "cache.cache_options",
    "CaptionDataset": "dataset",
    "EpochSampler": "epoch_sampler",
    "FeatureCache": "cache.feature_cache",
    "caption_dataset": "dataset",
    "collate_cases": "collate",
    "feature_caches": "cache.feature_cache",
    "image_paths": "datalist",
    "inference_items": "datalist",
    "load_datalist": "datalist",
}
__all__ = list(_MODULES)

__getattr__ = loads_submodules(__name__, _MODULES)
