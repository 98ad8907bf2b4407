"""The scans over time of a GRU layer with task-own weights: forwards, and the two linear ones.

What they compute is derived in `layer`, whose names are used here. A scan is bound by the number of
calls that it makes, so all that is not one step after the other is done outside, at once.
"""

import torch
from torch import Tensor

from mooc_maml.meta.gru.packed import Packed
from mooc_maml.meta.gru.task_linear import TaskLinear


def blocks_of(x: Tensor) -> Tensor:
    """[steps, 3H] -> [steps, 3, H]."""
    return x.view(x.shape[0], 3, -1)


class Recurrence:
    """The hidden-to-hidden weights as the scans meet them: one step of the running sessions.

    All tensors are lists over time, views of one packed tensor, made once: a scan is bound by the
    number of calls that it makes, and slicing is a call.
    """

    def __init__(self, hidden: TaskLinear, layout: Packed) -> None:
        self.layout, self.is_of_tasks = layout, hidden.is_of_tasks
        task, self.own = layout.session_task, False
        if self.is_of_tasks:
            weight = hidden.weight[task]
            self.weights, self.weights_t = self._running(weight), self._running(weight.mT)
            self.bias = self._running(hidden.bias[task])
            self.biases = self._running(hidden.bias[task].unsqueeze(1))
            return
        self.weight, self.weight_t = hidden.weight, hidden.weight.T.contiguous()
        bias = hidden.bias.expand(len(task), -1)
        if hidden.own.bias is not None:
            bias = bias + hidden.own.bias.index_select(0, task)
        self.bias = self._running(bias)
        self.own = not hidden.own.is_zero and len(layout.sizes) > 1
        if self.own:
            going_on = task[: layout.sizes[1]]  # a state before is what own weights act on
            rows = hidden.own.inputs, hidden.own.outputs
            inputs, outputs = (x.tensor.index_select(0, going_on) for x in rows)
            self.inputs, self.inputs_t = self._running(inputs), self._running(inputs.mT)
            self.outputs, self.outputs_t = self._running(outputs), self._running(outputs.mT)

    @property
    def is_wide(self) -> bool:
        """Whether products are of each session's own matrix, and need [running, 1, d]."""
        return self.is_of_tasks or self.own

    def _running(self, x: Tensor) -> list[Tensor]:
        """For each time, x [sessions, ...] of the sessions that run then."""
        whole = x.shape[0]
        return [x if size >= whole else x[:size] for size in self.layout.sizes]

    def over_time(self, x: Tensor) -> list[Tensor]:
        """For each time, the part of x [steps, ...]."""
        return list(x.split_with_sizes(self.layout.sizes))

    def affine(self, t: int, y: Tensor, h: Tensor, wide_y: Tensor, wide_h: Tensor) -> None:
        """y = W h + b at time t: h [running, H], y [running, 3H]; wide: [running, 1, ...]."""
        if self.is_of_tasks:
            torch.baddbmm(self.biases[t], wide_h, self.weights_t[t], out=wide_y)
            return
        torch.addmm(self.bias[t], h, self.weight_t, out=y)
        if self.own:
            self.add_own(t, wide_y, wide_h)

    def product(self, t: int, y: Tensor, h: Tensor, wide_y: Tensor, wide_h: Tensor) -> None:
        """y = W h at time t, as `affine`."""
        if self.is_of_tasks:
            torch.bmm(wide_h, self.weights_t[t], out=wide_y)
            return
        torch.mm(h, self.weight_t, out=y)
        if self.own:
            self.add_own(t, wide_y, wide_h)

    def add_transposed(self, t: int, y: Tensor, d: Tensor, wide_y: Tensor, wide_d: Tensor) -> None:
        """y += W^T d at time t: d [running, 3H], y [running, H]; wide: [running, 1, ...]."""
        if self.is_of_tasks:
            wide_y.baddbmm_(wide_d, self.weights[t])
            return
        y.addmm_(d, self.weight)
        if self.own:
            self.add_own_transposed(t, wide_y, wide_d)

    def add_own(self, t: int, y: Tensor, h: Tensor) -> None:
        """y += (own W) h at time t: h [running, 1, H], y [running, 1, 3H]."""
        y.baddbmm_(torch.bmm(h, self.inputs_t[t]), self.outputs[t])

    def add_own_transposed(self, t: int, y: Tensor, d: Tensor) -> None:
        """y += (own W)^T d at time t: d [running, 1, 3H], y [running, 1, H]."""
        y.baddbmm_(torch.bmm(d, self.outputs_t[t]), self.inputs[t])


def forward_scan(i: Tensor, recurrence: Recurrence) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The GRU itself: i [steps, 3H] -> h [steps, H], (r, z) [steps, 2H], n, g_n [steps, H]."""
    (steps, wide), split = i.shape, recurrence.over_time
    size = wide // 3
    h, g, rz, n = (i.new_empty(steps, k * size) for k in (1, 3, 2, 1))
    states, before = split(h), recurrence.layout.split_before(h)
    gs, gates, candidates = split(g), split(rz), split(n)
    g_rz, g_n, i_rz, i_n = (split(x[:, part]) for x in (g, i) for part in _parts(size))
    reset, update = split(rz[:, :size]), split(rz[:, size:])
    own_g, own_h = gs, before
    if recurrence.is_wide:
        own_g, own_h = split(g.unsqueeze(1)), recurrence.layout.split_before(h.unsqueeze(1))
    gs[0].copy_(recurrence.bias[0])
    for t, state in enumerate(states):
        if t:
            recurrence.affine(t, gs[t], before[t], own_g[t], own_h[t])
        torch.add(i_rz[t], g_rz[t], out=gates[t]).sigmoid_()
        torch.addcmul(i_n[t], reset[t], g_n[t], out=candidates[t]).tanh_()
        if t:
            torch.lerp(candidates[t], before[t], update[t], out=state)
        else:
            torch.addcmul(candidates[0], candidates[0], update[0], value=-1, out=state)
    return h, rz, n, g[:, 2 * size :].contiguous()


def _parts(size: int) -> tuple[slice, slice]:
    return slice(0, 2 * size), slice(2 * size, 3 * size)


def linear_scan(u: Tensor, z: Tensor, m: Tensor, recurrence: Recurrence) -> tuple[Tensor, Tensor]:
    """Forwards: u [steps, H] -> th [steps, H] and W_h th' [steps, 3H], 0 at a session's start."""
    split, split_before = recurrence.over_time, recurrence.layout.split_before
    th, product = u.clone(), torch.empty_like(m)
    states, before, products, zs = split(th), split_before(th), split(product), split(z)
    blocks, ms = split(blocks_of(product)), split(blocks_of(m))
    own_product, own_before = products, before
    if recurrence.is_wide:
        own_product, own_before = split(product.unsqueeze(1)), split_before(th.unsqueeze(1))
    products[0].zero_()
    for t in range(1, len(states)):
        recurrence.product(t, products[t], before[t], own_product[t], own_before[t])
        states[t].addcmul_(zs[t], before[t]).add_((blocks[t] * ms[t]).sum(1))
    return th, product


def linear_scan_back(
    dh: Tensor, z: Tensor, m: Tensor, recurrence: Recurrence
) -> tuple[Tensor, Tensor]:
    """Backwards: what reaches each h from outside, dh [steps, H] -> all of it, and dg = m dh."""
    split, split_before = recurrence.over_time, recurrence.layout.split_before
    dh, dg = dh.clone(), torch.empty_like(m)
    here, before, dgs, zs = split(dh), split_before(dh), split(dg), split(z)
    blocks, ms = split(blocks_of(dg)), split(blocks_of(m))
    wide = split(dh.unsqueeze(1))
    own_dg, own_before = dgs, before
    if recurrence.is_wide:
        own_dg, own_before = split(dg.unsqueeze(1)), split_before(dh.unsqueeze(1))
    for t in reversed(range(len(here))):
        torch.mul(ms[t], wide[t], out=blocks[t])
        if t:
            before[t].addcmul_(zs[t], here[t])
            recurrence.add_transposed(t, before[t], dgs[t], own_before[t], own_dg[t])
    return dh, dg
