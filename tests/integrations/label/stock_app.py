"""Builds MONAI Label's own ``monaibundle`` app on our bundle and prints what it became; run as a process of its own.

python stock_app.py APP_FOLDER STUDIES [PATCHED]    # PATCHED: a folder whose monailabel/ goes before the installed one
"""

from __future__ import annotations

import importlib.machinery
import json
import sys
import types


def stand_in(name: str, **content: object) -> None:
    """A module that is imported but not needed: torchvision's wheel does not run beside a CPU build of torch."""
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
    module.__path__ = []
    vars(module).update(content)
    sys.modules[name] = module


def main() -> None:
    app_dir, studies, *patched = sys.argv[1:]
    # Before the stand-in: transformers asks once whether there is a torchvision, and would take it for one.
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, image_utils  # noqa: F401

    stand_in("pydicom_seg")
    stand_in("torchvision")
    stand_in("torchvision.utils", make_grid=None, save_image=None)
    sys.modules["torchvision"].utils = sys.modules["torchvision.utils"]
    if patched:
        import monailabel.tasks.infer

        monailabel.tasks.infer.__path__.insert(0, f"{patched[0]}/monailabel/tasks/infer")
    from monailabel.utils.others.class_utils import get_class_of_subclass_from_file

    conf = {"models": "msmedcap", "zoo_source": "local", "sam2": "false"}
    app = get_class_of_subclass_from_file("main", f"{app_dir}/main.py", "MONAILabelApp")(app_dir, studies, conf)
    info = app.info()
    infer = {}
    for image in ("picture", "head"):
        try:
            answer = app.infer({"model": "msmedcap", "image": image, "device": "cpu"})
            infer[image] = f"answered: {answer['params'].get('prediction')}"
        except Exception as error:
            infer[image] = f"{type(error).__name__}: {error}"
    print("RESULT " + json.dumps({"models": info["models"], "trainers": list(info["trainers"]), "infer": infer}))


if __name__ == "__main__":
    main()
