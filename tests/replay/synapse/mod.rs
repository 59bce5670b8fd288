//! A real Synapse: from SQLite to PostgreSQL, and to a new version and back. Nothing stands in for anything: a homeserver runs,
//! two people talk on it through its API, and Synapse's own tools move it.

mod moved;
mod scene;
mod upgraded;

use crate::harness::{Need, Registry};

pub fn register(r: &mut Registry) {
    let needs = [Need::Root, Need::Pg15, Need::Synapse];
    r.add("synapse::moved_to_postgres", &needs, moved::moved);
    r.add("synapse::upgraded_and_taken_back", &needs, upgraded::upgraded);
    r.add("synapse::a_floor_that_is_too_high", &needs, upgraded::no_way_back);
    r.add("synapse::the_move_is_rehearsed", &needs, moved::rehearsed);
    r.add("synapse::moved_without_a_look", &needs, moved::control);
    r.add("synapse::the_upgrade_is_rehearsed", &needs, upgraded::rehearsed);
}
