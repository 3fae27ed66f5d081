"""Softmax attention on multi-task regression [S]: the exact in-context loss at finite (d, L)."""
