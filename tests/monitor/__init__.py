"""What is seen of a running app, by whom, and how."""
