"""`thinnet study`: does dropout help on this data, at which rate, and how certain is that?"""
