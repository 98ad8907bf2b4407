"""The ONNX file of the zero-shot GRU against PyTorch: every prefix length, one learner and many."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from bundle_helpers import IDS, made

from mooc_maml.common.errors import UserError
from mooc_maml.models.gru import GRURecommender
from mooc_maml.models.model_file import read_module
from mooc_maml.recommend import Recommender
from mooc_maml.recommend.bundle import read_bundle
from mooc_maml.recommend.onnx_file import write_onnx


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> onnxruntime.InferenceSession:
    path = tmp_path_factory.mktemp("onnx") / "zero_shot.onnx"
    write_onnx(made().folder, read_bundle(made().folder), "zero_shot", path)
    onnx.checker.check_model(str(path))
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("learners", [1, 2, 17])
def test_scores_are_those_of_pytorch(session: onnxruntime.InferenceSession, learners: int) -> None:
    model = read_module(made().folder / "maml.safetensors", GRURecommender)
    rng = np.random.default_rng(learners)
    for time in range(1, 51):
        length = rng.integers(1, time + 1, learners)
        length[0] = time
        courses = rng.integers(1, 13, (learners, time)) * (np.arange(time) < length[:, None])
        (found,) = session.run(None, {"courses": courses, "length": length})
        rows, last = torch.arange(learners), torch.from_numpy(length - 1)
        with torch.no_grad():
            expected = model(torch.from_numpy(courses), rows, last).numpy()
        assert found.shape == (learners, 12)
        assert np.abs(found - expected).max() < 1e-5, time


def test_its_list_is_that_of_the_bundle(session: onnxruntime.InferenceSession) -> None:
    ids = json.loads(session.get_modelmeta().custom_metadata_map["courses"])
    assert ids == IDS
    told = np.array([[2, 5, 1, 9]])
    (scores,) = session.run(None, {"courses": told, "length": np.array([4])})
    history = [ids[number - 1] for number in told[0]]
    (found,) = Recommender.load(made().folder).recommend([[history]], model="zero_shot", top=12)
    assert [own.course.id for own in found.after] == [ids[i] for i in np.argsort(-scores[0])]


@pytest.mark.parametrize("name", ["few_shot", "repeat", "popularity", "mixture_zero_shot", "nix"])
def test_what_is_no_such_model(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"allowed are zero_shot|found 'nix'"):
        write_onnx(made().folder, read_bundle(made().folder), name, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())
