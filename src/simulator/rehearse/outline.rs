//! What can be said of a release before anything runs: when, how long at least, which gates.
