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

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from mooc_maml.meta.outer_products import OuterSum, Rows
from mooc_maml.models.packed import Packed


@dataclass(frozen=True)
class TaskLinear:
    """y = W u + b, with a shared W [out, in] and b [out] plus a task's own sum of products."""

    weight: Tensor
    bias: Tensor
    own: OuterSum

    def affine(self, u: Tensor) -> Tensor:
        """W u + b: [tasks, n, in] -> [tasks, n, out]."""
        return add(linear(u, self.weight, self.bias), self.own.apply(u))

    def product(self, u: Tensor) -> Tensor:
        """W u: [tasks, n, in] -> [tasks, n, out]."""
        return add(linear(u, self.weight), self.own.apply(u, with_bias=False))

    def transposed(self, d: Tensor) -> Tensor:
        """W^T d: [tasks, n, out] -> [tasks, n, in]."""
        return add(d @ self.weight, self.own.apply_transposed(d))


def add(x: Tensor, y: Tensor | None) -> Tensor:
    """x + y in the memory of x, where None stands for 0."""
    return x if y is None else x.add_(y)


class Recurrence:
    """The hidden-to-hidden weights as the scans meet them: one step of the running sessions.

    All tensors are lists over time, views of one packed tensor, made once: a scan is bound by the
    number of calls that it makes, and slicing is a call.
    """

    def __init__(self, hidden: TaskLinear, layout: Packed) -> None:
        self.weight, self.weight_t = hidden.weight, hidden.weight.T.contiguous()
        self.layout = layout
        task = layout.session_task
        bias = hidden.bias.expand(len(task), -1)
        if hidden.own.bias is not None:
            bias = bias + hidden.own.bias[task]
        self.bias = self._running(bias)
        self.own = not hidden.own.is_zero
        if self.own:
            inputs, outputs = hidden.own.inputs.tensor[task], hidden.own.outputs.tensor[task]
            self.inputs, self.inputs_t = self._running(inputs), self._running(inputs.mT)
            self.outputs, self.outputs_t = self._running(outputs), self._running(outputs.mT)

    def _running(self, x: Tensor) -> list[Tensor]:
        """For each time, x [sessions, ...] of the sessions that run then."""
        return [x if size == len(x) else x[:size] for size in self.layout.sizes]

    def over_time(self, x: Tensor) -> list[Tensor]:
        """For each time, the part of x [steps, ...]; where own weights need it, [running, 1, d]."""
        return list(x.split(self.layout.sizes))

    def add_own(self, t: int, y: Tensor, h: Tensor) -> None:
        """y += (own W) h at time t: h [running, 1, H], y [running, 1, 3H]."""
        y.baddbmm_(torch.bmm(h, self.inputs_t[t]), self.outputs[t])

    def add_own_transposed(self, t: int, y: Tensor, d: Tensor) -> None:
        """y += (own W)^T d at time t: d [running, 1, 3H], y [running, 1, H]."""
        y.baddbmm_(torch.bmm(d, self.outputs_t[t]), self.inputs[t])


def forward_scan(i: Tensor, recurrence: Recurrence) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The GRU itself: i [steps, 3H] -> h [steps, H], (r, z) [steps, 2H], n, g_n [steps, H]."""
    size, split = i.shape[1] // 3, recurrence.over_time
    h, g, rz, n = (i.new_empty(len(i), k * size) for k in (1, 3, 2, 1))
    states, before = split(h), recurrence.layout.split_before(h)
    gs, gates, candidates = split(g), split(rz), split(n)
    g_rz, g_n, i_rz, i_n = (split(x[:, part]) for x in (g, i) for part in _parts(size))
    reset, update = split(rz[:, :size]), split(rz[:, size:])
    own = recurrence.own
    own_g, own_h = (split(g.unsqueeze(1)), recurrence.layout.split_before(h.unsqueeze(1)))
    gs[0].copy_(recurrence.bias[0])
    for t, state in enumerate(states):
        if t:
            torch.addmm(recurrence.bias[t], before[t], recurrence.weight_t, out=gs[t])
            if own:
                recurrence.add_own(t, own_g[t], own_h[t])
        torch.add(i_rz[t], g_rz[t], out=gates[t]).sigmoid_()
        torch.addcmul(i_n[t], reset[t], g_n[t], out=candidates[t]).tanh_()
        if t:
            torch.lerp(candidates[t], before[t], update[t], out=state)
        else:
            torch.addcmul(candidates[0], candidates[0], update[0], value=-1, out=state)
    return h, rz, n, g[:, 2 * size :]


def _parts(size: int) -> tuple[slice, slice]:
    return slice(0, 2 * size), slice(2 * size, 3 * size)


def linear_scan(u: Tensor, z: Tensor, m: Tensor, recurrence: Recurrence) -> tuple[Tensor, Tensor]:
    """Forwards: u [steps, H] -> th [steps, H] and W_h th' [steps, 3H], 0 at a session's start."""
    split, split_before = recurrence.over_time, recurrence.layout.split_before
    th, product = u.clone(), torch.empty_like(m)
    states, before, products, zs = split(th), split_before(th), split(product), split(z)
    blocks, ms = split(product.unflatten(1, (3, -1))), split(m.unflatten(1, (3, -1)))
    own_product, own_before = split(product.unsqueeze(1)), split_before(th.unsqueeze(1))
    products[0].zero_()
    for t in range(1, len(states)):
        torch.mm(before[t], recurrence.weight_t, out=products[t])
        if recurrence.own:
            recurrence.add_own(t, own_product[t], own_before[t])
        states[t].addcmul_(zs[t], before[t]).add_((blocks[t] * ms[t]).sum(1))
    return th, product


def linear_scan_back(
    dh: Tensor, z: Tensor, m: Tensor, recurrence: Recurrence
) -> tuple[Tensor, Tensor]:
    """Backwards: what reaches each h from outside, dh [steps, H] -> all of it, and dg = m dh."""
    split, split_before = recurrence.over_time, recurrence.layout.split_before
    dh, dg = dh.clone(), torch.empty_like(m)
    here, before, dgs, zs = split(dh), split_before(dh), split(dg), split(z)
    blocks, ms = split(dg.unflatten(1, (3, -1))), split(m.unflatten(1, (3, -1)))
    wide, own_dg, own_before = (
        split(dh.unsqueeze(1)),
        split(dg.unsqueeze(1)),
        split_before(dh.unsqueeze(1)),
    )
    for t in reversed(range(len(here))):
        torch.mul(ms[t], wide[t], out=blocks[t])
        if t:
            before[t].addcmul_(zs[t], here[t]).addmm_(dgs[t], recurrence.weight)
            if recurrence.own:
                recurrence.add_own_transposed(t, own_before[t], own_dg[t])
    return dh, dg


class GRULayer:
    """Forward and backward pass over packed sessions, and the tangent of both in a direction.

    Call the passes in the order in which they stand here; each uses what the earlier ones kept.
    x, and what is named `_grouped`, is grouped [tasks, n, ...]; everything else packed [steps, ...].
    """

    def __init__(self, inner: TaskLinear, hidden: TaskLinear, layout: Packed) -> None:
        self.inner, self.hidden, self.layout = inner, hidden, layout
        self.recurrence = Recurrence(hidden, layout)

    def forward(self, x: Tensor) -> Tensor:
        """x [tasks, n, in] -> h [steps, H]."""
        self.x = x
        i = self.layout.pack(self.inner.affine(x))
        h, rz, self.n, self.g_n = forward_scan(i, self.recurrence)
        self.r, self.z = rz.chunk(2, 1)
        self.before = self.layout.before(h)
        return h

    def backward(self, dh: Tensor) -> tuple[Tensor, OuterSum, OuterSum]:
        """dh [steps, H] from above -> dx [tasks, n, in], and the gradients of both weights."""
        r, z, n = self.r, self.z, self.n
        self.slope_r, self.slope_z, self.slope_n = r - r * r, z - z * z, 1 - n * n
        self.c = (1 - z) * self.slope_n
        m_r = self.c * self.g_n * self.slope_r
        self.m = torch.cat([m_r, (self.before - n) * self.slope_z, self.c * r], 1)
        self.dh, dg = linear_scan_back(dh, z, self.m, self.recurrence)
        di = torch.cat([dg[:, : 2 * self.size], self.c * self.dh], 1)
        self.h_grouped = self.layout.group(self.before)
        self.dg_grouped, self.di_grouped = self.layout.group_zero(dg), self.layout.group_zero(di)
        return (
            self.inner.transposed(self.di_grouped),
            OuterSum(Rows(self.x), Rows(self.di_grouped), self.di_grouped.sum(1)),
            OuterSum(Rows(self.h_grouped), Rows(self.dg_grouped), self.dg_grouped.sum(1)),
        )

    def tangent_forward(self, tx: Tensor, v_inner: OuterSum, v_hidden: OuterSum) -> Tensor:
        """tx [tasks, n, in] and a direction of the weights -> th [steps, H]."""
        self.tx, self.v_inner, self.v_hidden = tx, v_inner, v_hidden
        ti = self.layout.pack(add(self.inner.product(tx), v_inner.apply(self.x)))
        tg = self.layout.pack(_required(v_hidden.apply(self.h_grouped)))
        changes = torch.cat(
            [ti[:, : 2 * self.size] + tg[:, : 2 * self.size], tg[:, -self.size :]], 1
        )
        u = (self.m * changes).unflatten(1, (3, -1)).sum(1)
        u.addcmul_(self.c, ti[:, -self.size :])
        th, product = linear_scan(u, self.z, self.m, self.recurrence)
        self._tangents_of_coefficients(ti, tg.add_(product), self.layout.before(th))
        return th

    def _tangents_of_coefficients(self, ti: Tensor, tg: Tensor, t_before: Tensor) -> None:
        size, r, z, n = self.size, self.r, self.z, self.n
        tr, self.tz = (ti[:, : 2 * size] + tg[:, : 2 * size]).chunk(2, 1)
        tr, self.tz, tg_n = tr * self.slope_r, self.tz * self.slope_z, tg[:, 2 * size :]
        tn = self.slope_n * (ti[:, 2 * size :] + tr * self.g_n + r * tg_n)
        self.tc = -self.tz * self.slope_n - 2 * (1 - z) * n * tn
        tm_r = (self.tc * self.g_n + self.c * tg_n) * self.slope_r
        tm_r.addcmul_(self.c * self.g_n, (1 - 2 * r) * tr)
        tm_z = (t_before - tn) * self.slope_z + (self.before - n) * (1 - 2 * z) * self.tz
        self.tm = torch.cat([tm_r, tm_z, self.tc * r + self.c * tr], 1)
        self.th_grouped = self.layout.group(t_before)

    def tangent_backward(self, tdh: Tensor) -> tuple[Tensor, OuterSum, OuterSum]:
        """The tangent of what `backward` returns, from the tangent of its dh."""
        layout, first = self.layout, self.layout.sizes[0]
        known = (self.tm.unflatten(1, (3, -1)) * self.dh.unsqueeze(1)).flatten(1)
        reaching = self.hidden.transposed(layout.group(known))
        reaching = layout.pack(add(reaching, self.v_hidden.apply_transposed(self.dg_grouped)))
        reaching.addcmul_(self.tz, self.dh)
        tdh = tdh.index_add(0, layout.previous, reaching[first:])
        tdh, tdg = linear_scan_back(tdh, self.z, self.m, self.recurrence)
        tdg.add_(known)
        tdi = torch.cat([tdg[:, : 2 * self.size], self.c * tdh + self.tc * self.dh], 1)
        tdg, tdi = layout.group_zero(tdg), layout.group_zero(tdi)
        return (
            add(self.inner.transposed(tdi), self.v_inner.apply_transposed(self.di_grouped)),
            OuterSum(Rows(self.x, self.tx), Rows(tdi, self.di_grouped), tdi.sum(1)),
            OuterSum(Rows(self.h_grouped, self.th_grouped), Rows(tdg, self.dg_grouped), tdg.sum(1)),
        )

    @property
    def size(self) -> int:
        """H."""
        return self.n.shape[1]


def _required(x: Tensor | None) -> Tensor:
    assert x is not None
    return x
