"""The policy: whose model it is, its tokenizer and chat template, and the recipe that trains it."""
