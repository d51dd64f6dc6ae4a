"""A hub whose clients are connected to several servers: what these tell each other, over any bus."""
