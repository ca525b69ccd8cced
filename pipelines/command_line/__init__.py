"""What a user may type, and what they see when something is wrong."""
