"""The tests mirror the sources, a folder for each floor; what concerns the whole house stands beside them."""
