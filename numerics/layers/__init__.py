"""Whole attention layers on tokens: every block of weights, forward and backward by hand."""
