"""docs/extend.md: each example is registered as the page says, and run on small data."""

import json
import re
from pathlib import Path
from typing import Any

import committed
import numpy as np
import pytest
import torch
from committed import ROOT
from training_helpers import CPU, STORE, run, tiny_params

from mooc_maml.baselines.registry import BASELINES
from mooc_maml.common.errors import UserError
from mooc_maml.evaluation.records import read_ranks
from mooc_maml.meta.backbones import BACKBONES
from mooc_maml.meta.files import keep_model
from mooc_maml.meta.model import read_meta_model
from mooc_maml.meta.train import MetaTrainer
from mooc_maml.meta.variants import VARIANTS, variant_of
from mooc_maml.preprocess.sessions import preprocess
from mooc_maml.ranking.query_ranks import query_ranks
from mooc_maml.ranking.seen import NONE_LEFT_OUT
from mooc_maml.settings.params import Params, parse_params
from mooc_maml.sources import SOURCES

PAGE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^## An? (\w+):.*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))


def example(name: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(EXAMPLES[name], f"docs/extend.md, {name}", "exec"), names)
    return names


def named(params: Params, section: str, **changes: object) -> Params:
    """With the name of an example, which the settings' own list does not have."""
    own = getattr(params, section).model_copy(update=changes)
    return params.model_copy(update={section: own})


def ranks(score: Any) -> Any:
    return query_ranks(score, STORE, "test", tasks_at_once=32, device=CPU)


def test_there_is_an_example_of_each() -> None:
    assert list(EXAMPLES) == ["variant", "backbone", "baseline", "source", "metric"]
    assert PAGE.count("```python") == len(EXAMPLES)
    for path in re.findall(r"`((?:\w+/)+\w+\.py)`", PAGE):
        assert (ROOT / "src" / "mooc_maml" / path).is_file(), path
    tables = re.findall(r"`(?:\w+\.)?(\w+)` of\s+`([\w/]+\.py)`", PAGE)
    assert len(tables) == 9
    for name, path in tables:
        assert name in (ROOT / "src" / "mooc_maml" / path).read_text(encoding="utf-8")


def test_the_variant_takes_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VARIANTS, "one_step", example("variant")["OneStep"])
    plain = {n: tiny_params(num_inner_steps=n, num_meta_iterations=4) for n in (1, 3)}
    params = named(plain[3], "meta", variant="one_step")
    assert variant_of(params).steps(STORE.support("test", np.arange(2))) == 1
    own, one, three = (run(MetaTrainer(STORE, x, CPU)).weights for x in (params, *plain.values()))
    assert all(torch.equal(own[name], one[name]) for name in one)
    assert any(not torch.equal(own[name], three[name]) for name in three)


def test_the_backbone_is_meta_trained_and_adapts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(BACKBONES, "bag", example("backbone")["BAG"])
    params = tiny_params(meta={"variant": "anil"}, inner_lr=0.5, num_meta_iterations=40)
    params = named(params, "model", backbone="bag")
    trainer = run(MetaTrainer(STORE, params, CPU))
    losses = trainer.progress.losses
    assert np.mean(losses[-8:]) < np.mean(losses[:8])
    keep_model(tmp_path, trainer)
    meta = read_meta_model(tmp_path, params, STORE.num_courses, NONE_LEFT_OUT)
    assert (ranks(meta.scores(0)) != ranks(meta.scores(None))).any()


def test_the_baseline_ranks_the_current_course_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(BASELINES, "last_course", example("baseline")["LastCourse"])
    kind = BASELINES["last_course"]
    path = tmp_path / f"last_course{kind.ending}"
    kind.train(STORE, tiny_params(), CPU, print).write(path)
    model = kind.read(path, STORE.num_courses, CPU)
    found = ranks(model.scores)
    pairs = STORE.query_pairs("test", np.arange(len(found)))
    at = STORE.label_step[pairs]
    again = STORE.courses[at] == STORE.courses[at - 1]
    assert ((found == 1) == again).all()
    assert (found[~again] == STORE.num_courses).all()  # ties count against it
    with pytest.raises(UserError, match="it was made from other data"):
        kind.read(path, STORE.num_courses + 1, CPU)


def test_the_source_is_read_to_pairs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(SOURCES, "lines", example("source")["LINES"])
    (tmp_path / "lines").mkdir()
    rows = [("ann", "algebra", 0), ("ann", "logic", 60), ("ann", "optics", 120), ("bo", "law", 0)]
    rows += [("bo", "logic", 4000)]  # a pause: another session, and either has one event
    lines = [json.dumps({"who": a, "what": b, "when": 1_767_603_600 + c}) for a, b, c in rows]
    (tmp_path / "lines" / "log.jsonl").write_text("\n".join([*lines, '{"who": 1}']))
    params = parse_params(committed.settings())
    params = named(params, "data", source="lines", max_bad_records=0.5)
    account = preprocess(tmp_path / "lines", tmp_path / "pairs", params)
    assert (account["raw_events"], account["pairs"]) == (6, 2)
    assert account["bad_records"]["first"][0]["place"] == "line 6"  # type: ignore[index]


def test_the_metric_counts_hits(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = example("metric")
    assert names["hit_at"]([1, 5, 11], 5).tolist() == [1, 1, 0]
    table = pa.table({"query": [0, 1, 0, 1], "rank": [1, 9, 3, 2]})
    pq.write_table(table, tmp_path / "own.parquet")
    assert read_ranks(tmp_path / "own.parquet").tolist() == [[1, 9], [3, 2]]
    assert names["share_of_hits"](tmp_path / "own.parquet", 2) == (0.5 + 0.5) / 2
    assert names["share_of_hits"](tmp_path / "own.parquet", 3) == (0.5 + 1) / 2
