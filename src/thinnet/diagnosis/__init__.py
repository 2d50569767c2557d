"""Why dropout works in a trained model, measured: co-adaptation, redundancy, sparsity, the gap, gradients, variance shift."""
