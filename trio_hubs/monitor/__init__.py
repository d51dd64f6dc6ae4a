"""A monitor that an app can switch on: what it does, live, for those who may see it, in a terminal and as a page."""

from .hub import add_monitor

__all__ = ["add_monitor"]
