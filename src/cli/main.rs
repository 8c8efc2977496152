//! The one binary `lockkeeper`.

fn main() {}
