"""Methods that drop inputs: conditions, columns, modalities."""
