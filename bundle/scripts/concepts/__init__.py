"""The concept reader, no part of the paper: fields of captions, vocabulary, tagger, reader, guide, prior, header."""

from scripts import loads_submodules

__getattr__ = loads_submodules(__name__)
