"""Hubs under test, and what tests them."""
