//! matrix.org, January 2017: an index that nothing seemed to use.

use crate::harness::Registry;

pub fn register(_r: &mut Registry) {}
