"""One list of raw exchanges, good and bad, played against the real ASP.NET Core server and against ours."""
