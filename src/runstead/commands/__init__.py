"""What can be done: one file per noun, one function per command, each authorise → apply → publish."""
