"""The server is true to ASP.NET Core on the wire, and to trio behind it."""
