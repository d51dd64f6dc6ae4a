"""Tests of the symmetric runtime, in memory and in virtual time."""
