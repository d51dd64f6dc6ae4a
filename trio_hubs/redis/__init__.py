"""A fleet over Redis, as ASP.NET Core's Redis backplane has it: its servers and ours may be of one fleet.

What is published while a connection is away waits within a bound, and then fails; what others published meanwhile is
lost, which is told as a gap.
"""

from .backplane import RedisBackplane, open_hub_publisher

__all__ = ["RedisBackplane", "open_hub_publisher"]
