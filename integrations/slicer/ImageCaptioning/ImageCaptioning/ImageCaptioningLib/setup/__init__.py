"""Putting the captioner on this computer, with nothing but the standard library: Python, packages, bundle."""
