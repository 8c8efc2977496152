//! Lockkeeper's custom resources: words and validation, no behaviour.
