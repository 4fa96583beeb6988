"""Parts of the captioning app; MONAI Label expects them under this name."""
