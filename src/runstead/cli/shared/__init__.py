"""What the commands share: the connection, parsing, output."""
