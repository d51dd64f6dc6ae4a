"""Floor 1: bytes to messages and back, pure; nothing here knows trio, sockets or hubs."""
