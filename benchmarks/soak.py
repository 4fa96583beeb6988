"""Eight clients for an hour on the HTTP service, and on MONAI Label: nothing lost, nothing that grows.

    .venv/bin/python benchmarks/soak.py [--quick | --smoke | --seconds 3600] [--on service|label] [--output FOLDER]

Clients ask for captions, save captions and read them back (MONAI Label), upload images and look at them (the service),
and send wrong requests, which must get the 4xx that they deserve. Then the server is started anew and each client's
last saved caption is read once more. ``soak_<server>.png`` shows memory and waiting over time. The last line is one
JSON object with, for each server, ``requests``, ``lost_saves``, ``unexpected`` (statuses that were not those provoked,
and failures), ``growth`` (of memory from the middle of the run to its end, as a share; medians of a tenth of the run),
``mib`` (at the end), ``p50_s``, ``p99_s``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import requests
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bundle"))

from scripts.commands.samples import write_samples  # noqa: E402

CLIENTS = 8
QUICK = {"num_beams": 1, "max_new_tokens": 8}
START_SECONDS = 300


@dataclass
class Server:
    """A server that runs on a folder of images, and what was measured of it."""

    name: str
    studies: Path
    process: subprocess.Popen[bytes] | None = None
    url: str = ""
    memory: list[tuple[float, float]] = field(default_factory=list)
    """Seconds, MiB."""

    def start(self, log: Path) -> None:
        """Start it on a free port and wait until it answers.

        Raises:
            SystemExit: it ended, or does not answer.
        """
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        label = ROOT / "integrations" / "monailabel" / "serve.py"
        programs = {
            "service": ["-m", "scripts.commands.serve", "--set", "abstain_below=0", "--root"],
            "label": [str(label), "--studies"],
        }
        command = [sys.executable, *programs[self.name], str(self.studies), "--port", str(port)]
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT / "bundle",
                                            env={**os.environ, "PYTHONPATH": str(ROOT / "bundle")})  # fmt: skip
        self.url, ends = f"http://127.0.0.1:{port}", time.monotonic() + START_SECONDS
        while time.monotonic() < ends and self.process.poll() is None:
            try:
                if requests.get(f"{self.url}/openapi.json", timeout=30).ok:
                    return
            except requests.ConnectionError:
                time.sleep(0.2)
        raise SystemExit(f"{self.name} did not start:\n{log.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def watch(self, ended: threading.Event, every: float) -> None:
        """Note the memory of the server and its own processes until the end."""
        began = time.monotonic()
        while not ended.wait(every):
            self.memory.append((time.monotonic() - began, memory_of(self.process.pid)))


def memory_of(pid: int) -> float:
    """MiB of a process and those that it started."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = [c for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]
    except OSError:  # it has just ended
        return 0.0
    own = next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:")), 0.0)
    return own + sum(memory_of(int(child)) for child in children)


class Client(threading.Thread):
    """Asks until the end, one thing after the other, drawn by its number.

    Args:
        number: of the client; it saves captions of an image of its own.
        server: which is asked.
        images: names that may be asked for.
        ends: when, by ``time.monotonic``.
    """

    def __init__(self, number: int, server: Server, images: Sequence[str], ends: float) -> None:
        super().__init__(name=f"client {number}")
        self.number, self.server, self.images, self.ends = number, server, images, ends
        self.draw = random.Random(number)
        self.waits: list[tuple[float, float]] = []
        self.unexpected: Counter[str] = Counter()
        self.saved, self.lost, self.requests = "", 0, 0
        self.own = f"own_{number}"

    def run(self) -> None:
        label = self.server.name == "label"
        acts = [self.caption] * 6 + [self.wrong] * 2 + [self.save if label else self.upload] * 2
        began = time.monotonic()
        while time.monotonic() < self.ends:
            act, start = self.draw.choice(acts), time.monotonic()
            try:
                act()
            except (requests.RequestException, ValueError, KeyError) as error:
                self.unexpected[f"{act.__name__}: {type(error).__name__}"] += 1
            self.waits.append((start - began, time.monotonic() - start))

    def ask(self, method: str, path: str, expected: int = 200, **more: object) -> requests.Response:
        self.requests += 1
        reply = requests.request(method, self.server.url + path, timeout=600, **more)
        if reply.status_code != expected:
            self.unexpected[f"{method} {path.partition('?')[0]} {reply.status_code}"] += 1
        return reply

    def caption(self) -> None:
        image = self.draw.choice(self.images)
        if self.server.name == "service":
            told = self.ask("POST", "/caption", json={"image": image, **QUICK}).json()["caption"]
        else:
            files = {"params": (None, json.dumps(QUICK))}
            told = self.ask("POST", "/infer/caption", params={"image": _id(image)}, files=files).json()["caption"]
        if not told:
            self.unexpected["no caption"] += 1

    def save(self) -> None:
        """Save a caption, and read it back."""
        text = f"caption {self.requests} of client {self.number}: " + "word " * self.draw.randrange(60) + "end."
        files = {"label": ("label.json", json.dumps({"caption": text}))}
        if self.ask("PUT", f"/datastore/label?image={self.own}&tag=caption", files=files).ok:
            self.saved = text
        self.check()

    def check(self) -> None:
        """Whether the last caption that was acknowledged is there."""
        if self.saved:
            kept = self.ask("GET", f"/datastore/label?label={self.own}&tag=caption")
            self.lost += not kept.ok or kept.json().get("caption") != self.saved

    def upload(self) -> None:
        """Send a picture, look at it, have it captioned."""
        picture = (self.server.studies / f"{self.own}.png").read_bytes()
        [listed] = self.ask("POST", f"/images?name={self.own}.png", data=picture).json()["images"]
        self.ask("GET", f"/images/{listed['id']}/shown?side=128")
        self.ask("POST", "/caption", json={"image": listed["id"], **QUICK})

    def wrong(self) -> None:
        """A request that must be refused, with the status that it must get."""
        service, other = self.server.name == "service", {"Origin": "http://elsewhere.example"}
        caption = "/caption" if service else "/infer/caption"
        broken = {"data": b"{"} if service else {"files": {"params": (None, "{")}}
        named = {"json": {"image": "nowhere.png"}} if service else {}
        kinds: list[Callable[[], object]] = [
            lambda: self.ask("POST", caption, 403, headers=other),
            lambda: self.ask("POST", caption + ("" if service else "?image=nowhere"), 404, **named),
            lambda: self.ask("POST", caption + ("" if service else f"?image={self.own}"), 400, **broken),
            lambda: self.ask("GET", "/nothing/of/that/name", 404),
            self.leave,
        ]
        self.draw.choice(kinds)()

    def leave(self) -> None:
        """Begin a request and hang up."""
        host, port = self.server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), 60) as connection:
            connection.sendall(b"POST /caption HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{")


def soak(server: Server, seconds: float, output: Path, count: int = CLIENTS) -> dict[str, object]:
    """One server with so many clients; writes the picture and returns the figures."""
    names = [path.name for path in write_samples(server.studies)]
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (96, 128), dtype=np.uint8)
        Image.fromarray(pixels).save(server.studies / f"own_{number}.png")
    log = output / f"soak_{server.name}.log"
    server.start(log)
    ended = threading.Event()
    watch = threading.Thread(target=server.watch, args=(ended, max(0.2, seconds / 2000)))
    try:
        watch.start()
        ends = time.monotonic() + seconds
        clients = [Client(number, server, names, ends) for number in range(count)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    finally:
        ended.set()
        watch.join()
        server.stop()
    if server.name == "label":  # what was acknowledged is on the disk
        server.start(log)
        for client in clients:
            client.check()
        server.stop()
    draw(server, clients, output / f"soak_{server.name}.png")
    return figures(server, clients)


def figures(server: Server, clients: Sequence[Client]) -> dict[str, object]:
    waits = sorted(wait for client in clients for _, wait in client.waits)
    unexpected = sum((client.unexpected for client in clients), Counter())
    for what, count in unexpected.items():
        print(f"unexpected: {what} ({count} times)", file=sys.stderr)
    used = [mib for _, mib in server.memory]
    tenth = max(1, len(used) // 10)
    middle = statistics.median(used[len(used) // 2 :][:tenth])
    return {
        "requests": sum(client.requests for client in clients),
        "lost_saves": sum(client.lost for client in clients),
        "unexpected": unexpected.total(),
        "growth": round(statistics.median(used[-tenth:]) / middle - 1, 4),
        "mib": round(used[-1]),
        "p50_s": round(statistics.median(waits), 3),
        "p99_s": round(waits[int(0.99 * (len(waits) - 1))], 3),
    }


def draw(server: Server, clients: Sequence[Client], path: Path) -> None:
    """Memory above, how long each request took below, over the minutes of the run."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(9, 5.5), sharex=True, layout="constrained")
    at, mib = np.array(server.memory).T
    above.plot(at / 60, mib, color="#1f6feb", linewidth=1)
    above.set(ylabel="memory, MiB", ylim=(0, None), title=f"{len(clients)} clients on the {server.name}")
    starts, waits = np.array([one for client in clients for one in client.waits]).T
    below.plot(starts / 60, waits, ".", color="#57606a", markersize=2)
    below.axhline(float(np.percentile(waits, 99)), color="#cf222e", linewidth=1, label="99th percentile")
    below.set(ylabel="a request, s", xlabel="minutes", ylim=(0, None))
    below.legend(loc="upper right")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _id(image: str) -> str:
    """MONAI Label's name of a file."""
    return image.removesuffix(".gz").rpartition(".")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two minutes each")
    parser.add_argument("--smoke", action="store_true", help="some seconds on the service alone")
    parser.add_argument("--seconds", type=float, default=3600.0, help="on each server")
    parser.add_argument("--on", choices=("service", "label"), action="append", help="one of them only")
    parser.add_argument("--output", type=Path, help="folder of pictures and logs; runs/soak by default")
    options = parser.parse_args()
    seconds = 6.0 if options.smoke else 120.0 if options.quick else options.seconds
    output = options.output or Path(tempfile.mkdtemp() if options.smoke else ROOT / "runs" / "soak")
    output.mkdir(parents=True, exist_ok=True)
    told = {}
    for name in ["service"] if options.smoke else options.on or ["service", "label"]:
        with tempfile.TemporaryDirectory() as studies:
            found = soak(Server(name, Path(studies)), seconds, output, 2 if options.smoke else CLIENTS)
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in found.items()), flush=True)
        told |= {f"{name}_{key}": value for key, value in found.items()}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
