"""Methods that drop weights, and bounds on weights."""
