"""Methods that change or combine other methods, one file each."""
