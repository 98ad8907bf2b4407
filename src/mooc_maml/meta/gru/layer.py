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
from mooc_maml.meta.gru.scans import (
    Recurrence,
    blocks_of,
    forward_scan,
    linear_scan,
    linear_scan_back,
)
from mooc_maml.meta.gru.task_linear import TaskLinear, add
from mooc_maml.meta.outer_products import TaskMatrix, outer_sum
from mooc_maml.meta.rows import Rows


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
