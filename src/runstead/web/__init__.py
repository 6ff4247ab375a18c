"""The dashboard at `/ui`: pages made on the server, for people."""
