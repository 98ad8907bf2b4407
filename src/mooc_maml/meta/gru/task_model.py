"""The GRU recommender as a `TaskModel`: exact meta-gradients near the machine's limit.

Three facts make it fast, each derived where it is used: a session needs one pass for all its
prefixes (`Examples`), a task never copies a weight matrix (`OuterSum`), and gradients and
Hessian-vector products are linear scans (`GRULayer`). The algorithm itself, MAML, is not here.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import embedding

from mooc_maml.episodes.examples import Examples
from mooc_maml.meta.gru.copying import Mixed, copied
from mooc_maml.meta.gru.fast_weights import GRUDirection, GRUFastWeights, bias_of
from mooc_maml.meta.gru.layer import GRULayer, GRUTangent
from mooc_maml.meta.gru.masks import NO_MASKS, Masks, masked
from mooc_maml.meta.gru.packed import Packed, pack_examples
from mooc_maml.meta.gru.pointer import NAME as POINTER
from mooc_maml.meta.gru.pointer import opened
from mooc_maml.meta.gru.profile import Profile, profile_of
from mooc_maml.meta.gru.task_linear import TaskLinear, add
from mooc_maml.meta.inner import Weights
from mooc_maml.meta.outer_products import OuterSum, TaskMatrix
from mooc_maml.meta.replay import Replays
from mooc_maml.meta.ridge import ReadOut
from mooc_maml.meta.rows import Rows
from mooc_maml.ranking.seen import NONE_LEFT_OUT, SeenFilter

_LAYERS = {"embedding": "embedding", "gru.weight_ih": "GRU input", "gru.weight_hh": "GRU hidden"}


@dataclass(frozen=True)
class GRUTape:
    """What the passes of one gradient kept."""

    layout: Packed
    layers: list[GRULayer]
    head: TaskLinear
    states: Tensor  # [tasks, pairs, H]
    probabilities: Tensor  # [tasks, pairs, C]
    d_logits: Tensor  # [tasks, pairs, C]
    share: Tensor  # [tasks, pairs, 1], how much the head's law counts
    mixed: Mixed | None = None


class GRUTaskModel:
    """Cross-entropy of the next course under a `GRURecommender`'s weights.

    Weight names are those of `GRURecommender.state_dict()`; the number of layers is read off them.

    Args:
        device: of the weights.
        dtype: of the weights.
        seen: courses left out of the ranking, and so of every loss; `scores` gives them the
            head's.
        masks: columns left out.
        points: how the pointer that the weights have acts: added (see `opened`) or mixed (see
            `Copied`); None: there is none.

    Attributes:
        profiles: shapes that support and query are padded to where they fit; None: no padding.
        replays: calls of the same shape are recorded there; None: none is.
    """

    profiles: tuple[Profile, Profile] | None = None
    replays: Replays | None = None

    def __init__(
        self,
        device: torch.device,
        dtype: torch.dtype,
        seen: SeenFilter = NONE_LEFT_OUT,
        masks: Masks = NO_MASKS,
        points: str | None = None,
    ) -> None:
        self.device, self.dtype, self.seen, self.masks = device, dtype, seen, masks
        self.points = points

    def thinned(self, share: float, weights: Weights, generator: torch.Generator) -> "GRUTaskModel":
        """The same without some columns, see `Masks`."""
        masks = Masks.drawn(share, weights, generator)
        return GRUTaskModel(self.device, self.dtype, self.seen, masks, self.points)

    def recording(self, replays: Replays, profiles: tuple[Profile, Profile]) -> "GRUTaskModel":
        """The same for meta-gradients, padded and recorded; not for scores.

        With a pointer or with courses left out there is no padding: how many courses these are
        differs from batch to batch.
        """
        same = GRUTaskModel(self.device, self.dtype, self.seen, self.masks, self.points)
        if not self.points and not (self.seen.prefix or self.seen.support):
            same.replays, same.profiles = replays, profiles
        return same

    @property
    def reads_support(self) -> bool:
        """See `TaskModel`: with a pointer."""
        return self.points is not None

    @torch.inference_mode()
    def prepare(self, examples: Examples, support: Examples | None = None) -> Packed:
        """The layout of the examples, worked out once for all inner steps."""
        return self._prepared(examples, support, self.seen.courses_out_of_loss(examples, support))

    @torch.inference_mode()
    def prepare_scores(self, examples: Examples, support: Examples) -> Packed:
        """The same for scores: what is left out does not depend on the labels."""
        left_out = None
        if self.points == "mixed" and (self.seen.prefix or self.seen.support):
            left_out = self.seen.courses(examples, support)
        return self._prepared(examples, support, left_out)

    def _prepared(
        self, examples: Examples, support: Examples | None, left_out: Tensor | None
    ) -> Packed:
        profile = self.profiles and self.profiles[support is not None]
        if profile is not None and not profile.fits(profile_of(examples)):
            profile = None
        packed = pack_examples(examples, self.device, self.dtype, left_out, profile)
        if not self.points:
            return packed
        how = examples, support, self.device, self.dtype
        if self.points == "mixed":
            return replace(packed, copied=copied(*how, left_out))
        return replace(packed, opened=opened(*how))

    def initial(self, weights: Weights, examples: Packed) -> GRUFastWeights:
        """Every task at the shared weights."""
        names = [name for name in weights if "weight" in name]
        names += [POINTER] if self.points else []
        own = GRUDirection(dict.fromkeys(names, OuterSum()), len(weights["head.bias"]))
        return GRUFastWeights(weights, own)

    @torch.inference_mode()
    def scores(self, fast: GRUFastWeights, examples: Packed) -> Tensor:
        """Logits [tasks, pairs, C] of every pair, each task with its own weights.

        With a pointer that is mixed, logarithms of its law, in which courses left out do not count.
        """
        logits = self._forward(fast, examples)[3]
        if examples.copied is None:
            return logits
        laws = examples.copied.laws(fast.pointer(len(logits)))
        return laws.mixed(logits, examples.left_out)

    def _forward(
        self, fast: GRUFastWeights, layout: Packed
    ) -> tuple[list[GRULayer], TaskLinear, Tensor, Tensor]:
        own_embedding = fast.own.sums["embedding.weight"].apply(layout.courses)
        x = add(embedding(layout.courses, fast.shared["embedding.weight"]), own_embedding)
        x = masked(x, self.masks.embedding)
        layers: list[GRULayer] = []
        states = x
        while f"gru.weight_ih_l{len(layers)}" in fast.shared:
            inner, hidden = (fast.linear(f"gru.weight_{x}_l{len(layers)}") for x in ("ih", "hh"))
            below = layout.group(states) if layers else x
            layers.append(GRULayer(inner, hidden, layout))
            states = layers[-1].forward(below)
        head = fast.linear("head.weight")
        at_pairs = masked(_at_pairs(states, layout), self.masks.state)
        logits = head.affine(at_pairs)
        if layout.opened is not None:
            logits = layout.opened.add_to(logits, fast.pointer(len(logits)))
        return layers, head, at_pairs, logits

    @torch.inference_mode()
    def gradient(
        self, fast: GRUFastWeights, examples: Packed, keep: bool = True
    ) -> tuple[Tensor, GRUDirection, GRUTape | None]:
        """See `Adaptable`."""
        layout = examples
        layers, head, states, logits = self._forward(fast, layout)
        _leave_out(logits, layout)
        weight = layout.pair_weight.unsqueeze(2)
        log_p = logits.log_softmax(2)
        at_target, mixed = log_p.gather(2, layout.target), None
        if layout.copied is not None:
            laws = layout.copied.laws(fast.pointer(len(logits)))
            mixed = laws.at(at_target.flatten(), layout.target.flatten())
            at_target = mixed.log_p.view_as(weight)
        losses = -(at_target * weight).sum((1, 2))
        share = weight if mixed is None else weight * mixed.share.view_as(weight)
        p = log_p.exp_()
        d = p * share if keep else p.mul_(share)
        d.scatter_add_(2, layout.target, -share)
        tape = GRUTape(layout, layers, head, states, p, d, share, mixed)
        return losses, self._backward(tape, d), tape if keep else None

    def _backward(self, tape: GRUTape, d: Tensor, d_states: Tensor | None = None) -> GRUDirection:
        """What reaches the weights from that of logits [tasks, pairs, C], and of states."""
        layout, layers, head = tape.layout, tape.layers, tape.head
        sums: dict[str, TaskMatrix] = {
            "head.weight": OuterSum(Rows(tape.states), Rows(d), d.sum(1))
        }
        if layout.opened is not None:
            sums[POINTER] = OuterSum(bias=layout.opened.gradient(d))
        if tape.mixed is not None:
            sums[POINTER] = OuterSum(bias=tape.mixed.gradient(layout.pair_weight))
        elif layout.copied is not None:  # read out, where the mixture is not asked
            sums[POINTER] = OuterSum()
        reaching = add(head.transposed(d), d_states)
        dh = _from_pairs(masked(reaching, self.masks.state), layout)
        for k in reversed(range(len(layers))):
            dx, *sides = layers[k].backward(dh)
            sums[f"gru.weight_ih_l{k}"], sums[f"gru.weight_hh_l{k}"] = sides
            if k:
                dh = layout.pack_zero(dx)
        dx = masked(dx, self.masks.embedding)
        sums["embedding.weight"] = OuterSum(Rows(layout.courses), Rows(dx))
        return GRUDirection(sums, d.shape[2])

    @torch.inference_mode()
    def read_out(self, fast: GRUFastWeights, examples: Packed) -> ReadOut:
        """See `Regressed`."""
        layers, head, states, logits = self._forward(fast, examples)
        _leave_out(logits, examples)
        tape = GRUTape(examples, layers, head, states, logits, logits, examples.pair_weight)
        return ReadOut(states, logits, examples.target, examples.pair_weight > 0, tape)

    @torch.inference_mode()
    def pulled_back(self, tape: GRUTape, d_states: Tensor, d_logits: Tensor) -> GRUDirection:
        """See `Regressed`."""
        return self._backward(tape, d_logits, d_states)

    @torch.inference_mode()
    def with_head(
        self, fast: GRUFastWeights, inputs: Tensor, outputs: Tensor, bias: Tensor
    ) -> GRUFastWeights:
        """See `Regressed`."""
        own = fast.own.sums["head.weight"].plus(OuterSum(Rows(inputs), Rows(outputs), bias), 1.0)
        sums = fast.own.sums | {"head.weight": own}
        return GRUFastWeights(fast.shared, GRUDirection(sums, fast.own.num_courses))

    @torch.inference_mode()
    def head_gradient(self, gradient: GRUDirection) -> tuple[Tensor, Tensor]:
        """See `Regressed`."""
        own = gradient.sums["head.weight"]
        assert isinstance(own, OuterSum)
        return own.inputs.tensor, own.outputs.tensor

    @torch.inference_mode()
    def hessian_product(self, tape: GRUTape, direction: GRUDirection) -> GRUDirection:
        """See `Adaptable`; the tangent, in the given direction, of all that `gradient` does."""
        layout, v = tape.layout, direction.sums
        embedded = v["embedding.weight"].apply(layout.courses)
        shape = (*layout.courses.shape, tape.layers[0].x.shape[2])
        tx = tape.states.new_zeros(shape) if embedded is None else embedded
        th = tx = masked(tx, self.masks.embedding)
        tangents: list[GRUTangent] = []
        for k, layer in enumerate(tape.layers):
            pair = v[f"gru.weight_ih_l{k}"], v[f"gru.weight_hh_l{k}"]
            below = layout.group(th) if tangents else tx
            tangents.append(GRUTangent(layer, *pair))
            th = tangents[-1].forward(below)
        t_states = masked(_at_pairs(th, layout), self.masks.state)
        t_logits = add(tape.head.product(t_states), v["head.weight"].apply(tape.states))
        if layout.opened is not None and (pointer := v[POINTER].bias) is not None:
            t_logits = layout.opened.add_to(t_logits, pointer)
        p = tape.probabilities
        mean = (p * t_logits).sum(2, keepdim=True)
        t_head = t_logits.gather(2, layout.target) - mean
        td = (t_logits - mean).mul_(p).mul_(tape.share)
        t_pointer = None
        if tape.mixed is not None:
            weight = layout.pair_weight
            t_share, t_pointer = tape.mixed.tangent(t_head.flatten(), v[POINTER].bias, weight)
            t_share = t_share.view_as(mean) * weight.unsqueeze(2)
            td = td.addcmul_(p, t_share).scatter_add_(2, layout.target, -t_share)
        inputs, outputs = Rows(tape.states, t_states), Rows(td, tape.d_logits)
        sums: dict[str, TaskMatrix] = {"head.weight": OuterSum(inputs, outputs, td.sum(1))}
        if layout.opened is not None:
            sums[POINTER] = OuterSum(bias=layout.opened.gradient(td))
        if t_pointer is not None:
            sums[POINTER] = OuterSum(bias=t_pointer)
        own = v["head.weight"].apply_transposed(tape.d_logits)
        reaching = masked(add(tape.head.transposed(td), own), self.masks.state)
        tdh = _from_pairs(reaching, layout)
        for k in reversed(range(len(tangents))):
            tdx, *sides = tangents[k].backward(tdh)
            sums[f"gru.weight_ih_l{k}"], sums[f"gru.weight_hh_l{k}"] = sides
            if k:
                tdh = layout.pack_zero(tdx)
        tdx = masked(tdx, self.masks.embedding)
        sums["embedding.weight"] = OuterSum(Rows(layout.courses), Rows(tdx))
        return GRUDirection(sums, direction.num_courses)

    @torch.inference_mode()
    def relative_changes(self, weights: Weights, fast: GRUFastWeights) -> dict[str, Tensor]:
        """See `TaskModel`; a layer is a weight matrix with its bias."""
        result = {}
        for name, own in fast.own.sums.items():
            parts = [name] if name != POINTER else [bias_of(name)]
            parts += [bias_of(name)] if own.bias is not None and name != POINTER else []
            whole = sum((weights[x].double().square().sum() for x in parts), torch.zeros(()))
            change = own.squared_norm().to(whole)
            result[_layer(name)] = torch.where(change > 0, change / whole, change).sqrt()
        return result


def _layer(name: str) -> str:
    """gru.weight_ih_l0 -> GRU input; with several layers GRU input 2, and so on."""
    kind, _, number = name.partition("_l")
    label = _LAYERS.get(kind.removesuffix(".weight"), kind.removesuffix(".weight"))
    return label if number in ("", "0") else f"{label} {int(number) + 1}"


def _leave_out(logits: Tensor, layout: Packed) -> None:
    """In place, of logits [tasks, pairs, C]: p is then 0, so is all that a course would give."""
    if layout.left_out is not None:
        logits.view(-1, logits.shape[2])[layout.left_out] = -torch.inf


def _at_pairs(states: Tensor, layout: Packed) -> Tensor:
    """Packed [steps, H] -> [tasks, pairs, H]."""
    return states.index_select(0, layout.pair_step).view(*layout.pair_weight.shape, -1)


def _from_pairs(d: Tensor, layout: Packed) -> Tensor:
    """[tasks, pairs, H] -> packed [steps, H], the transpose of `_at_pairs`."""
    steps = d.new_zeros(len(layout.to_packed), d.shape[2])
    return steps.index_add_(0, layout.pair_step, d.flatten(0, 1))
