"""The claims of `verify.py`, in the order in which they are listed and run."""

from __future__ import annotations

from claims.base import Claim


def all_claims() -> list[Claim]:
    """Every claim, linear attention first."""
    from claims import (
        batched,
        beyond,
        data,
        decomposable,
        exact_loss,
        finite_size,
        heads_bounds,
        heads_limit,
        heads_optimum,
        heads_phases,
        heads_reduced,
        lengths,
        merged,
        mixture,
        networks,
        nonlinear,
        rank,
        regression,
        saturation,
        separate,
        single_mode,
        softmax,
        softmax_links,
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
        decomposable.decomposability,
        finite_size.in_context_loss,
        heads_phases.three_phases,
        heads_limit.limit_point,
        heads_reduced.reduced_equations,
        heads_optimum.single_head,
        heads_bounds.equiangular,
        heads_bounds.constant_factor,
        finite_size.other_lengths,
        softmax_links.linear_attention,
        nonlinear.nonlinear_tasks,
        saturation.exponential_and_saturated,
        regression.no_double_descent,
        regression.bound_against_bayes,
        beyond.anisotropic,
        data.sampled_run,
        exact_loss.exact_in_context_loss,
        beyond.stability_of_all,
        heads_optimum.optimum_of_all_heads,
        tokens.real_tokens,
        batched.kernels,
        batched.flows,
        batched.batching,
    ]


__all__ = ["all_claims"]
