"""One command for all tables and figures of the CGGM paper."""
