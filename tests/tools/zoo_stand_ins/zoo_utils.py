"""What the zoo's own ``ci/unit_tests/utils.py`` gives to unit tests of bundles, as far as ours use it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow


def check_workflow(workflow: ConfigWorkflow, check_properties: bool = False) -> None:
    workflow.initialize()
    if check_properties and (missing := workflow.check_properties()):
        raise ValueError(f"properties are missing: {missing}")
    workflow.run()
    workflow.finalize()


def export_config_and_run_mgpu_cmd(
    *,
    config_file: list[str],
    meta_file: str,
    logging_file: str,
    override_dict: dict[str, Any],
    output_path: str,
    ngpu: int,
) -> None:
    parser = ConfigParser()
    parser.read_config(config_file)
    parser.update(pairs=override_dict)
    ConfigParser.export_config_file(parser.config, output_path, indent=4)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nnodes=1",
        f"--nproc_per_node={ngpu}",
        "-m",
        "monai.bundle",
        "run",
    ]
    command += ["--config_file", output_path, "--meta_file", meta_file, "--logging_file", logging_file]
    subprocess.check_call(command, env={**os.environ, "PYTHONPATH": override_dict["bundle_root"]})
