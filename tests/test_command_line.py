"""Arguments as people type them: any name of a folder, an option with a typing error, a config that does not exist."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fire.parser import DefaultParseValue

from scripts.command_line import as_typed
from scripts.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
CONFIG = str(ROOT / "bundle" / "configs" / "inference.json")
NAMES = ["1001", "1e5", "True", "None", "0x10", "a,b", "[x]", "{a}", "@arch", "$RECYCLE", "%20x", "x#y", "-x", "plain"]


def _value(arguments: list[str], option: str) -> object:
    for at, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == f"--{option}":
            return DefaultParseValue(value if equals else arguments[at + 1])
    raise AssertionError(arguments)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("absolute", [False, True])
def test_a_folder_of_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, absolute: bool) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    given = str(tmp_path / name) if absolute else name
    arguments = as_typed(
        ["run", "--config_file", CONFIG, "--dataset_dir", given, "--datalist", "", "--output_dir", "o"]
    )
    value = _value(arguments, "dataset_dir")
    assert isinstance(value, str) and value[:1] not in ("@", "$", "%")
    assert Path(value).samefile(tmp_path / name)
    assert arguments[-4:] == ["--datalist", "", "--output_dir", "o"]


def test_references_and_expressions_are_left_alone() -> None:
    for value in ("@bundle_root", "$os.getcwd()", "%other.json::key"):
        assert _value(as_typed(["run", "--config_file", CONFIG, "--dataset_dir", value]), "dataset_dir") == value


def test_an_unknown_option_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"--dataset_dri is not known .* did you mean --dataset_dir\?"):
        as_typed(["run", "--config_file", CONFIG, "--dataset_dri", "x"])
    assert as_typed(["run", "training", "--config_file", CONFIG, "--network_def#prompt", "x"])


def test_a_config_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"inferenc\.json does not exist; did you mean .*inference\.json"):
        as_typed(["run", "--config_file", CONFIG.replace("inference", "inferenc")])
    with pytest.raises(InputError, match="does not exist"):
        as_typed(["run", "--config_file", f"['{CONFIG}','{tmp_path / 'nope.json'}']"])


def test_the_line_of_the_environment_ends_with_one_sentence(tmp_path: Path) -> None:
    """A package that stands for MONAI prints its arguments; the line is at work before it starts."""
    fake = tmp_path / "monai" / "bundle"
    fake.mkdir(parents=True)
    (fake.parent / "__init__.py").touch()
    (fake / "__init__.py").touch()
    (fake / "__main__.py").write_text("import sys; print(sys.argv[1:], [n for n in sys.modules if 'scripts' in n])")
    sys.path.insert(0, str(ROOT / "tools"))
    import command_line_hook

    line = command_line_hook.install(ROOT / "bundle", tmp_path).read_text()
    (tmp_path / "sitecustomize.py").write_text(line * 2)  # as in a virtual environment, which runs it twice
    done = _run(tmp_path, "-m", "monai.bundle", "run", "--config_file", "nope.json")
    assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: config_file nope.json does not exist")
    good = _run(tmp_path, "-m", "monai.bundle", "run", "--config_file", CONFIG, "--dataset_dir", "1001")
    assert "--dataset_dir='1001'" in good.stdout and good.stderr.count("Loading") == 1, good.stderr
    assert good.stdout.endswith(" []\n")  # the command may run another bundle's `scripts`
    other = _run(
        tmp_path, "-c", "import sys; print(sys.argv)", "-m", "monai.bundle", "run", "--config_file", "nope.json"
    )
    assert other.returncode == 0


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False,
                          env={"PYTHONPATH": str(folder)})  # fmt: skip
