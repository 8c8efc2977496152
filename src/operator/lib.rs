//! Lockkeeper's controller: observe -> plan -> decide -> act -> publish.
