"""What the server answers, as frozen structs."""
