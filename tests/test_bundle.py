"""The bundle on disk: what it holds, that it carries itself, what stops one that is damaged."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from bundle_helpers import IDS, STORE, TITLES, Made, made, make_bundle, small_params
from safetensors import safe_open

from mooc_maml.common.errors import UserError
from mooc_maml.ranking.query_ranks import query_ranks
from mooc_maml.recommend import Recommender
from mooc_maml.recommend.bundle import read_bundle
from mooc_maml.recommend.export import export_bundle

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def whole() -> Made:
    return made()


@pytest.fixture
def copy(whole: Made, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole.folder, tmp_path / "a bundle"))


def test_it_says_what_it_is(whole: Made) -> None:
    info = read_bundle(whole.folder)
    assert info.courses == IDS
    assert info.titles == [TITLES.get(id) for id in IDS]
    assert info.titles[-1] is None
    assert info.data.synthetic
    assert info.data.learners == len(STORE.episodes["test"])
    assert info.rules.support_size == 2
    kinds = {model.name: model.kind for model in info.models}
    assert kinds == {
        "few_shot": "adapted",
        "mixture": "adapted",
        "gru_fine_tuned": "adapted",
        "repeat": "informed",
        "gru_with_history": "informed",
        "pool": "informed",
        **dict.fromkeys(("zero_shot", "mixture_zero_shot", "popularity", "markov"), "plain"),
        **dict.fromkeys(("v_sknn", "gru"), "plain"),
    }
    carrying = {model.name for model in info.models if model.carries_learners}
    assert carrying == {"v_sknn", "pool", "mixture", "mixture_zero_shot"}
    on_validation = [model.validation[info.validation_metric] for model in info.models]
    assert on_validation == sorted(on_validation, reverse=True)
    best = next(model.name for model in info.models if not model.carries_learners)
    assert info.default_model == best
    tested = whole.run.tested
    for model in info.models:
        assert model.metrics["MRR"].mean == tested.models[model.name]["MRR"]
        low, high = tested.intervals_95[model.name]["MRR"]
        assert (model.metrics["MRR"].low, model.metrics["MRR"].high) == (low, high)


def test_no_file_can_hold_code_and_none_tells_of_the_machine(whole: Made) -> None:
    for path in whole.folder.rglob("*"):
        if path.is_file() and path.name != "bundle.json":
            with safe_open(path, "np") as file:
                assert set(file.metadata()) == {"mooc_maml"}
    text = (whole.folder / "bundle.json").read_text()
    assert not {"raw", "work", "spark", "titles"} & set(json.loads(text)["settings"]["data"])


def test_the_same_run_gives_the_same_bytes(whole: Made, tmp_path: Path) -> None:
    export_bundle(tmp_path / "again", whole.run)
    for path in whole.folder.rglob("*"):
        if path.is_file():
            again = tmp_path / "again" / path.relative_to(whole.folder)
            assert again.read_bytes() == path.read_bytes(), path.name


def test_every_model_ranks_as_in_the_test(whole: Made) -> None:
    bundle = Recommender.load(whole.folder)
    for name, expected in whole.contenders.answers("test"):
        if name == "random":
            continue
        model = bundle.read(name)
        score = bundle._seen.without(lambda s, q, own=model: own.after(s, q, None))
        found = query_ranks(score, STORE, "test", tasks_at_once=32, device=CPU)
        assert np.array_equal(found, expected.ranks), name


@pytest.mark.parametrize("variant", ["anil", "meta_sgd", "maml_plus_plus", "reliability", "ridge"])
def test_other_variants_carry_what_they_learned(variant: str, tmp_path: Path) -> None:
    few = {"models": ("popularity", "gru")}
    params = small_params(baselines=few, composites={"models": ()}, meta={"variant": variant})
    found = make_bundle(tmp_path, params)
    own = Recommender.load(found.folder).read("few_shot")
    ranks = query_ranks(
        lambda s, q: own.after(s, q, None), STORE, "test", tasks_at_once=32, device=CPU
    )
    expected = dict(found.contenders.answers("test"))["few_shot"].ranks
    assert np.array_equal(ranks, expected)


def test_the_transformer_is_carried(tmp_path: Path) -> None:
    few = {"models": ("popularity", "gru")}
    shape = {"backbone": "transformer", "transformer": {"dim": 4, "heads": 2, "blocks": 1}}
    found = make_bundle(
        tmp_path, small_params(baselines=few, composites={"models": ()}, model=shape)
    )
    own = Recommender.load(found.folder).read("few_shot")
    ranks = query_ranks(
        lambda s, q: own.after(s, q, None), STORE, "test", tasks_at_once=32, device=CPU
    )
    assert np.array_equal(ranks, dict(found.contenders.answers("test"))["few_shot"].ranks)


def test_reading_needs_nothing_else_and_changes_no_setting(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def state() -> tuple[object, ...]:
        is_set = torch.are_deterministic_algorithms_enabled(), torch.is_grad_enabled()
        return torch.get_num_threads(), torch.get_default_dtype(), is_set

    monkeypatch.chdir(tmp_path)  # neither params.yaml nor episodes
    before = state()
    bundle = Recommender.load(copy)
    for name in bundle.models:
        assert bundle.recommend([[IDS[:4]]], model=name)[0].after
    assert state() == before


def test_without_the_folder_of_learners_it_is_whole_and_has_no_such_model(copy: Path) -> None:
    shutil.rmtree(copy / "with_learners")
    bundle = Recommender.load(copy)
    assert "few_shot" in bundle.models
    assert not {"v_sknn", "pool", "mixture"} & set(bundle.models)
    with pytest.raises(UserError, match="found 'mixture', this bundle has "):
        bundle.recommend([[IDS[:4]]], model="mixture")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def other(path: Path) -> None:
    """Another model's file in its place, cut or filled to the size."""
    size = path.stat().st_size
    path.write_bytes((path.parent / "gru.safetensors").read_bytes().ljust(size, b"\0")[:size])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (Path.unlink, "no such file, expected"),
        (cut, "bytes, expected"),
        (flip, "another sha256"),
        (other, "another sha256"),
    ],
)
def test_a_file_that_is_not_whole_stops_it(
    copy: Path, damage: Callable[[Path], object], words: str
) -> None:
    damage(copy / "maml.safetensors")
    with pytest.raises(UserError, match=words) as error:
        Recommender.load(copy).read("few_shot")
    assert "maml.safetensors" in str(error.value)
    assert "\n" not in str(error.value)


def changed(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2}, "format 2, made by mooc-maml .*this program reads format 1"),
        ({"format": "1"}, "not the description of a bundle"),
        ({"made_by": 3}, "key made_by: input should be a valid string"),
        ({"courses": ["a", "a"]}, "named twice"),
        ({"titles": ["a"]}, "1 titles of 12 courses"),
        ({"default_model": "nix"}, "default_model nix is none"),
        ({"surprise": 1}, "key surprise"),
    ],
)
def test_a_description_that_is_wrong_stops_it(
    copy: Path, changes: dict[str, object], words: str
) -> None:
    changed(copy / "bundle.json", **changes)
    with pytest.raises(UserError, match=words) as error:
        Recommender.load(copy)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '{"format": 1'])
def test_json_that_is_none_stops_it(copy: Path, text: str) -> None:
    (copy / "bundle.json").write_text(text)
    with pytest.raises(UserError, match=r"bundle\.json: not "):
        Recommender.load(copy)


def test_a_path_out_of_the_bundle_is_refused(copy: Path) -> None:
    content = json.loads((copy / "bundle.json").read_text())
    content["models"][0]["file"] = "../elsewhere.safetensors"
    (copy / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="is none of its files"):
        Recommender.load(copy)


@pytest.mark.parametrize(
    "own", [{"variant": "anil"}, {"backbone": "transformer"}, {"variant": "nix"}]
)
def test_a_variant_that_does_not_fit_stops_it(copy: Path, own: dict[str, str]) -> None:
    content = json.loads((copy / "bundle.json").read_text())
    for model in content["models"]:
        if model.get("adaptation"):
            model["adaptation"] |= own
    (copy / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="backbone gru and variant maml, the bundle says "):
        Recommender.load(copy).read("few_shot")


def test_a_bundle_older_than_a_setting_says_which(copy: Path) -> None:
    content = json.loads((copy / "bundle.json").read_text())
    for model in content["models"]:
        if model.get("adaptation"):
            del model["adaptation"]["settings"]["meta"]["adapt_on"]
            del model["adaptation"]["settings"]["inner_lr_bias"]
    (copy / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(
        UserError, match=r"no settings meta\.adapt_on, inner_lr_bias; it was made by"
    ):
        Recommender.load(copy).read("few_shot")


def test_no_bundle_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dvc repro export"):
        Recommender.load(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Not a directory"):
        Recommender.load(tmp_path / "file")
