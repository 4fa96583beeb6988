"""Weights: ``starter`` fetches and verifies what the starter preset needs; ``gguf`` converts its language model."""
