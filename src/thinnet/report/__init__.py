"""The report kit that every tool shares: tables, figures, pages, progress and intervals. It imports no torch."""
