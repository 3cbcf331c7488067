"""Methods that modify or combine other methods, one file each. Start with `standardise`."""
