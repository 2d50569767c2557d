"""MC mode: dropout on, everything else in eval; and copies of a model in which dropout has addresses."""
