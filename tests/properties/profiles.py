"""One BLAS thread, and Hypothesis profiles.

Two BLAS threads make small matrix products many times slower on a machine that has other work, so
the number is set before anything imports NumPy. Hypothesis tries the same examples in every run,
or with `HYPOTHESIS_PROFILE=long` many random ones.
"""

import os


def load():
    """Load the profile that HYPOTHESIS_PROFILE names; call this before NumPy is imported."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from hypothesis import settings  # may import NumPy

    settings.register_profile(
        "default", derandomize=True, deadline=None, max_examples=25, database=None
    )
    settings.register_profile("long", deadline=None, max_examples=500, print_blob=True)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
