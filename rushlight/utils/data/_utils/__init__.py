"""The DataLoader's parts: collating samples into batches, fetching them, and the worker processes."""
