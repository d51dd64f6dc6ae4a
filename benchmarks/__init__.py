"""The speed of trio_hubs beside its peers and the floor, measured in one run; nothing here asserts a time."""
