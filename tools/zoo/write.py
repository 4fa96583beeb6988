"""Write the files of a pull request to MONAI's model zoo: ``make zoo``.

    python tools/zoo/write.py bundle dist/zoo --url https://example.org/msmedcap/

``dist/zoo`` then holds, at the places that they have in the zoo's repository, ``models/msmedcap`` (formatted by the
zoo's own settings, each Python file under its header), ``ci/unit_tests/test_msmedcap.py`` and ``_dist.py``, and beside
them ``large_files/``, which the tree may not hold: upload these to the place that ``--url`` names, from where the
zoo's checks fetch them. Without ``--url`` they are fetched from this very folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from tools.package import NAME, copy_bundle  # noqa: E402

LARGEST = 1_000_000
"""Bytes of a file in the tree: the zoo's pre-commit hook takes 1024 KB, its rule is 25 MB."""
ISORT = ("isort", "--profile", "black", "--line-length", "120", "-q")
BLACK = ("black", "--skip-magic-trailing-comma", "--line-length", "120", "--target-version", "py311", "-q")
FLAKE8 = (
    "flake8", "--isolated", "--select", "B,C,E,F,N,P,T4,W,B9", "--max-line-length", "120",
    "--ignore", "E203,E501,E741,W503,W504,C408,N812,B023,B905,B028,B907,C419",
    "--per-file-ignores", "__init__.py: F401, __main__.py: F401",
)  # fmt: skip


def write_zoo(bundle: Path, target: Path, url: str = "", *, styled: bool = True) -> Path:
    """Write everything; ``target`` is emptied first. Returns the bundle's folder in it.

    Args:
        bundle: the bundle's folder in this repository.
        target: folder for the zoo's files.
        url: where the large files will be; the ``file://`` address of ``large_files/`` by default.
        styled: format by the zoo's settings, which takes a minute.
    """
    shutil.rmtree(target, ignore_errors=True)
    made = copy_bundle(bundle, target / "models" / NAME)
    shutil.copytree(HERE / "unit_tests", target / "ci" / "unit_tests", ignore=shutil.ignore_patterns("__pycache__"))
    _move_large_files(made, target / "large_files", url)
    for path in made.rglob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(content, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
    (target / "models" / "model_info.json").write_text("{}\n")
    _add_headers(target)
    if styled:
        for command in (ISORT, BLACK):
            subprocess.run([sys.executable, "-m", *command, str(target)], check=True)
    return made


def _move_large_files(made: Path, folder: Path, url: str) -> None:
    """What is too large for the tree goes to ``folder``; ``large_files.yml`` says where to get it."""
    folder.mkdir()
    lines = ["large_files:"]
    for path in sorted(path for path in made.rglob("*") if path.is_file() and path.stat().st_size > LARGEST):
        source = f"{url.rstrip('/')}/{path.name}" if url else (folder / path.name).resolve().as_uri()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f'  - path: "{path.relative_to(made).as_posix()}"')
        lines += [f'    url: "{source}"', f'    hash_val: "{digest}"', '    hash_type: "sha256"']
        path.rename(folder / path.name)
    (made / "large_files.yml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _add_headers(target: Path) -> None:
    """The zoo's header on each Python file; marks that only this project's formatter knows go."""
    header = (HERE / "header.txt").read_text(encoding="utf-8")
    for path in target.rglob("*.py"):
        text = path.read_text(encoding="utf-8").replace("  # fmt: skip", "")
        path.write_text(f"{header}\n{text}", encoding="utf-8")


def style_faults(target: Path) -> str:
    """What isort, black and flake8 with the zoo's settings say of a folder; empty where it is clean."""
    said = []
    for command in ((*ISORT, "--check"), (*BLACK, "--check"), FLAKE8):
        done = subprocess.run([sys.executable, "-m", *command, str(target)], capture_output=True, text=True)
        if done.returncode:
            said.append(f"{command[0]}: {done.stdout}{done.stderr}")
    return "\n".join(said)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="the bundle's folder")
    parser.add_argument("target", type=Path, help="folder to write; what is in it goes")
    parser.add_argument("--url", default="", help="where the files in large_files/ will be uploaded to")
    given = parser.parse_args()
    made = write_zoo(given.bundle, given.target, given.url)
    faults = style_faults(given.target)
    print(faults or f"{made}: isort, black and flake8 with the zoo's settings find nothing")
    if not given.url:
        print("large_files.yml names this folder: give --url (make zoo URL=...) for a pull request")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
