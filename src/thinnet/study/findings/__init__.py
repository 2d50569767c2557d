"""What the trials show: results, comparisons, costs, and the verdict."""
