"""Connections as a client makes them: negotiation and the transports."""
