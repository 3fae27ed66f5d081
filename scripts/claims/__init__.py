"""The claims, in the order in which they are listed and run."""

from __future__ import annotations

from claims.base import Claim


def all_claims() -> list[Claim]:
    """Every claim, linear attention first."""
    from claims import (
        beyond,
        data,
        lengths,
        merged,
        mixture,
        networks,
        rank,
        separate,
        single_mode,
        softmax,
        tokens,
        whole,
    )

    return [
        data.moments,
        data.loss_of_matrix,
        networks.two_layer_network,
        merged.two_fixed_points,
        merged.white_time_course,
        merged.escape,
        merged.converged,
        networks.convolutional_network,
        separate.fixed_points,
        separate.visit_order,
        separate.plateaus,
        separate.ansatz,
        single_mode.scalar_flow,
        single_mode.components_in_context,
        single_mode.conservation,
        rank.multiples_of_rank,
        rank.landscape,
        whole.zero_blocks,
        softmax.one_drop_or_several,
        mixture.in_context_against_in_weight,
        lengths.varying_length,
        beyond.anisotropic,
        data.sampled_run,
        beyond.stability_of_all,
        tokens.real_tokens,
    ]


__all__ = ["all_claims"]
