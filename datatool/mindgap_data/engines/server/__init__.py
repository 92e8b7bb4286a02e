"""The server engine: an OpenAI-compatible server, probed for what it can do."""
