"""Hypothesis profiles: the same examples in every run, or `HYPOTHESIS_PROFILE=long` at random."""

import os

from hypothesis import settings

settings.register_profile(
    "default", derandomize=True, deadline=None, max_examples=25, database=None
)
settings.register_profile("long", deadline=None, max_examples=500, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
