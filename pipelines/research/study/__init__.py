"""A study of whether CGGM helps, when, and through what: small networks, many seeds, controls."""
