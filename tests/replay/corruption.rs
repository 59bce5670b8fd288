//! t2bot.io, June 2020: corruption that was carried along, and transaction ids that ran out. A failover on failing disks
//! left rows that their unique indexes did not know; every standby was a copy of them; what was found was put off; and when
//! writes stopped, the database was dropped for a dump that could not be restored.

mod carried;
mod recovery;
mod scene;

use crate::harness::{Need, Registry};

pub fn register(r: &mut Registry) {
    let machine = [Need::Root, Need::Debian, Need::Pg15, Need::PgCommon];
    r.add("corruption::a_recovery_of_three_people", &machine, recovery::recovered);
    r.add("corruption::the_recovery_is_rehearsed", &machine, recovery::rehearsed);
    r.add("corruption::control_what_happened_then", &machine, recovery::control);
    r.add("corruption::what_a_failover_left_is_not_closed", &[Need::Root, Need::Pg15], carried::put_off);
    r.add("corruption::damage_of_each_kind_is_named", &[Need::Root, Need::Pg15], carried::kinds);
}
