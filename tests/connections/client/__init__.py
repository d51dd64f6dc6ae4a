"""Tests of the connections that a client makes."""
