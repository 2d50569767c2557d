"""Methods that learn their noise with the weights, through a penalty in the loss."""
