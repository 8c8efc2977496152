//! What a controller wants to be done, as data.

use serde_json::Value;

use crate::api::{
    Caller, Key, Kind, Part, Preconditions, Server, Status,
    object::{name, namespace, uid},
};

/// One write of a controller.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// A new object.
    Create(Kind, Value),
    /// An object as it is to be; its resource version is that on which this was decided.
    Update(Kind, Value),
    /// The status of such an object.
    Status(Kind, Value),
    /// The end of such an object.
    Delete(Kind, Value),
}

impl Edit {
    /// Does it.
    ///
    /// # Errors
    /// What the API server says.
    pub fn apply(self, server: &mut Server, caller: &Caller) -> Result<(), Status> {
        let key = |kind, object: &Value| Key::new(kind, namespace(object), name(object));
        match self {
            Self::Create(kind, object) => {
                let home = namespace(&object).to_owned();
                server.create(caller, kind, &home, object).map(drop)
            }
            Self::Update(kind, object) => {
                server.update(caller, &key(kind, &object), Part::Main, |_| Ok(object)).map(drop)
            }
            Self::Status(kind, object) => {
                server.update(caller, &key(kind, &object), Part::Status, |_| Ok(object)).map(drop)
            }
            Self::Delete(kind, object) => {
                let conditions = Preconditions { uid: Some(uid(&object).into()), ..Preconditions::default() };
                server.delete(caller, &key(kind, &object), &conditions, None).map(drop)
            }
        }
    }

    /// Does all, up to the first that is refused: the next look finds what is left to do.
    pub fn apply_all(edits: Vec<Self>, server: &mut Server, caller: &Caller) {
        for edit in edits {
            if edit.apply(server, caller).is_err() {
                return;
            }
        }
    }
}
