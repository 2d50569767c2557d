"""Methods for the router of a mixture of experts."""
