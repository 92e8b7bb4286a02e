"""The life of a run: scheduler, journal, progress."""
