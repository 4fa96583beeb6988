"""What ``serve.py`` refuses before it loads anything: one sentence, and no folder made for a mistyped one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from label_server import APP, free_port


def start(*arguments: str) -> tuple[int, str]:
    """Exit code and the last line that ``serve.py`` says."""
    done = subprocess.run(
        [sys.executable, str(APP / "serve.py"), *arguments], capture_output=True, text=True, timeout=250, env=os.environ
    )
    return done.returncode, (done.stderr.strip().splitlines() or [""])[-1]


@pytest.fixture
def taken() -> Iterator[str]:
    """A port on which something listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield str(listening.getsockname()[1])


def test_a_mistyped_folder_is_refused_and_not_made(tmp_path: Path) -> None:
    code, says = start("--studies", str(tmp_path / "studeis"), "--port", str(free_port()))
    assert code == 1 and says == (
        f"error: {tmp_path / 'studeis'} is no folder: give --studies a folder or a DICOMweb server's address"
    )
    assert not (tmp_path / "studeis").exists()


def test_a_port_in_use_is_said(tmp_path: Path, taken: str) -> None:
    code, says = start("--studies", str(tmp_path), "--port", taken)
    assert code == 1 and says.startswith(f"error: port {taken} on 127.0.0.1 is in use") and "PORT=" in says


def test_a_value_that_the_config_does_not_have_is_refused(tmp_path: Path) -> None:
    code, says = start("--studies", str(tmp_path), "--port", str(free_port()), "--conf", "num_beam", "1")
    assert code == 1 and says.endswith("did you mean num_beams?")


@pytest.mark.parametrize(("given", "host"), [([], "127.0.0.1"), (["--host", "0.0.0.0"], "0.0.0.0"), (["-i=::"], "::")])
def test_the_server_knows_where_it_listens(given: list[str], host: str, tmp_path: Path) -> None:
    """So that it answers any name where the network was let in (docs: --host 0.0.0.0), and else its own."""
    code = "import os, serve, sys; serve.prepare(sys.argv[2:], sys.argv[1]); print(os.environ['MSMEDCAP_HOST'])"
    command = [sys.executable, "-c", code, str(tmp_path), *given]
    assert subprocess.run(command, cwd=APP, capture_output=True, text=True).stdout.strip() == host
