"""Training: the C program of a network, the loop over batches and epochs, many networks at once."""
