"""Training, evaluation and captions of msmedcap at tiny sizes, as the zoo runs them before a merge."""

import os
import shutil
import tempfile
import unittest

from monai.bundle import ConfigWorkflow
from msmedcap_parts import BUNDLE_ROOT, make_data, make_language_model, tiny, tiny_training
from utils import check_workflow


def test_order(test_name1, test_name2):
    def get_order(name):
        for place, part in enumerate(("pretrain", "train", "infer")):
            if part in name:
                return place
        return 3

    return get_order(test_name1) - get_order(test_name2)


def workflow(workflow_type, names, override):
    configs = os.path.join(BUNDLE_ROOT, "configs")
    return ConfigWorkflow(
        workflow_type=workflow_type,
        config_file=[os.path.join(configs, f"{name}.json") for name in names],
        logging_file=os.path.join(configs, "logging.conf"),
        meta_file=os.path.join(configs, "metadata.json"),
        **override,
    )


class TestMSMedCap(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dataset_dir = tempfile.mkdtemp()
        cls.work_dir = tempfile.mkdtemp()
        make_data(cls.dataset_dir)
        cls.language_model = make_language_model(os.path.join(cls.work_dir, "language_model"))

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dataset_dir)
        shutil.rmtree(cls.work_dir)

    def outputs(self, name):
        return os.path.join(self.work_dir, name)

    def test_1_pretrain_config(self):
        override = tiny_training(self.dataset_dir, self.language_model, self.outputs("pretrain"))
        override["tokenizer"] = {
            "_target_": "scripts.checkpoints.stages.text_tokenizer",
            "source": self.language_model,
        }
        override.pop("language_model_name")
        check_workflow(workflow("train", ["pretrain"], override), check_properties=True)
        self.assertTrue(os.path.isfile(os.path.join(self.outputs("pretrain"), "model.pt")))

    def test_2_train_eval_config(self):
        override = tiny_training(self.dataset_dir, self.language_model, self.outputs("train"))
        override["pretrained"] = os.path.join(self.outputs("pretrain"), "model.pt")
        check_workflow(workflow("train", ["train"], override), check_properties=True)
        weights = os.path.join(self.outputs("train"), "model.pt")
        override.update({"weights": weights, "concept_reader": "", "output_dir": self.outputs("evaluate")})
        # override train.json, thus set the workflow to "train" rather than "eval"
        check_workflow(workflow("train", ["train", "evaluate"], override), check_properties=True)
        self.assertTrue(os.path.isfile(os.path.join(self.outputs("evaluate"), "evaluation.json")))

    def test_3_infer_config(self):
        override = tiny(self.dataset_dir, self.language_model, self.outputs("infer"))
        weights = os.path.join(self.outputs("train"), "model.pt")
        override.update({"section": "validation", "weights": weights, "concept_reader": "", "calibration": ""})
        check_workflow(workflow("infer", ["inference"], override), check_properties=True)
        with open(os.path.join(self.outputs("infer"), "captions.jsonl")) as file:
            self.assertEqual(len(file.readlines()), 2)


if __name__ == "__main__":
    loader = unittest.TestLoader()
    loader.sortTestMethodsUsing = test_order
    unittest.main(testLoader=loader)
