//! A manifest: what a target held, table by table, at one moment.

use serde::{Deserialize, Serialize};

/// What a target held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {}
