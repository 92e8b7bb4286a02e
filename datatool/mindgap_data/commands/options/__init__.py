"""Options that several commands share: a module a group, each with the frozen object its options become."""
