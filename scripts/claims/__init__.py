"""The claims of `verify.py`, in the order in which they are listed and run."""

from __future__ import annotations

from claims.base import Claim


def all_claims() -> list[Claim]:
    """Every claim, linear attention first."""
    from claims import batched
    from claims.linear import (
        beyond,
        data,
        lengths,
        merged,
        mixture,
        networks,
        rank,
        separate,
        single_mode,
        softmax_layer,
        tokens,
        whole,
    )
    from claims.softmax import (
        bounds,
        decomposable,
        exact_loss,
        finite_size,
        limit,
        links,
        nonlinear,
        optimum,
        phases,
        reduced,
        regression,
        saturation,
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
        softmax_layer.one_drop_or_several,
        mixture.in_context_against_in_weight,
        lengths.varying_length,
        decomposable.decomposability,
        finite_size.in_context_loss,
        phases.three_phases,
        limit.limit_point,
        reduced.reduced_equations,
        optimum.single_head,
        bounds.equiangular,
        bounds.constant_factor,
        finite_size.other_lengths,
        links.linear_attention,
        nonlinear.nonlinear_tasks,
        saturation.exponential_and_saturated,
        regression.no_double_descent,
        regression.bound_against_bayes,
        beyond.anisotropic,
        data.sampled_run,
        exact_loss.exact_in_context_loss,
        beyond.stability_of_all,
        optimum.optimum_of_all_heads,
        tokens.real_tokens,
        batched.kernels,
        batched.flows,
        batched.batching,
    ]


__all__ = ["all_claims"]
