"""The demonstration: a bundle trained with and without CGGM, compared, drawn, reported."""
