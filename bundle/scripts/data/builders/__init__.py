"""Datalists of public data sets and of anybody's tables: a layout says what is where, one program reads them all."""

from scripts.data.builders.build import BuildOptions, BuildReport, build_datalist
from scripts.data.builders.entries import CaseOptions
from scripts.data.builders.generic import GENERIC, NamedColumns, generic_layout
from scripts.data.builders.layout import Layout, layout_names, load_layout

__all__ = [
    "GENERIC",
    "BuildOptions",
    "BuildReport",
    "CaseOptions",
    "Layout",
    "NamedColumns",
    "build_datalist",
    "generic_layout",
    "layout_names",
    "load_layout",
]
