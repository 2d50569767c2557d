"""Methods that drop or perturb single elements."""
