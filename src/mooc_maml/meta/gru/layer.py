"""One GRU layer with task-own weights: gradients and Hessian-vector products by hand.

    a_r = i_r + g_r     a_z = i_z + g_z     a_n = i_n + r g_n        i = W_i x + b_i
    r = sigma(a_r)      z = sigma(a_z)      n = tanh(a_n)            g = W_h h' + b_h
    h = n + z (h' - n),  where h' is the state one step before.

What a change of i and g does to h is linear, with coefficients known after the forward pass:

    c = (1 - z)(1 - n^2)      m = [c g_n r (1 - r),  (h' - n) z (1 - z),  c r]     three blocks

so that, with everything outside the scan collected in u,

    forwards (a tangent):    th = z th' + sum over blocks of m * (W_h th') + u
    backwards (a gradient):  dg = m * dh,    dh' = z dh + W_h^T dg + what else reaches h'.

A gradient is a forward pass and one linear scan backwards. A Hessian-vector product is the
tangent of both (Pearlmutter, "Fast exact multiplication by the Hessian", 1994): one linear scan
each way, since the tangent of m only adds known terms to what enters the scan backwards. All
that is not a scan is done for all steps at once.

Names: d... is the gradient of the loss with respect to ..., t... the tangent of ... .
"""

from typing import NamedTuple

import torch
from torch import Tensor

from mooc_maml.meta.gru.packed import Packed
from mooc_maml.meta.gru.task_linear import TaskLinear, add
from mooc_maml.meta.outer_products import TaskMatrix, outer_sum
from mooc_maml.meta.rows import Rows


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


class ForTangents(NamedTuple):
    """What a backward pass works out and a tangent needs again; names as in the module's docstring.

    Attributes:
        before: h' [steps, H].
        c: [steps, H].
        m: [steps, 3H].
        di: grouped [tasks, n, 3H], 0 at padding.
        dg: the same.
    """

    before: Tensor
    c: Tensor
    m: Tensor
    di: Tensor
    dg: Tensor


class GRULayer:
    """Forward and backward pass over packed sessions; what it keeps is what a tangent needs.

    x, and what is named `_grouped`, is grouped [tasks, n, ...]; all else is packed [steps, ...].
    """

    def __init__(self, inner: TaskLinear, hidden: TaskLinear, layout: Packed) -> None:
        self.inner, self.hidden, self.layout = inner, hidden, layout

    def forward(self, x: Tensor) -> Tensor:
        """x [tasks, n, in] -> h [steps, H]."""
        self.x = x
        i = self.layout.pack(self.inner.affine(x))
        recurrence = Recurrence(self.hidden, self.layout)
        h, rz, self.n, self.g_n = forward_scan(i, recurrence)
        self.r, self.z = rz.chunk(2, 1)
        self._only_until_backward = recurrence, self.layout.before(h)
        return h

    def backward(self, dh: Tensor) -> tuple[Tensor, TaskMatrix, TaskMatrix]:
        """dh [steps, H] from above -> dx [tasks, n, in], and the gradients of both weights."""
        recurrence, before = self._only_until_backward
        del self._only_until_backward  # large, and cheap to make again
        self.h_grouped = self.layout.group(before)
        c, m = self.coefficients(before)
        self.dh, dg = linear_scan_back(dh, self.z, m, recurrence)
        di, dg = self.output_gradients(c, dg)
        self.for_tangents = ForTangents(before, c, m, di, dg)
        return (
            self.inner.transposed(di),
            outer_sum(Rows(self.x), Rows(di), di.sum(1)),
            outer_sum(Rows(self.h_grouped), Rows(dg), dg.sum(1)),
        )

    def output_gradients(self, c: Tensor, dg: Tensor) -> tuple[Tensor, Tensor]:
        """di and dg, grouped [tasks, n, 3H], 0 at padding; they differ in the last block."""
        di = torch.cat([dg[:, : 2 * self.size], c * self.dh], 1)
        return self.layout.group_zero(di), self.layout.group_zero(dg)

    def coefficients(self, before: Tensor) -> tuple[Tensor, Tensor]:
        """c [steps, H] and m [steps, 3H] of the module's docstring, from h' [steps, H]."""
        r, z, n = self.r, self.z, self.n
        c = (1 - z) * (1 - n * n)
        m_r = c * self.g_n * (r - r * r)
        m = torch.cat([m_r, (before - n) * (z - z * z), c * r], 1)
        return self.layout.only_real(c), self.layout.only_real(m)

    @property
    def size(self) -> int:
        """H."""
        return self.n.shape[1]


class GRUTangent:
    """The tangent of a layer's forward and backward pass in one direction of its weights."""

    def __init__(self, layer: GRULayer, v_inner: TaskMatrix, v_hidden: TaskMatrix) -> None:
        self.layer, self.v_inner, self.v_hidden = layer, v_inner, v_hidden
        self.recurrence = Recurrence(layer.hidden, layer.layout)
        self.before, self.c, self.m, self.di_grouped, self.dg_grouped = layer.for_tangents

    def forward(self, tx: Tensor) -> Tensor:
        """tx [tasks, n, in] -> th [steps, H]."""
        self.tx, layer, layout, n_block = tx, self.layer, self.layer.layout, 2 * self.layer.size
        ti = layout.pack(add(layer.inner.product(tx), self.v_inner.apply(layer.x)))
        own = self.v_hidden.apply(layer.h_grouped)
        tg = torch.zeros_like(self.m) if own is None else layout.pack(own)
        changes = torch.cat([ti[:, :n_block] + tg[:, :n_block], tg[:, n_block:]], 1)
        u = blocks_of(self.m * changes).sum(1)
        u.addcmul_(self.c, ti[:, n_block:])
        th, product = linear_scan(u, layer.z, self.m, self.recurrence)
        self._change_coefficients(ti, tg.add_(product), layout.before(th))
        return th

    def _change_coefficients(self, ti: Tensor, tg: Tensor, t_before: Tensor) -> None:
        """The tangents of z, c and m, from those of i, g and h'."""
        layer, n_block = self.layer, 2 * self.layer.size
        r, z, n, g_n = layer.r, layer.z, layer.n, layer.g_n
        slope_r, slope_z, slope_n = r - r * r, z - z * z, 1 - n * n
        tr, tz = (ti[:, :n_block] + tg[:, :n_block]).chunk(2, 1)
        tr, self.tz, tg_n = tr * slope_r, tz * slope_z, tg[:, n_block:]
        tn = slope_n * (ti[:, n_block:] + tr * g_n + r * tg_n)
        self.tc = -self.tz * slope_n - 2 * (1 - z) * n * tn
        tm_r = (self.tc * g_n + self.c * tg_n) * slope_r
        tm_r.addcmul_(self.c * g_n, (1 - 2 * r) * tr)
        tm_z = (t_before - tn) * slope_z + (self.before - n) * (1 - 2 * z) * self.tz
        self.tm = torch.cat([tm_r, tm_z, self.tc * r + self.c * tr], 1)
        self.th_grouped = layer.layout.group(t_before)

    def backward(self, tdh: Tensor) -> tuple[Tensor, TaskMatrix, TaskMatrix]:
        """The tangent of what the layer's `backward` returns, from the tangent of its dh."""
        layer, layout = self.layer, self.layer.layout
        known = (blocks_of(self.tm) * layer.dh.unsqueeze(1)).flatten(1)
        reaching = layer.hidden.transposed(layout.group(known))
        reaching = layout.pack(add(reaching, self.v_hidden.apply_transposed(self.dg_grouped)))
        reaching = layout.only_real(reaching.addcmul_(self.tz, layer.dh))
        tdh = tdh.index_add(0, layout.previous, reaching[layout.sizes[0] :])
        tdh, tdg = linear_scan_back(tdh, layer.z, self.m, self.recurrence)
        tdg.add_(known)
        tdi = torch.cat([tdg[:, : 2 * layer.size], self.c * tdh + self.tc * layer.dh], 1)
        tdg, tdi = layout.group_zero(tdg), layout.group_zero(tdi)
        inner = Rows(layer.x, self.tx), Rows(tdi, self.di_grouped), tdi.sum(1)
        hidden = Rows(layer.h_grouped, self.th_grouped), Rows(tdg, self.dg_grouped), tdg.sum(1)
        tdx = add(layer.inner.transposed(tdi), self.v_inner.apply_transposed(self.di_grouped))
        return tdx, outer_sum(*inner), outer_sum(*hidden)
