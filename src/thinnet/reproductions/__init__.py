"""`thinnet reproduce`: published claims about dropout, each measured again on data that is at hand."""
