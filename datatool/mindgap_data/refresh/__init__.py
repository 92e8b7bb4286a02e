"""Refreshing the rows of a training run while it trains: the folder it shares with a worker, and the worker."""
