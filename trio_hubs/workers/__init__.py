"""Several processes on one port: a supervisor starts workers, and joins them."""
