"""Ten questions of somebody new, each answered in a sentence of README or a page that it links."""

import re

import pytest
from committed import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")

# question -> page ("" is README) and what its answer has to say
ANSWERS = {
    "what is K?": ("", r"five course steps of a new learner .*\(K = 5\)"),
    "did MAML beat the GRU?": ("", r"Found: (yes|no|not shown).* the GRU in \d+\.\d"),
    "how sure?": ("", r"How sure: the difference to the GRU is .*95 % interval"),
    "how do I run my own data?": ("docs/own_data.md", r"name their columns in params.yaml"),
    "which setting makes it first-order?": ("", r"use_second_order=false\s+# first-order MAML"),
    "of what data are the figures?": ("", r"figures on this page are of the embedded data.*synth"),
    "a recommendation over HTTP?": ("docs/serve.md", r"curl -s http\S+/recommend .*courses"),
    "what do adaptation and meta-learning add?": (
        "",
        r"Adaptation without meta-learning .* points NDCG@10.* Meta-learning .* points NDCG@10",
    ),
    "how do I go on with a killed run?": ("", r"killed\? Run the same command again"),
    "how do I add a variant?": (
        "docs/extend.md",
        r"A class in a file of its own in `meta/` that says what differs.*`VARIANTS`",
    ),
}


@pytest.mark.parametrize("question", ANSWERS)
def test_a_sentence_answers_it(question: str) -> None:
    page, words = ANSWERS[question]
    text = README if not page else (ROOT / page).read_text(encoding="utf-8")
    assert not page or f"]({page})" in README, "one click from README"
    assert re.search(words, re.sub(r"\s+", " ", text)), words
