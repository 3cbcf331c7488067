"""Teachers: trained networks behind one interface, and their outputs stored for all workers."""
