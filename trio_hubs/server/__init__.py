"""Floor 4, the server's face: hubs, their clients, and the app that serves them."""
