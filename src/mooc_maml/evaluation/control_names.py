"""Names of the negative controls, and which models are compared in them."""

from typing import NamedTuple

from mooc_maml.settings.composites_section import ADAPTED

CONTROL_NAMES = ("shuffled", "exchanged")
WITHOUT_STEPS = "mixture_without_steps"  # told of the support pairs, its weights as learned


TUNED = ("tuned_few_shot", "tuned_zero_shot")  # the second meta-model after and before adaptation

TUNED_START = "tuned_start"  # the second one adapted likewise, but not meta-trained
TUNED_WITHOUT_STEPS = "tuned_without_steps"
# Models that read the support pairs as an input too -> the same given them, without steps.
TOLD = {ADAPTED[0]: WITHOUT_STEPS, TUNED[0]: TUNED_WITHOUT_STEPS}


class Controlled(NamedTuple):
    """Names of a model, of the same before adaptation, and what its controls' names begin with."""

    few_shot: str
    zero_shot: str
    prefix: str

    def comparisons(self) -> list[tuple[str, str]]:
        """Pairs (A, B) whose difference A - B is shown.

        Few-shot and its controls minus zero-shot, then few-shot minus its controls; where the
        support pairs are an input too, also what being told gives and what the steps add.
        """
        corrupted = [self.prefix + name for name in CONTROL_NAMES]
        against_zero = [(name, self.zero_shot) for name in (self.few_shot, *corrupted)]
        found = against_zero + [(self.few_shot, name) for name in corrupted]
        told = TOLD.get(self.few_shot)
        if told is not None:
            found += [(told, self.zero_shot), (self.few_shot, told)]
        return found


CONTROLLED = (
    Controlled("few_shot", "zero_shot", ""),
    Controlled(*TUNED, prefix="tuned_"),
    Controlled(*ADAPTED, prefix="mixture_"),
)


def difference_name(first: str, second: str) -> str:
    """The key of a difference in a result file: A_minus_B."""
    return f"{first}_minus_{second}"
