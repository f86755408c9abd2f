//! The main job, shown: a host in namespaces, and what its storage server sees before and after `isoplan apply`.

fn main() {}
