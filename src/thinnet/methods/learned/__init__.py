"""Methods whose noise is learned with the weights, and whose penalty belongs in the loss."""
