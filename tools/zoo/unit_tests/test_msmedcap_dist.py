"""Training of msmedcap in several processes at tiny sizes, as the zoo runs it on its GPUs."""

import os
import shutil
import tempfile
import unittest

import torch
from msmedcap_parts import BUNDLE_ROOT, make_data, make_language_model, tiny_training
from utils import export_config_and_run_mgpu_cmd


class TestMSMedCapMGPU(unittest.TestCase):
    def setUp(self):
        self.dataset_dir = tempfile.mkdtemp()
        self.work_dir = tempfile.mkdtemp()
        make_data(self.dataset_dir)

    def tearDown(self):
        shutil.rmtree(self.dataset_dir)
        shutil.rmtree(self.work_dir)

    def test_train_mgpu_config(self):
        language_model = make_language_model(os.path.join(self.work_dir, "language_model"))
        override = tiny_training(self.dataset_dir, language_model, os.path.join(self.work_dir, "train"))
        override.pop("device")  # each process has its own
        override["pretrained"] = ""
        configs = os.path.join(BUNDLE_ROOT, "configs")
        output_path = os.path.join(configs, "train_override.json")
        self.addCleanup(lambda: os.path.isfile(output_path) and os.remove(output_path))
        export_config_and_run_mgpu_cmd(
            config_file=[os.path.join(configs, "train.json"), os.path.join(configs, "multi_gpu.json")],
            logging_file=os.path.join(configs, "logging.conf"),
            meta_file=os.path.join(configs, "metadata.json"),
            override_dict=override,
            output_path=output_path,
            ngpu=max(2, torch.cuda.device_count()),
        )
        self.assertTrue(os.path.isfile(os.path.join(self.work_dir, "train", "model.pt")))


if __name__ == "__main__":
    unittest.main()
