"""Setting the captioner up: from a folder of wheels, cancelled half-way, repaired, removed; wrong input is said."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ImageCaptioningLib.captioners.local import close_shared
from ImageCaptioningLib.errors import CaptioningError
from ImageCaptioningLib.jobs import CancelledError, Job, Progress
from ImageCaptioningLib.setup import installation, pythons
from ImageCaptioningLib.setup.bundle_source import fetch_bundle, requirements_of
from ImageCaptioningLib.setup.installation import Installation, Wish
from ImageCaptioningLib.setup.pythons import Python, choose_python, look_at

WORKER = """
import json, sys
import torch, monai, numpy, extra   # the made wheels: only where they were installed
for line in sys.stdin:
    request = json.loads(line)
    version = f"{torch.NAME} {monai.NAME} {numpy.NAME} {extra.NAME}"
    print(json.dumps({"id": request["id"], "ok": True, "result": {"model_version": version}}), flush=True)
"""
NEEDED = {"torch": "2.13.0", "monai": "1.6.1", "numpy": "2.4.6", "extra": "1.0"}


def write_wheel(folder: Path, name: str, version: str, requires: str = "", size: int = 0) -> Path:
    """A whole wheel of one module, as any build tool makes it; ``size`` bytes of ballast."""
    record, information = [], f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + (
        f"Requires-Dist: {requires}\n" if requires else ""
    )
    files = {
        f"{name}.py": f"NAME = {name!r}\n".encode(),
        f"{information}/METADATA": metadata.encode(),
        f"{information}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **({f"{name}_ballast.bin": os.urandom(size)} if size else {}),
    }
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, content in files.items():
            wheel.writestr(file, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{file},sha256={digest},{len(content)}")
        wheel.writestr(f"{information}/RECORD", "\n".join([*record, f"{information}/RECORD,,"]) + "\n")
    return path


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """Wheels of the packages that the made bundle needs; one of them needs another one."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, version in NEEDED.items():
        write_wheel(folder, name, version, "further" if name == "extra" else "", size=200_000)
    write_wheel(folder, "further", "3.1")
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A made bundle with a worker that needs the wheels."""
    folder = tmp_path / "made bundle" / "msmedcap"
    (folder / "configs").mkdir(parents=True)
    (folder / "scripts" / "commands").mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text(
        '{"pytorch_version": "2.13.0", "monai_version": "1.6.1", "numpy_version": "2.4.6",'
        ' "required_packages_version": {"extra": "1.*"}}'
    )
    (folder / "scripts" / "__init__.py").touch()
    (folder / "scripts" / "commands" / "__init__.py").touch()
    (folder / "scripts" / "commands" / "worker.py").write_text(WORKER)
    return folder


@pytest.fixture
def packed(bundle: Path, tmp_path: Path) -> Path:
    """The made bundle as ``make package`` packs one."""
    path = tmp_path / "msmedcap_v0.1.0.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(bundle.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(bundle.parent))
    return path


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with pip and nothing else, as Slicer's own is for the captioner."""
    folder = tmp_path_factory.mktemp("bare") / "python"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Installation]:
    yield Installation(tmp_path / "user" / "ImageCaptioning", least_free=1)
    close_shared()


def _wish(source: Path, wheels: Path, python: Path) -> Wish:
    return Wish(str(source), str(python), str(wheels))


def test_from_a_folder_of_wheels_into_an_empty_environment_and_away_again(
    place: Installation, packed: Path, wheels: Path, bare_python: Path, tmp_path: Path
) -> None:
    before = sorted(path for path in tmp_path.rglob("*") if path != place.root.parent)
    assert place.faults() == ["nothing is set up yet"]
    progress = Progress()
    assert place.install(_wish(packed, wheels, bare_python), progress) == "torch monai numpy extra"
    assert place.faults() == [] and progress.fraction == 1.0
    lines = progress.take_lines()
    assert any("further-3.1" in line or "Collecting further" in line for line in lines)  # what a package needs, too
    assert sorted(path.name for path in place.root.iterdir() if path.is_dir()) in (
        ["bundle", "packages"], ["bundle", "cache", "packages"])  # fmt: skip
    assert not [path for path in place.root.rglob("__pycache__") if "cache" not in path.relative_to(place.root).parts]
    bare = subprocess.run([str(bare_python), "-c", "import torch"], capture_output=True, text=True)
    assert "ModuleNotFoundError" in bare.stderr  # that Python itself stays as it was
    worker = place.worker()
    assert worker.check() == "torch monai numpy extra" and place.worker() is worker  # a running one is used again

    place.remove()
    assert not worker.running and not place.root.exists() and not place.is_there
    assert sorted(path for path in tmp_path.rglob("*") if path != place.root.parent) == before


def test_cancelled_half_way_and_repaired(
    place: Installation, packed: Path, wheels: Path, bare_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = wheels.parent / "slow.py"  # pip, held up where it unpacks: a cancel always meets it at work
    slow.write_text(
        "import runpy, sys, time\nimport pip._internal.operations.install.wheel as w\nold = w.install_wheel\n"
        "def new(*a, **k):\n    time.sleep(0.6)\n    return old(*a, **k)\n"
        "import pip._internal.req.req_install as r\nr.install_wheel = new\nsys.argv[0] = 'pip'\n"
        "runpy.run_module('pip', run_name='__main__')\n"
    )
    from ImageCaptioningLib.setup import packages

    real = packages._command
    monkeypatch.setattr(packages, "_command", lambda *a: [str(bare_python), str(slow), *real(*a)[3:]])
    job = Job(lambda progress: place.install(_wish(packed, wheels, bare_python), progress))
    while not any(path.name.endswith(".py") for path in (place.root / "packages.tmp").rglob("*")):
        assert not job.done, job.error
        time.sleep(0.02)
    job.cancel()
    job.join(30)
    assert isinstance(job.error, CancelledError)
    assert place.faults() == ["the set-up was not finished"]
    left = sorted(path.name for path in place.root.iterdir())
    assert "packages" not in left and not any(name.endswith((".new", ".tmp")) for name in left)

    monkeypatch.undo()
    assert place.install(_wish(packed, wheels, bare_python), Progress()) == "torch monai numpy extra"
    assert place.faults() == []
    (place.packages / "monai.py").write_text("")  # broken later on
    assert place.faults() == ["the package monai is missing or broken"]
    assert place.install(place.wish(), Progress()) == "torch monai numpy extra"
    assert place.faults() == []
    for file in (place.packages).glob("numpy*"):
        file.unlink() if file.is_file() else [part.unlink() for part in file.iterdir()]
    assert any("numpy" in fault for fault in place.faults())


def test_a_failed_installation_says_why_and_leaves_no_half(
    place: Installation, packed: Path, wheels: Path, bare_python: Path
) -> None:
    next(wheels.glob("further*")).unlink()
    with pytest.raises(CaptioningError, match="could not be installed: .*further"):
        place.install(_wish(packed, wheels, bare_python), Progress())
    assert not place.packages.exists() and place.faults() == ["the set-up was not finished"]
    with pytest.raises(CaptioningError, match="press 'Set up'"):
        place.worker()
    with pytest.raises(CaptioningError, match="no folder of wheels"):
        place.install(_wish(packed, wheels / "none", bare_python), Progress())


def test_a_bundle_that_cannot_start_is_said(place: Installation, bundle: Path, wheels: Path, bare_python: Path) -> None:
    (bundle / "scripts" / "commands" / "worker.py").write_text("raise SystemExit('no starter weights here')")
    with pytest.raises(CaptioningError, match="process ended: no starter weights here"):
        place.install(_wish(bundle, wheels, bare_python), Progress())
    assert place.faults() == ["the set-up was not finished"]
    place.remove()
    assert bundle.is_dir() and not list(bundle.rglob("__pycache__"))  # the user's own folder stays as it was


def test_a_full_disk_is_said_before_anything_is_fetched(
    packed: Path, wheels: Path, bare_python: Path, tmp_path: Path
) -> None:
    place = Installation(tmp_path / "full", least_free=1 << 60)
    with pytest.raises(CaptioningError, match="GB are needed: make room first"):
        place.install(_wish(packed, wheels, bare_python), Progress())
    assert list(place.root.iterdir()) == []


class TestBundles:
    def test_a_folder_is_used_where_it_is(self, bundle: Path, tmp_path: Path) -> None:
        assert fetch_bundle(str(bundle), tmp_path / "to", Progress()) == bundle
        assert fetch_bundle(str(bundle.parent), tmp_path / "to", Progress()) == bundle
        assert not (tmp_path / "to").exists()
        assert requirements_of(bundle) == ["torch==2.13.0", "monai==1.6.1", "numpy==2.4.6", "extra==1.*"]  # ranges stay

    def test_an_address_is_fetched_and_its_sum_is_checked(self, packed: Path, tmp_path: Path) -> None:
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(packed.parent))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
            threading.Thread(target=served.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{served.server_port}/{packed.name}"
            digest = hashlib.sha256(packed.read_bytes()).hexdigest()
            found = fetch_bundle(f"{url}#sha256={digest}", tmp_path / "to", Progress())
            assert found == tmp_path / "to" / "msmedcap"
            with pytest.raises(CaptioningError, match="another SHA-256"):
                fetch_bundle(f"{url}#sha256={'0' * 64}", tmp_path / "to", Progress())
            assert found.is_dir()  # what is there stays
            with pytest.raises(CaptioningError, match="cannot be fetched .HTTP 404"):
                fetch_bundle(url + "x", tmp_path / "to", Progress())
            served.shutdown()
        assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("to")) == ["to"]
        with pytest.raises(CaptioningError, match="begins with https"):
            fetch_bundle("http://bundles.example/x.zip", tmp_path / "to", Progress())
        with pytest.raises(CaptioningError, match="begins with https"):
            fetch_bundle("file:///etc/passwd", tmp_path / "to", Progress())

    @pytest.mark.parametrize("member", ["../out.txt", "/abs.txt", "a/../../out.txt", "C:\\out.txt", "..\\out.txt"])
    def test_a_zip_that_leads_out_is_refused(self, member: str, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
            archive.writestr(member, "x")
        with pytest.raises(CaptioningError, match="leads out of it"):
            fetch_bundle(str(tmp_path / "bad.zip"), tmp_path / "to", Progress())
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.zip"]

    def test_what_is_no_bundle_is_said(self, tmp_path: Path, packed: Path) -> None:
        (tmp_path / "text.zip").write_text("no zip")
        with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
            archive.writestr("readme.txt", "x")
        (tmp_path / "cut.zip").write_bytes(packed.read_bytes()[:400])
        (tmp_path / "empty").mkdir()
        for source, said in (
            ("", "name the bundle first"), (tmp_path / "none", "does not exist"),
            (tmp_path / "empty", "not the captioning bundle"), (tmp_path / "text.zip", "not a whole zip"),
            (tmp_path / "cut.zip", "not a whole zip"), (tmp_path / "other.zip", "does not hold the captioning bundle"),
        ):  # fmt: skip
            with pytest.raises(CaptioningError, match=said):
                fetch_bundle(str(source), tmp_path / "to", Progress())
        assert not (tmp_path / "to").exists()


class TestPythons:
    def test_the_first_that_fits_is_taken(self, bare_python: Path) -> None:
        assert look_at(bare_python).fault is None
        assert choose_python(str(bare_python)).executable == bare_python
        with pytest.raises(CaptioningError, match="no Python that can be started"):
            choose_python("/nowhere/python")

    def test_an_old_one_is_refused_with_the_remedy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        old = Python(Path("/opt/slicer/PythonSlicer"), (3, 9), True, True)
        monkeypatch.setattr(pythons, "look_at", lambda path: old)
        with pytest.raises(CaptioningError, match="is Python 3.9, and 3.11 or later is needed: choose another Python"):
            choose_python("/opt/slicer/PythonSlicer")
        with pytest.raises(CaptioningError, match="install Python 3.11 and name it"):
            choose_python()
        assert "no pip" in Python(Path("p"), (3, 12), False, True).fault
        assert "32-bit" in Python(Path("p"), (3, 12), True, False).fault


def test_the_set_up_needs_the_standard_library_only(tmp_path: Path) -> None:
    """In a Python without any installed package: it is Slicer's, whatever Slicer's holds."""
    folder = Path(installation.__file__).parents[2]
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import ImageCaptioningLib.setup.installation"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
