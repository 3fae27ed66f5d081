"""Training as practitioners do it: batches, optimisers, schedules, records and checkpoints."""
