"""What holds for every task, model and state, on examples that Hypothesis draws.

One file for each theme: symmetry, scaling laws, monotonicity, order of the bounds, optimality,
conservation, flows, gradients, stacks, samples. The objects are drawn by `numerics.strategies`.
In the repository this folder is `tests/properties`; installed, with pytest and Hypothesis,

    pytest --pyargs iclflow_properties

runs it anywhere: the same examples each time, or with HYPOTHESIS_PROFILE=long many random ones.
"""
