"""Stands in for ``pydicom-seg``, which MONAI Label imports at start and which does not run with pydicom 3.

Only its conversion of DICOM SEG masks would use it, and captions have none.
"""
