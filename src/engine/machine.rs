//! (in work)
/// Placeholder.
pub struct Machine; 
/// Placeholder.
pub enum Input {}
/// Placeholder.
pub enum Effect {}
