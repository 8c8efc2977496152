//! Lockkeeper's clients of outside systems: one trait a trade, one file a product, one HTTP client.
