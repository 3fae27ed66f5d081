"""Whole attention layers over many runs: linear ones by moments, any by tokens, by hand."""
