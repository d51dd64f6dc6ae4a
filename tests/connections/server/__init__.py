"""Tests of the connections that a server makes."""
