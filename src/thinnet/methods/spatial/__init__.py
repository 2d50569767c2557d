"""Methods whose coin decides a channel, or a region of one."""
