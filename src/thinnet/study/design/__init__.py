"""What a study compares: its plan, configurations and problems."""
