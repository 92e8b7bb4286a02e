"""Rounds of rewriting, training and evaluating: the plan, its steps, and the table they add up to."""
