"""The main job: does dropout help on these data, at which rate, and how sure is that? `thinnet study` answers."""
