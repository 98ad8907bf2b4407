"""Ask the models of a bundle what comes next for learners whose courses are told."""

from collections.abc import Collection, Sequence
from pathlib import Path
from threading import RLock
from typing import Any

from mooc_maml.common.errors import UserError
from mooc_maml.ranking.seen import SeenFilter
from mooc_maml.recommend.answers import Course, Recommendation
from mooc_maml.recommend.asking import Question, answers
from mooc_maml.recommend.bundle import (
    BundleInfo,
    ModelInfo,
    check_file,
    check_model,
    models_of,
    read_bundle,
)
from mooc_maml.recommend.catalogue import Catalogue
from mooc_maml.recommend.offer import Offer
from mooc_maml.recommend.served import Served, read_served
from mooc_maml.recommend.told import read_learners


class Recommender:
    """The models of a bundle. It may be asked from several threads at a time.

    Three lines answer for a learner with one session of three courses:

        from mooc_maml.recommend import Recommender
        recommender = Recommender.load("models/bundle")
        answer, = recommender.recommend([[["a", "b", "c"]]])

    Attributes:
        folder: of the bundle.
        bundle: what bundle.json holds.
        models: what may be asked, the best on validation first.
        default_model: what is asked where no model is named.
        catalogue: the courses.
    """

    def __init__(self, folder: Path, bundle: BundleInfo) -> None:
        self.folder, self.bundle = folder, bundle
        self.models = models_of(folder, bundle)
        self.default_model = bundle.default_model
        self.catalogue = Catalogue(bundle.courses, bundle.titles)
        self._seen = SeenFilter(bundle.rules.seen_prefix, bundle.rules.seen_support, None)
        self._served: dict[str, Served] = {}
        self._reading = RLock()

    @classmethod
    def load(cls, folder: str | Path = "models/bundle") -> "Recommender":
        """Open a bundle; the default model is read at once, others when they are first asked.

        No setting of the process is changed: threads, determinism, default type.

        Raises:
            UserError: the bundle is missing, not whole, or of another version.
        """
        found = cls(Path(folder), read_bundle(Path(folder)))
        found.read(found.default_model)
        return found

    def read(self, model: str) -> Served:
        """Read a model now, not when it is first asked; what it scores, see `Served`.

        Raises:
            UserError: there is no such model, or its file is not what the bundle says.
        """
        return self._model(self.info(model))

    def info(self, model: str) -> ModelInfo:
        """What the bundle says of a model that may be asked.

        Raises:
            UserError: there is none of that name.
        """
        return check_model(self.folder, self.bundle, model)

    def recommend(
        self,
        learners: Sequence[Sequence[Sequence[str]]],
        *,
        top: int = 10,
        model: str | None = None,
        exclude: str | Collection[str] | None = None,
        only: Collection[str] | None = None,
        inner_steps: int | None = None,
        pairs: int | None = None,
    ) -> list[Recommendation]:
        """What comes next for each learner.

        Args:
            learners: learner -> sessions, oldest first -> course ids, oldest first. The last
                session that is not empty is the one that goes on. Ids that are not known are left
                out, and named in the answer.
            top: courses in each list.
            model: one of `models`; None: `default_model`.
            exclude: "seen": all courses that are told of the learner; "none"; or course ids. None:
                the rule that the models were trained with.
            only: ids of the courses on offer now; None: all.
            inner_steps: gradient steps of a meta-trained model; None: its own number.
            pairs: the latest pairs that a model is told of or adapted on; None: K, as in training
                and testing; 0: zero-shot.

        Returns:
            One answer a learner, in the same order. Where none of a learner's courses is known, it
            is the one of `popularity`.

        Raises:
            UserError: an argument is not what is allowed.
        """
        info = self.info(self.default_model if model is None else model)
        if inner_steps is not None and (info.kind != "adapted" or info.adaptation is None):
            raise UserError(
                f"inner_steps: found {str(inner_steps)[:40]}, but {info.name} takes no steps or a "
                "number of its own; leave it out, or ask a meta-trained model that adapts"
            )
        rules = self.bundle.rules
        question = Question(
            info=info,
            model=self._model(info),
            of_nobody=self._popularity(),
            catalogue=self.catalogue,
            rules=rules,
            offer=Offer.of(self.catalogue, self._seen, exclude, only),
            top=min(_whole("top", top, 1), len(self.catalogue)),
            inner_steps=None if inner_steps is None else _whole("inner_steps", inner_steps, 0, 100),
            pairs=rules.support_size if pairs is None else _whole("pairs", pairs, 0, 1_000),
        )
        return answers(question, read_learners(learners, self.catalogue, rules))

    def search(self, text: str, limit: int = 10) -> list[Course]:
        """Courses by id or title, near misses too."""
        return self.catalogue.search(text, limit)

    def _model(self, info: ModelInfo) -> Served:
        with self._reading:
            if info.name not in self._served:
                parts = {name: self._model(self.info(name)) for name in info.made_of}
                path = check_file(self.folder, self.bundle, info.file)
                courses = len(self.catalogue)
                self._served[info.name] = read_served(path, info, courses, self._seen, parts)
            return self._served[info.name]

    def _popularity(self) -> Served | None:
        """What answers for learners of whom no known course is told; None: nothing does."""
        name = "popularity"
        return self._model(self.info(name)) if name in self.models else None


def _whole(name: str, value: Any, least: int, most: int = 1_000_000) -> int:
    if type(value) is not int or not least <= value <= most:
        expected = f"a whole number from {least} to {most:,}"
        raise UserError(f"{name}: found {str(value)[:40]!r}, expected {expected}")
    return value
