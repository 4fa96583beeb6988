"""Captioners: a process on this computer, a MONAI Label server, or the HTTP service of the bundle."""
