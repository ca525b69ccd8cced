"""What do finished experiments say? Statistics over seeds, and tables of all methods."""
