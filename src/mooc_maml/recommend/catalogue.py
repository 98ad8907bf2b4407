"""The courses of a bundle: by number, by id, and by what somebody types."""

from collections.abc import Collection, Sequence
from functools import cached_property

from mooc_maml.recommend.answers import Course, Unknown

_NEAR = 3  # courses named beside one that is unknown
_LIKE = 70  # how alike two names must be, from 0 to 100


class Catalogue:
    """Course ids and titles.

    Args:
        ids: of courses 1..C.
        titles: of the same courses; None: there are none.
    """

    def __init__(self, ids: Sequence[str], titles: Sequence[str | None] | None) -> None:
        self.courses = [
            Course(id, title) for id, title in zip(ids, titles or [None] * len(ids), strict=True)
        ]
        self.number = {id: number for number, id in enumerate(ids, 1)}

    def __len__(self) -> int:
        return len(self.courses)

    def course(self, number: int) -> Course:
        """Course 1..C."""
        return self.courses[number - 1]

    def numbers(self, ids: Collection[str]) -> list[int]:
        """Numbers of those that are known."""
        return [self.number[id] for id in ids if id in self.number]

    @cached_property
    def _words(self) -> list[str]:
        """What is searched, a line a course."""
        return [f"{own.id} {own.title or ''}".casefold().strip() for own in self.courses]

    @cached_property
    def _names(self) -> dict[str, list[int]]:
        """Lower-case id or title -> places of the courses that have it."""
        found: dict[str, list[int]] = {}
        for place, own in enumerate(self.courses):
            for name in {own.id.casefold(), (own.title or own.id).casefold()}:
                found.setdefault(name, []).append(place)
        return found

    def unknown(self, id: str) -> Unknown:
        """What is told of an id that is not there."""
        return Unknown(id, tuple(self.search(id, _NEAR)))

    def search(self, text: str, limit: int = 10) -> list[Course]:
        """Courses whose id or title holds all words of the text; near misses where none does.

        Those that are the text come first, then those that begin with it.
        """
        wanted = text.casefold().strip()[:200]
        if not wanted or limit < 1:
            return []
        words = wanted.split()
        holding = [i for i, own in enumerate(self._words) if all(word in own for word in words)]
        places = sorted(holding, key=lambda i: self._order(i, wanted))
        found = dict.fromkeys(places or self._near(wanted, limit))
        return [self.courses[i] for i in list(found)[:limit]]

    def _order(self, place: int, wanted: str) -> tuple[int, int]:
        own = self.courses[place]
        names = (own.id.casefold(), (own.title or "").casefold())
        if wanted in names:
            return 0, place
        return (1 if any(name.startswith(wanted) for name in names) else 2), place

    def _near(self, wanted: str, limit: int) -> list[int]:
        """Places of courses whose id or title is much like the text, the most alike first."""
        from rapidfuzz import fuzz, process  # only where something is misspelt

        close = process.extract(
            wanted, list(self._names), scorer=fuzz.WRatio, limit=min(limit, 50), score_cutoff=_LIKE
        )
        return [place for name, _, _ in close for place in self._names[name]]
