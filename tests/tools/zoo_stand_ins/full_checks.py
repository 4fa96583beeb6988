"""The checks of the zoo's full mode on a bundle below ``models/``, in a process of its own: prints ``RESULT``.

python full_checks.py    # in the folder that make zoo wrote, with models/msmedcap on PYTHONPATH
"""

from __future__ import annotations

import json

import monai.bundle
from monai.bundle.properties import InferProperties, MetaProperties

ROOT = "models/msmedcap"
FILES = {"meta_file": f"{ROOT}/configs/metadata.json", "config_file": f"{ROOT}/configs/inference.json"}


def main() -> None:
    workflow = monai.bundle.create_workflow(
        workflow_type="inference",
        bundle_root=ROOT,
        logging_file=f"{ROOT}/configs/logging.conf",
        dataset_dir="image.png",
        **FILES,
    )
    workflow.properties = {**MetaProperties, **InferProperties}
    found: dict[str, object] = {"missing": workflow.check_properties()}
    monai.bundle.verify_net_in_out(net_id="network_def", bundle_root=ROOT, device="cpu", **FILES)
    try:
        monai.bundle.ckpt_export(
            net_id="network_def",
            filepath=f"{ROOT}/models/verify_model.ts",
            ckpt_file=f"{ROOT}/models/model.pt",
            bundle_root=ROOT,
            **FILES,
        )
    except ValueError as error:
        found["export"] = str(error)
    print("RESULT " + json.dumps(found))


if __name__ == "__main__":
    main()
