"""Hubs whose clients are connected to several servers."""
