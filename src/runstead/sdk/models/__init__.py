"""The objects of the server's answers, as frozen structs."""
