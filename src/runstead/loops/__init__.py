"""What the server does by itself: one file and one verb each, bounded per tick."""
