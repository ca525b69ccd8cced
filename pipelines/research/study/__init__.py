"""Does CGGM help, when, and through what? Small networks, many seeds, and controls."""
