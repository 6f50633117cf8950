"""What runs leave behind: the data, and in `format` the code that defines, writes and reads it."""
