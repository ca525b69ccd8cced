"""Our own questions: which method is better, and what does the paper show."""
