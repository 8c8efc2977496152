//! Lockkeeper's clients of outside systems: one trait a trade, one file a product, one HTTP client.

pub mod address;
pub mod endpoint;
pub mod error;
mod hold;
pub mod http;
pub mod metric;

#[cfg(test)]
mod test_server;
