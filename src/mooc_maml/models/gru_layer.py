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
from itertools import pairwise

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
    """The hidden-to-hidden weights as a scan meets them: one step of the running sessions."""

    def __init__(self, hidden: TaskLinear, layout: Packed) -> None:
        self.weight = hidden.weight
        self.weight_t = hidden.weight.T.contiguous()
        task = layout.session_task
        self.bias = hidden.bias.expand(len(task), -1)
        if hidden.own.bias is not None:
            self.bias = self.bias + hidden.own.bias[task]
        self.factors: tuple[Tensor, Tensor] | None = None
        if not hidden.own.is_zero:
            inputs, outputs = hidden.own.inputs.tensor, hidden.own.outputs.tensor
            self.factors = inputs[task], outputs[task]  # [sessions, r, H], [sessions, r, 3H]

    def forward(self, h: Tensor, start: Tensor | None = None) -> Tensor:
        """W h, plus `start` if given: [running, H] -> [running, 3H]."""
        y = h @ self.weight_t if start is None else torch.addmm(start, h, self.weight_t)
        return y if self.factors is None else _add_own(y, h, *self.factors)

    def backward(self, d: Tensor, start: Tensor) -> Tensor:
        """W^T d + start: [running, 3H] -> [running, H]."""
        y = torch.addmm(start, d, self.weight)
        return y if self.factors is None else _add_own(y, d, *reversed(self.factors))


def _add_own(y: Tensor, u: Tensor, inputs: Tensor, outputs: Tensor) -> Tensor:
    k = len(u)
    attention = torch.bmm(u.unsqueeze(1), inputs[:k].mT)
    y.unsqueeze(1).baddbmm_(attention, outputs[:k])
    return y


def forward_scan(i: Tensor, recurrence: Recurrence, layout: Packed) -> tuple[Tensor, ...]:
    """The GRU itself: i [steps, 3H] -> h, (r, z), n, g_n, all packed."""
    size = i.shape[1] // 3
    h, rz, n, g_n = (i.new_empty(len(i), k * size) for k in (1, 2, 1, 1))
    state = i.new_zeros(layout.slices[0][1], size)
    for start, end in layout.slices:
        state = state[: end - start]
        bias = recurrence.bias[: end - start]
        g = recurrence.forward(state, bias) if start else bias
        g_n[start:end] = g[:, 2 * size :]
        gates = torch.add(i[start:end, : 2 * size], g[:, : 2 * size], out=rz[start:end]).sigmoid_()
        reset, update = gates[:, :size], gates[:, size:]
        candidate = n[start:end]
        torch.addcmul(i[start:end, 2 * size :], reset, g[:, 2 * size :], out=candidate).tanh_()
        state = torch.lerp(candidate, state, update, out=h[start:end])
    return h, rz, n, g_n


def linear_scan(
    u: Tensor, z: Tensor, m: Tensor, recurrence: Recurrence, layout: Packed
) -> tuple[Tensor, Tensor]:
    """Forwards: u [steps, H] -> th [steps, H] and W_h th' [steps, 3H], 0 at a session's start."""
    th, product = u.clone(), torch.zeros_like(m)
    for (before, _), (start, end) in pairwise(layout.slices):
        state = th[before : before + end - start]
        own = recurrence.forward(state)
        product[start:end] = own
        blocks = own.mul_(m[start:end]).view(end - start, 3, -1)
        th[start:end].addcmul_(z[start:end], state).add_(blocks.sum(1))
    return th, product


def linear_scan_back(
    dh: Tensor, z: Tensor, m: Tensor, recurrence: Recurrence, layout: Packed
) -> Tensor:
    """Backwards: what reaches each h from outside, dh [steps, H] -> all that reaches it."""
    dh = dh.clone()
    for (before, _), (start, end) in reversed(list(pairwise(layout.slices))):
        here, there = dh[start:end], dh[before : before + end - start]
        dg = (m[start:end].view(end - start, 3, -1) * here.unsqueeze(1)).flatten(1)
        there.copy_(recurrence.backward(dg, torch.addcmul(there, z[start:end], here)))
    return dh


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
        h, rz, self.n, self.g_n = forward_scan(i, self.recurrence, self.layout)
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
        self.dh = linear_scan_back(dh, z, self.m, self.recurrence, self.layout)
        dg = self._blocks(self.m, self.dh)
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
        th, product = linear_scan(u, self.z, self.m, self.recurrence, self.layout)
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
        layout, first = self.layout, self.layout.slices[0][1]
        known = self._blocks(self.tm, self.dh)
        reaching = self.hidden.transposed(layout.group(known))
        reaching = layout.pack(add(reaching, self.v_hidden.apply_transposed(self.dg_grouped)))
        reaching.addcmul_(self.tz, self.dh)
        tdh = tdh.index_add(0, layout.previous, reaching[first:])
        tdh = linear_scan_back(tdh, self.z, self.m, self.recurrence, layout)
        tdg = self._blocks(self.m, tdh) + known
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

    @staticmethod
    def _blocks(m: Tensor, h: Tensor) -> Tensor:
        """Each of the three blocks of m [steps, 3H] times h [steps, H]."""
        return (m.unflatten(1, (3, -1)) * h.unsqueeze(1)).flatten(1)


def _required(x: Tensor | None) -> Tensor:
    assert x is not None
    return x
