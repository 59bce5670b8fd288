//! Damage of every kind, made for real, and what sees it.

mod amcheck;
mod checksums;
mod collations;
mod duplicates;

use crate::harness::Registry;
use crate::harness::damage::{flip, past_the_index};

pub fn register(r: &mut Registry) {
    checksums::register(r);
    amcheck::register(r);
    duplicates::register(r);
    collations::register(r);
}

/// A table of 20,000 rows with two indexes.
const TABLE: &str = "create table t (id int primary key, k text); \
                     insert into t select g, md5(g::text) from generate_series(1, 20000) g; \
                     create index t_k on t (k);";
