"""The client is true to the official clients on the wire, and to trio behind it."""
