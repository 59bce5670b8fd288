//! (in work)

fn main() {}
