"""Claims of [L], and what lies beyond it: linear attention, and its whole layer with softmax."""
