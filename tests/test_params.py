import re
import subprocess
import sys

import committed
import pytest
import yaml
from pipeline_files import leaves

from mooc_maml.settings.params import ParamsError, load_params, parse_params

PARAMS = committed.settings_text()


def test_the_committed_settings_are_the_documents(make_params, tmp_path):
    (tmp_path / "params.yaml").write_text(PARAMS)
    params = load_params(tmp_path / "params.yaml")
    assert (params.seed, params.use_second_order) == (20260107, True)
    assert (params.inner_lr, params.outer_lr, params.num_inner_steps) == (0.01, 0.001, 5)
    assert (params.meta_batch_size, params.num_meta_iterations) == (32, 10_000)
    assert (params.eval_interval, params.checkpoint_interval) == (500, 1_000)
    assert params.max_grad_norm == 10
    assert (params.sessions.gap_seconds, params.sessions.min_events) == (1800, 2)
    assert (params.episodes.support_size, params.episodes.query_size) == (5, 10)
    assert params.episodes.max_prefix_length == 50
    assert params.ablations.support_sizes == (1, 2, 3, 5, 10)
    assert params.ablations.inner_steps == (1, 3, 5, 10)
    assert make_params() == params


@pytest.mark.parametrize("text", ["1e-05", "1e-5", "0.00001", "1.0e-05"])
def test_a_float_that_yaml_takes_for_text_is_a_number(tmp_path, text):
    path = tmp_path / "params.yaml"
    line = "inner_lr: 0.01 "
    assert line in PARAMS
    path.write_text(PARAMS.replace(line, f"inner_lr: {text} "))
    assert load_params(path).inner_lr == 1e-5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inner_lrr": 0.1}, r"inner_lrr: no such setting \(found 0\.1\)"),
        ({"data": {"sourse": "table"}}, r"data\.sourse: no such setting"),
        ({"data": {"table": {"user": "id"}}}, r"data\.table\.user: no such setting"),
        ({"data": {"source": "kaggle"}}, r"data\.source: found 'kaggle'; .*'synthetic'.*'table'"),
        ({"inner_lr": "fast"}, r"inner_lr: found 'fast'; expected a number"),
        ({"inner_lr": True}, r"inner_lr: found True; expected a number"),
        ({"inner_lr": 0}, r"inner_lr: found 0; expected a number above 0, at most 1,000"),
        ({"inner_lr": float("nan")}, r"inner_lr: found nan"),
        ({"outer_lr": -1e-3}, r"outer_lr: found -0\.001; .*above 0"),
        ({"num_inner_steps": 2.5}, r"num_inner_steps: found 2\.5; .*integer"),
        ({"num_inner_steps": "5"}, r"num_inner_steps: found '5'; .*integer"),
        ({"meta_batch_size": 0}, r"meta_batch_size: found 0; .*from 1 to 100,000"),
        ({"use_second_order": "yes"}, r"use_second_order: found 'yes'; .*boolean"),
        ({"use_second_order": 1}, r"use_second_order: found 1; .*boolean"),
        ({"model": {"dropout": 1}}, r"model\.dropout: found 1; .*below 1"),
        ({"model": None}, r"model: found None"),
        ({"ablations": {"support_sizes": []}}, r"ablations\.support_sizes: "),
        ({"ablations": {"support_sizes": [1, 0]}}, r"ablations\.support_sizes\.1: found 0"),
        ({"episodes": {"train_fraction": 0.9}}, r"add up to 1, not 1\.1"),
        ({"data": {"files": "../secret"}}, r"data\.files\.0: found '\.\./secret'"),
        ({"data": {"files": "/etc/passwd"}}, r"data\.files\.0: found '/etc/passwd'"),
        ({"data": {"max_bad_records": 1.5}}, r"data\.max_bad_records: found 1\.5"),
        ({"data": {"memory_limit": "much"}}, r"data\.memory_limit: found 'much'; .*such as 800MB"),
        ({"data": {"memory_limit": 0}}, r"data\.memory_limit: found 0; .*such as 800MB"),
        ({"baselines": {"models": 3}}, r"baselines\.models: found 3; input should be a list"),
        ({"data": {"memory_limit": "1KB"}}, r"data\.memory_limit: found '1KB'; .*from 1MB on"),
        (
            {"data": {"memory_limit": "\u0662GB"}},
            r"data\.memory_limit: found '\u0662GB'; .*from 1MB",
        ),
        ({"data": {"memory_limit": "2\u00a0GB"}}, r"data\.memory_limit: found '2.*GB'; .*from 1MB"),
        (
            {"data": {"memory_limit": "0.0GB"}},
            r"data\.memory_limit: found '0.0GB'; .*such as 800MB",
        ),
        (
            {"data": {"memory_limit": "2 GBB"}},
            r"data\.memory_limit: found '2 GBB'; .*such as 800MB",
        ),
        ({"data": {"memory_limit": "9999999TB"}}, r"found '9999999TB'; .*such as 800MB"),
        ({"baselines": {"models": ["gru"]}}, r"baselines: models gru: popularity is missing"),
        ({"baselines": {"models": ["gru", "ncf"]}}, r"baselines\.models\.1: found 'ncf'; .* gru,"),
        (
            {"baselines": {"models": ["gru_tunde"]}},
            r"models\.0: found 'gru_tunde'; expected one of random, .*; did you mean gru_tuned\?",
        ),
        (
            {"baselines": {"models": ["gru", "popularity", "pool"]}},
            r"baselines\.models\.2: found 'pool'; .*name it in composites\.models",
        ),
        ({"composites": {"models": ["gru"]}}, r"composites\.models\.0: found 'gru'; expected one"),
        (
            {"baselines": {"epochs": 3}},
            r"baselines\.epochs: no such .*it is baselines\.gru\.epochs",
        ),
        ({"baselines": {"neighbours": 3}}, r"it is baselines\.v_sknn\.neighbours now"),
        ({"baselines": {"mixture": {"steps": 3}}}, r"it is composites\.mixture now"),
        ({"baselines": {"markov": {"prior": 3}}}, r"baselines\.markov\.prior: no such setting"),
        (
            {"baselines": {"models": ["gru", "popularity", "gru"]}},
            r"models gru, popularity, gru: expected no model twice",
        ),
        (
            {"baselines": {"sasrec": {"heads": 3}}},
            r"sasrec: dim 64: expected a multiple of heads, 3",
        ),
        ({"composites": {"gru_fine_tuned": {"steps": [0]}}}, r"gru_fine_tuned\.steps\.0: found 0"),
        (
            {"baselines": {"models": ["gru", "popularity"]}, "composites": {"models": ["blend"]}},
            r": composites\.models: blend is made of gru, markov, v_sknn; missing: markov, v_sknn",
        ),
        (
            {"composites": {"models": ["mixture_zero_shot"]}},
            r"mixture_zero_shot is made of mixture; missing: mixture; name these too",
        ),
        (
            {"hardware": {"processes": 0}},
            r"hardware\.processes: found 0; expected auto, or .* 1024",
        ),
        ({"hardware": {"processes": True}}, r"processes: found True; expected auto, or a number"),
        ({"hardware": {"processes": "many"}}, r"processes: found 'many'; expected auto"),
        ({"hardware": {"threads": 0}}, r"hardware\.threads: found 0; .*from 1 to 1,024"),
        ({"hardware": {"tasks_at_once": 10**9}}, r"tasks_at_once: .*from 1 to 1,000,000"),
        (
            {"sessions": {"gap_seconds": 1e33}},
            r"gap_seconds: found 1e\+33; .*above 0, at most 1,000,000,000",
        ),
        (
            {"episodes": {"support_size": 10**30}},
            r"support_size: .*from 1 to 10,000$",
        ),
        ({"hardware": {"device": "tpu"}}, r"hardware\.device: found 'tpu'; .*'auto'"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_what_is_allowed(make_params, changes, words):
    with pytest.raises(ParamsError, match=words):
        make_params(**changes)


NUMBERS = [
    key
    for key, value in leaves(yaml.safe_load(PARAMS)).items()
    for one in (value if isinstance(value, list) else [value])[:1]
    if type(one) in (int, float) or key in ("episodes.split_seed", "hardware.processes")
]


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("found", [10**30, -1, float("inf")])
def test_no_number_may_be_as_large_or_small_as_it_likes(key, found):
    content = yaml.safe_load(PARAMS)
    *sections, name = key.split(".")
    place = content
    for section in sections:
        place = place[section]
    place[name] = [found] if isinstance(place[name], list) else found
    with pytest.raises(ParamsError) as error:
        parse_params(content)
    assert f"{key}" in str(error.value)
    if isinstance(found, int):
        assert re.search(
            r"from [\d.,]+ to [\d.,]+|above 0, at most [\d.,]+|below 1", str(error.value)
        )


def test_every_fault_is_named_at_once_and_a_missing_key_too():
    content = yaml.safe_load(PARAMS)
    del content["seed"]
    content["outer_lr"] = 0
    with pytest.raises(ParamsError) as error:
        parse_params(content)
    seed, outer_lr = sorted(str(error.value).splitlines(), reverse=True)
    assert seed.startswith("params.yaml: seed: missing")
    assert outer_lr.startswith("params.yaml: outer_lr: found 0")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed: [1", "not valid YAML"),
        ("- seed", "expected keys and values"),
        ("", "expected keys"),
        ("seed: 1\nseed: 2", "seed comes twice"),
        ("data:\n  files: a\n  files: b", "files comes twice"),
    ],
)
def test_what_is_no_settings_file_is_said(tmp_path, text, words):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError, match=words):
        load_params(path)
    with pytest.raises(ParamsError, match="no such file"):
        load_params(tmp_path / "missing.yaml")


def test_settings_cannot_be_changed_at_run_time(make_params):
    with pytest.raises(ValueError, match="frozen"):
        make_params().seed = 1


def test_every_setting_of_params_yaml_is_explained():
    for number, line in enumerate(PARAMS.splitlines(), start=1):
        _, _, rest = line.partition(":")
        starts_section = not rest.strip()
        if line.strip() and not line.lstrip().startswith("#") and not starts_section:
            explained = "#" in rest and rest.split("#", 1)[1].strip()
            assert explained, f"params.yaml line {number}: {line}"


def test_settings_are_checked_without_any_model_code():
    code = (
        "import sys; from mooc_maml.settings.params import load_params; "
        f"load_params({str(committed.ROOT / 'params.yaml')!r}); "
        "print(*{name.split('.')[0] for name in sys.modules} & {'torch', 'numpy', 'mooc_maml'})"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout.split() == ["mooc_maml"]
