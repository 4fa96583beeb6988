"""Names that a library reads: nibabel goes by a file's ending, not by its bytes."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref


class FittingName:
    """``path``: the file, or a link to it with another ending, which is there as long as this object.

    Args:
        path: the file.
        ending: that it must have.
    """

    def __init__(self, path: str, ending: str) -> None:
        self.path = path
        if not path.lower().endswith(ending):
            folder = tempfile.mkdtemp(prefix="msmedcap_")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            self.path = os.path.join(folder, f"image{ending}")
            _link(os.path.abspath(path), self.path)


def _link(path: str, link: str) -> None:
    try:
        os.symlink(path, link)
    except OSError:  # a system, or an account, that has no links
        shutil.copyfile(path, link)
