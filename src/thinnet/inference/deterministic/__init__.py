"""One pass in the place of many: moments, weight scaling, one student."""
