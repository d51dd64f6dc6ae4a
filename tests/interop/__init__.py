"""Proof against the real thing: official clients and our server, our client and the official server."""
