//! lookout
fn main() {}
