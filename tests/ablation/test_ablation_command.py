"""``studies/ablation/run.py`` end to end at tiny size: trained, stopped, gone on, refused, reported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ablation_parts  # noqa: F401  forked commands find what is imported here
import fire  # noqa: F401
import monai.bundle  # noqa: F401
import pytest
from config_run import SMALL, make_data

import scripts.metrics.score_run  # noqa: F401
import scripts.training  # noqa: F401
from forked_program import ForkedProgram
from scripts.errors import InputError
from studies.ablation import run as ablation
from studies.ablation.plan import ARMS, Settings, training_command, warmup_steps
from studies.ablation.runs import Ablation, collect

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Interrupts count also where the suite runs in the background of a shell that ignores them there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


OVERLAY: dict[str, Any] = {
    **{key: value for key, value in SMALL.items() if key not in ("epochs", "warmup_steps")},
    "tokenizer": "$ablation_parts.bert_tokenizer() if @stage == 'pretrain' else @language_model.tokenizer",
    "+imports": ["$import ablation_parts"],
    "language_model": {"_target_": "ablation_parts.language_model"},
    "max_new_tokens": 5,
    "baselines": False,
    "warmup_steps": 100,
}


class Forked(ForkedProgram):
    """A command of the bundle, started as `studies.ablation.runs` starts one, without import time."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Any, lock: int) -> None:
        assert command[1:3] == ["-m", "monai.bundle"]
        paths = [str(ROOT / "bundle"), *(str(ROOT / "tests" / name) for name in ("ablation", "training"))]
        known = {**os.environ, **environment, "PYTHONPATH": os.pathsep.join(paths)}
        with open(os.devnull) as nothing:
            super().__init__(command[1:], env=known, stdin=nothing, stdout=log, stderr=log)


class StoppedAt(Forked):
    """The user presses Ctrl-C as soon as ``file``, which only this command's run writes, is there."""

    file: Path

    def wait(self, timeout: float | None = None) -> int:
        while not self.file.exists():
            time.sleep(0.002)
            if (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
                return os.waitstatus_to_exitcode(ended[1])
        os.kill(os.getpid(), signal.SIGINT)
        return super().wait(timeout)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_data(tmp_path_factory.mktemp("ablation") / "data")
    (folder / "tiny.json").write_text(json.dumps(OVERLAY))
    return folder


def settings(data: Path, out: Path, **changes: Any) -> Settings:
    common = {"amp": "float32", "general_encoder": "starter", "overlays": (str(data / "tiny.json"),)}
    return Settings(data=data, out=out, features=data / "features", bundle=ROOT / "bundle", **(common | changes))


def train(
    given: Settings, arms: Sequence[str], seeds: Sequence[int], start: Callable[..., Any] = Forked, jobs: int = 1
) -> list[str]:
    """Run; returns what was said."""
    said: list[str] = []
    run = Ablation(given, arms, seeds, jobs=jobs, say=said.append, start=start)
    run.run()
    assert not run.failures, run.failures
    return said


@pytest.fixture(scope="module")
def finished(data: Path) -> tuple[Settings, list[str]]:
    """Three arms, one of them with two seeds."""
    given = settings(data, data.parent / "out")
    said = train(given, ["both", "general", "no_stage1"], [0])
    return given, said + train(given, ["general"], [1])


def test_arms_are_trained_and_compared(finished: tuple[Settings, list[str]]) -> None:
    given, said = finished
    result = ablation.report(given, resamples=50)
    rows = {row["arm"]: row for row in result["arms"]}
    assert {name: row["seeds"] for name, row in rows.items()} == {"both": [0], "general": [0, 1], "no_stage1": [0]}
    captions = [given.out / arm / "seed0" / "evaluate" / "captions.jsonl" for arm in rows]
    assert all(len(file.read_text().splitlines()) == 4 for file in captions) and result["images"] == 4
    assert "recall@5, general" in rows["both"]["scores"] and "recall@5, detail" in rows["both"]["scores"]
    assert (
        "recall@5, detail" not in rows["general"]["scores"] and "recall@5, general" not in rows["no_stage1"]["scores"]
    )
    assert all(row["scores"]["caption loss"]["value"] > 0 and row["hours"] > 0 for row in rows.values())
    assert set(rows["general"]["difference"]) == {"plane", "modality", "organ", "field mean", "BLEU-4", "CIDEr-D"}
    text = (given.out / "ablation.md").read_text()
    assert "8 training and 4 validation images" in text and "| general branch only |" in text
    assert "--pretrain_epochs 1 --caption_epochs 1 --seeds 0 1 --arms both general no_stage1" in text
    assert json.loads((given.out / "ablation.json").read_text()) == json.loads(json.dumps(result))
    assert not list(given.out.rglob("checkpoint_*.pt")) and not list(given.out.rglob("model*.pt"))
    assert sum("stage 1: " in line for line in said) == 3 and sum("captions: " in line for line in said) == 4
    assert sum("encoder tokens" in line for line in said) == 1


def test_arms_differ_in_their_subject_only(finished: tuple[Settings, list[str]]) -> None:
    """The same data, schedule and cache; what a folder recorded of the run is equal but for overlays and paths."""
    given, _ = finished
    both, general = (training_command(given, ARMS[arm], 3, "train.json", Path("x")) for arm in ("both", "general"))
    changed = [(a, b) for a, b in zip(both, general, strict=True) if a != b]
    assert len(changed) == 2 and "branch_general.json" in changed[0][1] and "branch_general-seed3" in changed[1][1]
    without = training_command(given, ARMS["no_stage1"], 3, "train.json", Path("x"))
    assert "--pretrained" not in without and any("no_pretraining.json" in word for word in without)
    caches = {path.name for path in given.features.iterdir() if path.is_dir()}
    assert len(caches) == 2  # one an encoder, whatever the arm


def test_what_is_finished_is_not_repeated(finished: tuple[Settings, list[str]]) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("nothing is left to start")

    given, _ = finished
    assert train(given, ["both", "no_stage1"], [0], start=never) == [
        "[1/2] both, seed 0: there already",
        "[2/2] no_stage1, seed 0: there already",
    ]


def test_a_stopped_run_goes_on_to_the_same_captions(data: Path, finished: tuple[Settings, list[str]]) -> None:
    given = settings(data, data.parent / "stopped")
    StoppedAt.file = given.out / "stage1" / "plain-seed0" / "history.json"
    with pytest.raises(KeyboardInterrupt):
        train(given, ["both"], [0], start=StoppedAt)
    status = json.loads((given.out / "stage1" / "plain-seed0" / "status.json").read_text())
    assert status["done"] is False and status["seconds"] > 0
    train(given, ["both"], [0])
    captions = [folder / "both" / "seed0" / "evaluate" / "captions.jsonl" for folder in (finished[0].out, given.out)]
    records = [[json.loads(line)["caption"] for line in file.read_text().splitlines()] for file in captions]
    assert records[0] == records[1] and len(records[0]) == 4
    losses = [
        [run.values for arm in collect(s) for run in arm.runs if arm.name == "both"][0] for s in (finished[0], given)
    ]
    assert losses[0] == losses[1]


def test_a_failure_names_the_log_and_the_others_go_on(data: Path, tmp_path: Path) -> None:
    run, said = fail(settings(data, tmp_path / "out"), ["both", "no_stage1"], but_for="caching")
    log = tmp_path / "out" / "stage1" / "plain-seed0" / "console.txt"
    assert run.failures == said[1:] and len(said) == 3
    assert said[1] == f"[1/2] both, seed 0, stage 1: failed (exit code 3): error: the disk is full. Log: {log}"
    assert "no_stage1, seed 0, stage 2: failed" in said[2]


def test_without_encoder_tokens_nothing_is_trained(data: Path, tmp_path: Path) -> None:
    run, said = fail(settings(data, tmp_path / "out"), ["both", "channel", "no_stage1"])
    assert run.failures == said and [line.split(":")[0] for line in said] == [
        "encoder tokens, spatial",
        "encoder tokens, channel",
    ]


def fail(given: Settings, arms: Sequence[str], *, but_for: str = "") -> tuple[Ablation, list[str]]:
    """Run commands that fail; returns the runs and what was said."""

    def start(command: Sequence[str], _: Any, log: Any, __: int) -> subprocess.Popen[bytes]:
        ending = "exit 0" if but_for in command else "echo 'error: the disk is full.'; exit 3"
        return subprocess.Popen(["sh", "-c", ending], stdout=log)

    said: list[str] = []
    run = Ablation(given, arms, [0], say=said.append, start=start)
    run.run()
    return run, said


def test_arms_side_by_side_caption_as_one_after_another(data: Path, finished: tuple[Settings, list[str]]) -> None:
    """Two at a time, each with its share of the cores; Ctrl-C reaches both, and both go on to the same captions."""
    given = settings(data, data.parent / "beside")
    threads, alive = set(), []

    class Beside(Forked):
        def __init__(self, command: Sequence[str], environment: dict[str, str], *rest: Any) -> None:
            threads.add(environment["OMP_NUM_THREADS"])
            super().__init__(command, environment, *rest)
            if "caching" not in command:
                alive.append(self)

        def wait(self, timeout: float | None = None) -> int:
            if len(alive) == 2 and self is alive[1]:
                os.kill(os.getpid(), signal.SIGINT)
            return super().wait(timeout)

    with pytest.raises(KeyboardInterrupt):
        train(given, ["both", "no_stage1"], [0], start=Beside, jobs=2)
    assert len(alive) == 2 and not (given.out / "both" / "seed0" / "evaluate").exists()
    assert threads == {str(max(1, len(os.sched_getaffinity(0)) // 2))}
    train(given, ["both", "no_stage1"], [0], jobs=2)
    for arm in ("both", "no_stage1"):
        files = [out / arm / "seed0" / "evaluate" / "captions.jsonl" for out in (finished[0].out, given.out)]
        first, second = ([json.loads(line)["caption"] for line in file.read_text().splitlines()] for file in files)
        assert first == second and len(first) == 4


def test_a_clean_end_before_the_last_epoch_is_no_result(data: Path, tmp_path: Path) -> None:
    run = Ablation(
        settings(data, tmp_path / "out"),
        ["both"],
        [0],
        say=lambda _: None,
        start=lambda _, __, log, ___: subprocess.Popen(["true"], stdout=log),
    )
    run.run()
    assert len(run.failures) == 1 and "ended before it was complete" in run.failures[0]


def test_other_settings_and_a_second_writer_are_refused(data: Path, tmp_path: Path, capsys: Any) -> None:
    import fcntl

    given = settings(data, tmp_path / "out")
    train(given, [], [0])
    other = settings(data, tmp_path / "out", caption_epochs=2)
    with pytest.raises(InputError, match="other settings .caption_epochs 1 there, 2 now.*give another folder"):
        train(other, [], [0])
    with (given.out / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another ablation is writing"):
            train(given, [], [0])
    common = [str(data), "--out", str(tmp_path / "out")]
    assert ablation.main([*common, "--report_only"]) == 1
    assert "no arm of this ablation has a finished run" in capsys.readouterr().err
    assert ablation.main([str(data), "--out", str(tmp_path / "none"), "--report_only"]) == 1
    assert "holds no ablation" in capsys.readouterr().err
    assert ablation.main([str(tmp_path), "--out", str(tmp_path / "new")]) == 1
    assert "DATA is a folder with datalist.json" in capsys.readouterr().err
    assert ablation.main([*common, "--caption_epochs", "0"]) == 1
    assert "--caption_epochs must be 1 or more" in capsys.readouterr().err


def test_limit_takes_cases_evenly_and_short_runs_warm_up_briefly(data: Path, tmp_path: Path) -> None:
    given = settings(data, tmp_path / "out", limit=4)
    train(given, [], [0])
    whole, part = (json.loads(file.read_text()) for file in (data / "datalist.json", given.datalist))
    with pytest.raises(InputError, match="limit 4 there, 2 now"):
        train(settings(data, tmp_path / "out", limit=2), [], [0])
    assert json.loads(given.datalist.read_text()) == part, "a refused call must leave the runs' datalist alone"
    assert part["training"] == whole["training"][::2] and part["validation"] == whole["validation"]
    assert warmup_steps(given, "train.json", epochs=10, cases=4) == 4  # 2 steps an epoch: a fifth of 20
    assert warmup_steps(given, "train.json", epochs=1000, cases=4) == 100  # the config's


def test_the_page_is_written_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"above\n{ablation.START}\nold\n{ablation.END}\nbelow\n")
    ablation.write_page(page, "new\n")
    assert page.read_text() == f"above\n{ablation.START}\nnew\n{ablation.END}\nbelow\n"
    page.write_text("no markers")
    with pytest.raises(InputError, match="to write between"):
        ablation.write_page(page, "new\n")
    assert ablation.START in (ROOT / "docs" / "experiments.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_command_line_is_stopped_by_sigterm_and_goes_on(data: Path, tmp_path: Path) -> None:
    """The command as a user calls it, every stage in a process of its own, all five arms."""
    out = tmp_path / "out"
    script = str(ROOT / "studies" / "ablation" / "run.py")
    command = [sys.executable, script, str(data), "--out", str(out), "--amp", "float32"]
    command += ["--seeds", "0", "--overlay", str(data / "tiny.json"), "--general_encoder", "starter"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "ablation"), "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while not (out / "stage1" / "plain-seed0" / "history.json").is_file() and first.poll() is None:
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)
    assert "the same command goes on" in first.communicate()[1] and first.returncode == 130
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((out / "ablation.json").read_text())
    assert [row["arm"] for row in result["arms"]] == list(ARMS)
    assert "| both, channel tokens | 1 |" in done.stdout
