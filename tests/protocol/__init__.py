"""Tests of floor 1: bytes to messages and back."""
