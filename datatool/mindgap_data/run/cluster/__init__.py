"""A job on the replicas of a Ray cluster: rows as a table, an actor a replica, results as shards put in order again."""
