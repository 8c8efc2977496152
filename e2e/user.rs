//! The people of the cluster.

/// A person that the API server knows by token, in the groups that the product's samples speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum User {
    /// May do everything (`system:masters`).
    Admin,
    /// On call (group `sre`).
    Alice,
    /// On call (group `sre`).
    Bob,
    /// Approves changes (group `change-board`).
    Carol,
    /// Approves changes (group `change-board`).
    Dave,
    /// Releases (group `releasers`).
    Erin,
    /// In no group.
    Mallory,
}

impl User {
    /// Everybody.
    pub const ALL: [User; 7] =
        [User::Admin, User::Alice, User::Bob, User::Carol, User::Dave, User::Erin, User::Mallory];

    /// The name that the API server, and so each audit entry, gives them.
    pub fn name(self) -> &'static str {
        match self {
            User::Admin => "admin",
            User::Alice => "alice",
            User::Bob => "bob",
            User::Carol => "carol",
            User::Dave => "dave",
            User::Erin => "erin",
            User::Mallory => "mallory",
        }
    }

    /// Their group; the API server adds `system:authenticated`.
    pub fn group(self) -> Option<&'static str> {
        match self {
            User::Admin => Some("system:masters"),
            User::Alice | User::Bob => Some("sre"),
            User::Carol | User::Dave => Some("change-board"),
            User::Erin => Some("releasers"),
            User::Mallory => None,
        }
    }
}
