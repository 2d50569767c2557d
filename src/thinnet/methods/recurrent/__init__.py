"""Methods for the time steps of recurrent networks."""
