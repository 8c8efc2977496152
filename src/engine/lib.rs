//! Lockkeeper's decisions as pure functions of plan, world, status and time.
