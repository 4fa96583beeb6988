"""Answers of the HTTP service: one client after the other, and eight at once.

    .venv/bin/python benchmarks/service.py [--quick] [--bundle DIR ...] [--set KEY=VALUE ...]

Starts `python -m scripts.commands.serve` of each bundle folder (this one by default; a second ``--bundle`` of another
checkout gives a comparison side by side), and asks it for captions of the sample images with the bundle's own settings;
``--set`` changes those of the first bundle, so that two versions are compared at what both can do. Rounds alternate
between the bundles, and the best of each counts, so that other load on the machine weighs on all alike. Captions of
eight clients at once must be those of one client. The last line is one JSON object: ``sequential_per_s`` and
``eight_clients_per_s`` are captions a second of the first bundle, ``eight_over_sequential`` their ratio, ``p50_s`` and
``p95_s`` how long a reply takes among eight clients, ``work_s`` processor seconds a caption among eight clients (which
other load changes least), ``replies_equal`` whether all captions were the same, and with two bundles
``first_over_second`` and ``work_first_over_second`` their ratios. Linux only.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bundle"))

from scripts.commands.samples import write_samples  # noqa: E402

CLIENTS = 8


@dataclass
class Server:
    """A service that runs, and what was measured of it."""

    bundle: Path
    process: subprocess.Popen[str]
    url: str
    sequential: list[float] = field(default_factory=list)
    at_once: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)
    captions: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def start(cls, bundle: Path, images: Path, settings: Sequence[str] = ()) -> Server:
        """Start it on a free port and wait until it is ready."""
        command = [sys.executable, "-m", "scripts.commands.serve", "--root", str(images), "--port", "0"]
        command += ["--bundle_root", str(bundle), *(word for one in settings for word in ("--set", one))]
        environment = {**os.environ, "PYTHONPATH": str(bundle)}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                   env=environment, cwd=bundle)  # fmt: skip
        for line in process.stdout:
            if line.startswith("ready: "):
                return cls(bundle, process, line.split()[1])
        raise SystemExit(f"the service of {bundle} ended before it was ready")

    def ask(self, name: str) -> float:
        """Seconds until the caption of an image was there."""
        body = json.dumps({"image": name}).encode()
        request = urllib.request.Request(f"{self.url}/caption", body, {"Content-Type": "application/json"})
        began = time.perf_counter()
        with urllib.request.urlopen(request, timeout=600) as reply:
            caption = json.loads(reply.read())["caption"]
        took = time.perf_counter() - began
        self.captions.setdefault(name, set()).add(caption)
        return took

    def round(self, names: list[str], clients: int) -> float:
        """Captions a second of so many clients that share the requests."""
        began, worked = time.perf_counter(), self.worked()
        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            waits = list(pool.map(self.ask, names))
        rate = len(names) / (time.perf_counter() - began)
        if clients == 1:
            self.sequential.append(rate)
        else:
            self.at_once.append(rate)
            self.waits += waits
            self.work.append((self.worked() - worked) / len(names))
        return rate

    def worked(self) -> float:
        """Seconds that processors have worked for the service."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(bundles: list[Path], settings: list[str], rounds: int, requests: int) -> list[Server]:
    """Every bundle's service, one round after the other in turns; the first with the settings."""
    with tempfile.TemporaryDirectory() as folder:
        names = [path.name for path in write_samples(folder)]
        asked = [settings, *([] for _ in bundles[1:])]
        servers = [Server.start(one.resolve(), Path(folder), more) for one, more in zip(bundles, asked, strict=True)]
        try:
            for server in servers:
                server.round(names, 1)  # warm
                server.sequential.clear()
            for _ in range(rounds):
                for server in servers:
                    server.round(names * (requests // len(names)), 1)
                    server.round(names * (requests // len(names)), CLIENTS)
        finally:
            for server in servers:
                server.process.terminate()
                server.process.wait(30)
    return servers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", "--quick", dest="quick", action="store_true", help="one round of four requests")
    parser.add_argument("--bundle", action="append", type=Path, help="a bundle folder; this one by default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a config value of the first")
    parser.add_argument("--rounds", type=int, default=3, help="of each bundle, in turns (default %(default)s)")
    parser.add_argument("--requests", type=int, default=24, help="in a round (default %(default)s)")
    options = parser.parse_args()
    bundles = options.bundle or [ROOT / "bundle"]
    servers = measured(bundles, options.set, *((1, 4) if options.quick else (options.rounds, options.requests)))
    print(f"{'bundle':<44}{'one by one':>14}{'8 at once':>14}{'median wait':>14}{'work':>10}")
    for server in servers:
        rates = f"{max(server.sequential):>12.2f}/s{max(server.at_once):>12.2f}/s"
        rates += f"{statistics.median(server.waits):>13.2f}s{min(server.work):>9.2f}s"
        print(f"{str(server.bundle)[-43:]:<44}{rates}")
    first = servers[0]
    waits = sorted(first.waits)
    texts = [set().union(*(server.captions[name] for server in servers)) for name in first.captions]
    told = {
        "sequential_per_s": round(max(first.sequential), 3),
        "eight_clients_per_s": round(max(first.at_once), 3),
        "eight_over_sequential": round(max(first.at_once) / max(first.sequential), 3),
        "p50_s": round(statistics.median(waits), 3),
        "p95_s": round(waits[int(0.95 * (len(waits) - 1))], 3),
        "work_s": round(min(first.work), 3),
        "replies_equal": all(len(found) == 1 for found in texts),
    }
    if len(servers) > 1:
        told["first_over_second"] = round(max(first.at_once) / max(servers[1].at_once), 3)
        told["work_first_over_second"] = round(min(first.work) / min(servers[1].work), 3)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
