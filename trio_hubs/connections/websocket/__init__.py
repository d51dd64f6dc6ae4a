"""The WebSocket, both ends: frames in order are ours, and trio-websocket stands behind for all others."""

from .websocket import CLOSE_TIMEOUT, WebSocketConnection, accept_websocket

__all__ = ["CLOSE_TIMEOUT", "WebSocketConnection", "accept_websocket"]
