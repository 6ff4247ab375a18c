"""Group commit on PostgreSQL: the commands of one transaction, from the queue to COMMIT."""
