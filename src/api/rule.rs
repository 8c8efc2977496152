//! Rules that several fields share. Rules rather than patterns, because they say how to mend what they refuse.

use kube::core::{Message, Rule};

const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const LABEL_IN_WORDS: &str = "lower-case letters, digits and dashes, with a letter or digit at both ends";

/// A name of ours, like that of a gate or a check, and of Services; their length is limited beside.
pub(crate) fn label() -> Rule {
    told(format!("self.matches('{LABEL}')"), format!("write {LABEL_IN_WORDS}"))
}

/// Every item of a list is a [`label`].
pub(crate) fn labels() -> Rule {
    told(format!("self.all(name, name.matches('{LABEL}'))"), format!("write names in {LABEL_IN_WORDS}"))
}

/// A name as most objects of Kubernetes may have it; its length is limited beside.
pub(crate) fn object_name() -> Rule {
    let rule = "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')";
    told(rule, format!("write the name of an object: {LABEL_IN_WORDS}, in parts separated by dots"))
}

/// Names of containers lead to references of images, which have no white space.
pub(crate) fn images() -> Rule {
    let (name, image) =
        (format!("size(name) <= 63 && name.matches('{LABEL}')"), "self[name].matches('^[^ \\\\t\\\\n]+$')");
    let example = "images are references by container name, like app: registry.example.com/shop/app:2.4.0";
    told(format!("self.all(name, {name} && {image})"), example.to_owned())
}

fn told(rule: impl Into<String>, message: String) -> Rule {
    Rule::new(rule).message(Message::Message(message))
}
