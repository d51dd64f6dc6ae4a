"""Whatever comes in, in whatever pieces: laws that hold for any input, tried with many. See CONTRIBUTING for more."""
