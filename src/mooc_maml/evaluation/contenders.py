"""Every model that is evaluated, in one place: baselines, composites, zero-shot and few-shot."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mooc_maml.baselines.base import Baseline, FittedOnValidation
from mooc_maml.composites.registry import read_models
from mooc_maml.episodes.store import EpisodeStore
from mooc_maml.evaluation.control_names import TUNED, TUNED_START
from mooc_maml.evaluation.oracle import OracleContender
from mooc_maml.evaluation.ranker import Ranker, Scorers, read_ranked_model
from mooc_maml.meta.model import MetaModel, read_meta_model
from mooc_maml.meta.run import read_start
from mooc_maml.ranking.query_ranks import Answers, summary
from mooc_maml.runtime.processes import ALONE, ProcessGroup
from mooc_maml.settings.params import Params

ORACLE = "oracle"


@dataclass(frozen=True)
class Contenders:
    """All models of a run, ready to be ranked on the same queries.

    Attributes:
        tuned: the second meta-model; None where it is not asked.
        start: what it began with, adapted likewise: what it would be without meta-training; None
            where it began with random weights.
        oracle: None where nobody knows the truth, or where it is not asked.
    """

    ranker: Ranker
    meta: MetaModel
    tuned: MetaModel | None
    start: MetaModel | None
    baselines: dict[str, Baseline]
    oracle: OracleContender | None

    @property
    def baseline_scorers(self) -> Scorers:
        """Baseline or composite -> scorer."""
        return {name: model.scores for name, model in self.baselines.items()}

    @property
    def scorers(self) -> Scorers:
        """Model -> scorer, without the oracle, which is asked by ids."""
        own = {"zero_shot": self.meta.scores(0), "few_shot": self.meta.scores()}
        if self.tuned is not None:
            own |= dict(zip(TUNED, (self.tuned.scores(), self.tuned.scores(0)), strict=True))
        if self.start is not None:
            own[TUNED_START] = self.start.scores()
        return {**self.baseline_scorers, **own}

    def validation(self) -> dict[str, dict[str, float]]:
        """Model -> metric -> mean over the validation learners; it chooses the strongest.

        Of a model that is fitted on them, of learners that were left out of the fit.
        """
        left_out = self._left_out_validation()
        found = {
            name: left_out.get(name) or summary(self.ranker.ranks(name, score, "validation"))
            for name, score in self.scorers.items()
        }
        if self.oracle is not None:
            ranks = self.oracle.answers(self.ranker.store, "validation").ranks
            found[ORACLE] = summary(ranks)
        return found

    def plan(self) -> list[tuple[str, int]]:
        """What `answers` of the test and then `validation` rank: model, and learners."""
        left_out, names = self._left_out_validation(), list(self.scorers)
        test, validation = (self.ranker.learners(name) for name in ("test", "validation"))
        again = [name for name in names if not left_out.get(name)]
        return [(name, test) for name in names] + [(name, validation) for name in again]

    def _left_out_validation(self) -> dict[str, dict[str, float]]:
        return {
            name: dict(model.left_out_validation)
            for name, model in self.baselines.items()
            if isinstance(model, FittedOnValidation)
        }

    def answers(self, episode_set: str) -> Iterator[tuple[str, Answers]]:
        """Model and its answers, one after the other."""
        for name, score in self.scorers.items():
            law = self.baselines[name].law if name in self.baselines else MetaModel.law
            yield name, self.ranker.answers(name, score, episode_set, law)
        if self.oracle is not None:
            yield ORACLE, self.oracle.answers(self.ranker.store, episode_set)


def read_contenders(
    params: Params,
    store: EpisodeStore,
    process_group: ProcessGroup = ALONE,
    /,
    *,
    baselines: Path,
    composites: Path,
    model: Path,
    tuned: Path | None = None,
    truth: Path | None = None,
    pairs: Path | None = None,
) -> Contenders:
    """Open every model of a run.

    Args:
        params: the settings.
        store: the episodes.
        process_group: the processes that share what its ranker ranks.
        baselines: folder of the trained baselines.
        composites: folder of the trained models that are made of them.
        model: folder of the meta-model.
        tuned: folder of the second one; None: it is left out.
        truth: folder of the oracle, for synthetic data; None: it is left out.
        pairs: folder of `preprocess`, whose vocabularies the oracle needs.

    Raises:
        UserError: a model is missing, damaged, or made for another catalogue.
    """
    ranker, meta = read_ranked_model(params, store, model, process_group)
    names = (*params.baselines.models, *params.composites.models)
    trained = read_models(baselines, composites, names, store.num_courses, ranker.device)
    oracle = None
    if params.data.source == "synthetic" and truth is not None and pairs is not None:
        oracle = OracleContender.read(truth, pairs)
    second = start = None
    if tuned is not None:
        own, courses = params.of_tuned, store.num_courses
        second = read_meta_model(tuned, own, courses, ranker.seen)
        start = read_start(baselines / "gru.pth", own, courses, ranker.seen)
    return Contenders(ranker, meta, second, start, trained, oracle)
