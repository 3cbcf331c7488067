"""Small tools that every room may use: seeds, atomic files, devices, references, spelling."""
