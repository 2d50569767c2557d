"""Statistics of paired differences, and the rule for calling something better."""
