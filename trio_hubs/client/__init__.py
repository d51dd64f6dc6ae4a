"""Floor 4, the client's face: a connection to a hub, and the handlers for what the server calls."""
