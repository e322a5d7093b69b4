"""The life of one guest: how it is started, spoken to, watched, and ended."""
