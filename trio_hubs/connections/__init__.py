"""Floor 2: a connection is a duplex of bytes, whatever carries it. No hub is known here."""
