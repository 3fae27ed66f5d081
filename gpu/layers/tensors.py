"""Derivatives of aᵀB(θ) as whole arrays: what the Jacobian of a linear layer is made of.

Entry (i, d, c) of aᵀB is Σ_h a_h,i B_h,dc, with B_h = W_h without its last row, or W_q,hᵀ W_k,h; G
(K, D·K, rows) is −½ ∂L/∂(aᵀB). Weights that meet the query's zero label move nothing.
"""

from __future__ import annotations

from gpu._arrays import Array, device, namespace, product, unit
from gpu.layers.maps import AttentionMap


def tangent(weights: AttentionMap, state: Array) -> Array:
    """∂(aᵀB)/∂θ (K, D·K, size, rows)."""
    xp, (a, *rest) = namespace(state), weights.blocks(state)
    (_, K, rows), D = a.shape, weights.layer.dimension
    label, entry = unit(state, K), unit(state, D)
    # Axes (i, d, c), then those of the weight, then rows.
    scores = xp.permute_dims(weights.factors(state)[1], (1, 2, 0, 3))
    parts = [label[:, None, None, None, :, None] * scores[None, :, :, :, None, :]]
    values = xp.permute_dims(a, (1, 0, 2))[:, None, None, :, None, None, :]
    same_c = label[None, None, :, None, None, :, None]
    if weights.layer.rank is None:
        same_d = entry[None, :, None, None, :, None, None]
        parts.append(_padded(values * (same_d * same_c), 4))
    else:
        same_d = entry[None, :, None, None, None, :, None]
        keys, queries = (xp.permute_dims(part, (2, 0, 1, 3)) for part in rest)
        parts.append((values * queries[None, :-1, None, :, :, None, :]) * same_c)
        parts.append(_padded((values * keys[None, None, :, :, :, None, :]) * same_d, 5))
    return xp.concat([xp.reshape(part, (K, D * K, -1, rows)) for part in parts], axis=2)


def half_curvature(weights: AttentionMap, state: Array, G: Array) -> Array:
    """Second derivatives of ⟨G, aᵀB⟩ at fixed G, those above the diagonal, (size, size, rows)."""
    xp, (a, *rest) = namespace(state), weights.blocks(state)
    (H, K, rows), D = a.shape, weights.layer.dimension
    head, cube = unit(state, H), xp.reshape(G, (K, D, K, rows))
    if weights.layer.rank is None:
        whole = head[:, None, :, None, None, None] * cube[None, :, None, ...]
        return _above({(0, 1): _padded(whole, 3)}, (H * K, H * K * K))
    R = weights.layer.rank
    keys, queries = (xp.reshape(part, (H * R, K, rows)) for part in rest)
    by_d = xp.reshape(xp.permute_dims(cube, (1, 0, 2, 3)), (D, K * K, rows))
    by_c = xp.reshape(xp.permute_dims(cube, (2, 0, 1, 3)), (K, K * D, rows))
    # Of a_h,i with W_k,h and W_q,h: (i, h, r, c) and (i, h, r, d).
    shape = (H, R, K, -1, rows)
    key = xp.permute_dims(xp.reshape(product(queries[:, :-1, :], by_d), shape), (2, 0, 1, 3, 4))
    query = xp.permute_dims(xp.reshape(product(keys, by_c), shape), (2, 0, 1, 3, 4))
    own = head[:, None, :, None, None, None]
    # Of W_k,h with W_q,h: (h, c, d), for the pairs of one head and rank.
    meet = xp.permute_dims(xp.reshape(product(a, G), (H, D, K, rows)), (0, 2, 1, 3))
    pair = head[:, None, None, :, None, None, None] * unit(state, R)[:, None, None, :, None, None]
    blocks = {
        (0, 1): own * key[None, ...],
        (0, 2): _padded(own * query[None, ...], 4),
        (1, 2): _padded(pair * meet[:, None, :, None, None, :, :], 5),
    }
    return _above(blocks, (H * K, H * R * K, H * R * K))


def _padded(part: Array, axis: int) -> Array:
    """A zero behind the entries of an axis, where the query's label is."""
    shape = list(part.shape)
    shape[axis] = 1
    zero = namespace(part).zeros(tuple(shape), dtype=part.dtype, device=device(part))
    return namespace(part).concat([part, zero], axis=axis)


def _above(blocks: dict[tuple[int, int], Array], sizes: tuple[int, ...]) -> Array:
    """A matrix (size, size, rows) of the given blocks, zero elsewhere."""
    given = next(iter(blocks.values()))
    xp, rows, place = namespace(given), given.shape[-1], {"dtype": given.dtype}
    place["device"] = device(given)
    lines = [
        xp.concat(
            [
                xp.reshape(blocks[i, j], (n, m, rows))
                if (i, j) in blocks
                else xp.zeros((n, m, rows), **place)
                for j, m in enumerate(sizes)
            ],
            axis=1,
        )
        for i, n in enumerate(sizes)
    ]
    return xp.concat(lines)


__all__ = ["half_curvature", "tangent"]
