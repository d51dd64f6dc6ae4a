"""Floor 3: the symmetric runtime, one code for server and client, over any connection."""
