"""The GPU side: one process per engine, which takes jobs from the queue and settles them."""
