"""Methods that drop a channel, or a region of one."""
