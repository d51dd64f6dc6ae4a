"""Tests of floor 2: connections are duplexes of bytes, whatever carries them."""
