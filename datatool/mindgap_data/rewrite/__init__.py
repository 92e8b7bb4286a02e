"""What happens to a problem: its stages, guided prompts, leaks, pickers, scoring, selection."""
