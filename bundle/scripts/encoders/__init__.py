"""Image encoders: ``[B, 3, H, W]`` in [0, 1] -> tokens ``[B, N, C]``, frozen, resizing and normalising inside."""
