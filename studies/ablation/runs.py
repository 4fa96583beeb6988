"""The runs behind ``studies/ablation/run.py``: what is there already, what is started, stopped and thrown away.

Each run is three commands of the bundle: stage 1, stage 2, captions with scores. A finished command leaves
``status.json`` in its folder and is not repeated; a stopped training goes on from its last checkpoint.

    OUT/tokens/<kind>/                 what the building of the feature cache printed
    OUT/stage1/<overlay>-seed<s>/      stage 1, shared by all arms whose stage 1 is the same
    OUT/<arm>/seed<s>/train/           stage 2
    OUT/<arm>/seed<s>/evaluate/        captions.jsonl, evaluation.json
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from scripts.atomic import write_text_atomically
from scripts.errors import InputError
from studies.ablation.plan import (
    ARMS,
    SECTION,
    ArmPlan,
    Settings,
    caching_command,
    epochs_of,
    evaluation_command,
    prepare,
    seed_folder,
    stage1_folder,
    training_command,
)
from studies.ablation.table import Arm, SeedRun, read_seed_run

ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
_HEARTBEAT = 30.0  # seconds between notes of the time taken, so that a killed run loses no more


class Process(Protocol):
    """What is needed of ``subprocess.Popen``."""

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int) -> None: ...


def start_process(command: Sequence[str], environment: Mapping[str, str], log: IO[bytes], lock: int) -> Process:
    """A session of its own: Ctrl-C reaches this program only, which lets the training save first.

    The child holds ``lock``, too: while it lives, even without its parent, nobody else writes there.
    """
    return subprocess.Popen(
        list(command),
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=(lock,),
    )


@dataclass
class Ablation:
    """Trains and captions every arm with every seed.

    Args:
        settings: what is the same for all.
        arms: names from ``ARMS``.
        seeds: each arm is trained with each.
        jobs: runs at a time, each with its share of the cores.
        say: prints progress.
        start: starts a command.
    """

    settings: Settings
    arms: Sequence[str]
    seeds: Sequence[int]
    jobs: int = 1
    say: Callable[[str], None] = print
    start: Callable[..., Process] = start_process
    failures: list[str] = field(default_factory=list)
    _running: set[Process] = field(default_factory=set)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _stage1_locks: dict[Path, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))

    def run(self) -> None:
        """Everything that is not there yet; one seed of all arms first, so that a table can be looked at early.

        What fails is kept in ``failures``, and the other arms go on; without encoder tokens none does.

        Raises:
            InputError: the folder holds runs of other settings, or another process writes there.
            KeyboardInterrupt: stopped by the user; the training that ran has saved its state.
        """
        self.settings.out.mkdir(parents=True, exist_ok=True)
        with (self.settings.out / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(f"another ablation is writing to {self.settings.out}; wait, or give --out") from None
            prepare(self.settings)
            self._side_by_side(self._caching_tasks(lock.fileno()))
            if self.failures:
                return
            todo = [(ARMS[arm], seed) for seed in self.seeds for arm in self.arms]
            titles = [f"[{number}/{len(todo)}] {arm.name}, seed {seed}" for number, (arm, seed) in enumerate(todo, 1)]
            self._side_by_side(
                (self._run_seed, arm, seed, title, lock.fileno())
                for (arm, seed), title in zip(todo, titles, strict=True)
            )

    def _side_by_side(self, tasks: Iterable[tuple[Any, ...]]) -> None:
        """Call ``(function, arguments...)``, ``jobs`` at a time; Ctrl-C stops what runs and starts nothing more."""
        with ThreadPoolExecutor(self.jobs) as pool:
            futures = [pool.submit(*task) for task in tasks]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                self._stop(futures)
                raise

    def _stop(self, futures: Sequence[Any]) -> None:
        self._stopping.set()
        for future in futures:
            future.cancel()
        for process in list(self._running):
            process.send_signal(signal.SIGTERM)

    def _caching_tasks(self, lock: int) -> list[tuple[Any, ...]]:
        """Encode first: two runs that find the cache empty would each encode all of it."""
        tasks = []
        for name in dict.fromkeys(ARMS[arm].tokens for arm in self.arms):
            folder = self.settings.out / "tokens" / name
            if not is_done(folder):
                command = caching_command(self.settings, name)
                tasks.append((self._perform, f"encoder tokens, {name}", folder, command, lock, lambda _: True))
        return tasks

    def _run_seed(self, arm: ArmPlan, seed: int, title: str, lock: int) -> None:
        folder = seed_folder(self.settings, arm, seed)
        if is_done(folder / "evaluate"):
            self.say(f"{title}: there already")
            return
        good = self._pretrain(arm, seed, title, lock) if arm.stage1 else True
        if good and not (is_done(folder / "train") and (folder / "train" / "model.pt").is_file()):
            command = training_command(self.settings, arm, seed, "train.json", folder / "train")
            done = _trained(epochs_of(self.settings, arm, "train.json"))
            good = self._perform(f"{title}, stage 2", folder / "train", command, lock, done)
            self._forget(folder / "train", "checkpoint_*.pt", good)
        if good:
            # Baselines learn nothing: the first run's are everybody's.
            first = (arm.name, seed) == (self.arms[0], self.seeds[0])
            command = evaluation_command(self.settings, arm, seed, baselines=first)
            good = self._perform(f"{title}, captions", folder / "evaluate", command, lock, _captioned)
            self._forget(folder / "train", "model*.pt", good)
            stage1 = stage1_folder(self.settings, arm, seed)
            self._forget(stage1, "model*.pt", good and arm.stage1 and not self._awaited(arm, seed))

    def _pretrain(self, arm: ArmPlan, seed: int, title: str, lock: int) -> bool:
        """Stage 1, once for all arms that share it; whether it is there."""
        stage1 = stage1_folder(self.settings, arm, seed)
        with self._stage1_locks[stage1]:
            if is_done(stage1) and (stage1 / "model.pt").is_file():
                return True
            command = training_command(self.settings, arm, seed, "pretrain.json", stage1)
            good = self._perform(f"{title}, stage 1", stage1, command, lock, _trained(self.settings.pretrain_epochs))
            self._forget(stage1, "checkpoint_*.pt", good)
            return good

    def _perform(
        self, title: str, folder: Path, command: Sequence[str], lock: int, complete: Callable[[Path], bool]
    ) -> bool:
        """Run one command, its output to ``console.txt``; whether it did what it should."""
        folder.mkdir(parents=True, exist_ok=True)
        before, begun = _status(folder).get("seconds", 0.0), time.monotonic()
        log = folder / "console.txt"
        with log.open("ab") as output:
            process = self.start(command, self._environment(), output, lock)
            self._running.add(process)
            if self._stopping.is_set():  # Ctrl-C came while it started
                process.send_signal(signal.SIGTERM)
            code = self._wait(process, folder, before, begun)
            self._running.discard(process)
        if self._stopping.is_set():
            self.say(f"{title}: stopped, its state is saved")
            _write_status(folder, before + time.monotonic() - begun)
            return False
        done = code == 0 and complete(folder)
        seconds = time.monotonic() - begun
        _write_status(folder, before + seconds, done=done)
        if done:
            self.say(f"{title}: {seconds / 60:.1f} min")
        else:
            reason = "ended before it was complete" if code == 0 else f"failed (exit code {code})"
            self.failures.append(f"{title}: {reason}: {_last_words(log)} Log: {log}")
            self.say(self.failures[-1])
        return done

    def _environment(self) -> dict[str, str]:
        shared = {**ENVIRONMENT, "PYTHONPATH": _python_path(self.settings.bundle)}
        if self.jobs > 1:
            shared["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // self.jobs))
        return shared

    def _wait(self, process: Process, folder: Path, before: float, begun: float) -> int:
        while True:
            try:
                return process.wait(timeout=_HEARTBEAT)
            except subprocess.TimeoutExpired:
                _write_status(folder, before + time.monotonic() - begun)

    def _awaited(self, arm: ArmPlan, seed: int) -> bool:
        """Whether another arm still needs this stage 1."""
        others = (ARMS[name] for name in self.arms if name != arm.name)
        return any(
            other.stage1
            and other.stage1_name == arm.stage1_name
            and not is_done(seed_folder(self.settings, other, seed) / "evaluate")
            for other in others
        )

    def _forget(self, folder: Path, pattern: str, wanted: bool) -> None:
        if wanted and not self.settings.keep:
            for file in folder.glob(pattern):
                file.unlink()


def is_done(folder: Path) -> bool:
    """Whether the command of this folder has ended well."""
    return bool(_status(folder).get("done"))


def collect(settings: Settings) -> list[Arm]:
    """All arms with the runs that are finished, whichever call finished them."""
    return [Arm(plan.name, plan.title, tuple(_finished(settings, plan))) for plan in ARMS.values()]


def _finished(settings: Settings, arm: ArmPlan) -> list[SeedRun]:
    folders = {int(path.name.removeprefix("seed")): path for path in (settings.out / arm.name).glob("seed*")}
    runs = []
    for seed, folder in sorted(folders.items()):
        if not is_done(folder / "evaluate"):
            continue
        stage1 = stage1_folder(settings, arm, seed) if arm.stage1 else None
        steps = [folder / "train", folder / "evaluate", *([stage1] if stage1 else [])]
        runs.append(
            read_seed_run(
                seed,
                captions=folder / "evaluate" / "captions.jsonl",
                datalist=settings.datalist,
                section=SECTION,
                stage1_history=stage1 / "history.json" if stage1 else None,
                caption_history=folder / "train" / "history.json",
                seconds=sum(_status(step).get("seconds", 0.0) for step in steps),
            )
        )
    return runs


def _trained(epochs: int) -> Callable[[Path], bool]:
    """A training that was told to stop ends well, too: only its history tells whether it reached the end."""

    def complete(folder: Path) -> bool:
        try:
            history = json.loads((folder / "history.json").read_text(encoding="utf-8"))["epochs"]
        except (OSError, ValueError, KeyError):
            return False
        return bool(history) and history[-1]["epoch"] >= epochs and (folder / "model.pt").is_file()

    return complete


def _captioned(folder: Path) -> bool:
    return (folder / "captions.jsonl").is_file() and (folder / "evaluation.json").is_file()


def _status(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _write_status(folder: Path, seconds: float, *, done: bool = False) -> None:
    write_text_atomically(folder / "status.json", json.dumps({"done": done, "seconds": round(seconds, 1)}))


def _last_words(log: Path) -> str:
    """The sentence that a failed command ended with."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error:")]
    return (errors or lines or ["it printed nothing."])[-1]


def _python_path(bundle: Path) -> str:
    others = os.environ.get("PYTHONPATH", "")
    return os.pathsep.join([str(bundle.resolve()), *([others] if others else [])])
