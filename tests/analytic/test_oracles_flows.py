"""Flows and quadratures against references that share no code with them."""

import pytest

from precision import flows


@pytest.mark.parametrize("rtol", [1e-6, 1e-10])
@pytest.mark.parametrize("run", [flows.gradient_flows, flows.spectral_flows])
def test_flows_err_by_their_tolerance(run, rtol):
    for row in run([rtol]):
        assert row.error <= row.allowed, row
        # The reference is not the thing itself: a solver at rtol leaves a trace.
        assert row.error > 1e-16


def test_a_tighter_tolerance_is_more_precise():
    coarse, fine = flows.spectral_flows([1e-5, 1e-9])
    assert fine.error < coarse.error / 10


def test_exact_losses_are_integrals():
    for row in flows.exact_losses():
        assert row.error <= row.allowed, row
