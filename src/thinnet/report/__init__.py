"""Tables, figures, pages, progress and findings: how every tool of thinnet shows its results."""
