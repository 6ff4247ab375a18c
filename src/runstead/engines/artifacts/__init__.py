"""Contents of artifacts: in a directory, or in S3-compatible storage."""
