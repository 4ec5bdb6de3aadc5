"""The fine-tune loop, whatever is learned: batches, updates, checkpoints, what takes part in an update."""
