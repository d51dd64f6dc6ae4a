"""Several processes on one port: a supervisor starts workers, and joins them."""

from .supervisor import Supervisor, WorkerFailed, serve_workers

__all__ = ["Supervisor", "WorkerFailed", "serve_workers"]
