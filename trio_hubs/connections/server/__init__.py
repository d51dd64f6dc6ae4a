"""Connections as a server makes them: the front door, endpoints, and who may come in."""
