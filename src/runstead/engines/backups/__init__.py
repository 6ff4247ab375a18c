"""Places of backups: a folder, or S3-compatible storage."""
