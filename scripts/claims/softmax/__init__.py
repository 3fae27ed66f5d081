"""Claims of [S], and what lies beyond it: heads of softmax attention on several tasks."""
