"""The connections to Redis, and what becomes of them while a part of it is away."""
