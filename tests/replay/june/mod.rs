//! Toronto Mesh, June 2021: a release of Debian and a major version of PostgreSQL in one go, a copy that failed unseen, a
//! clean-up, and a backup that was five months old.

mod night;
mod release;
mod scene;

use crate::harness::{Need, Registry};

pub fn register(r: &mut Registry) {
    let needs = [Need::Debian11, Need::Pg15, Need::PgCommon];
    r.add(
        "june::a_copy_that_failed_unseen_is_not_cleaned_up_after",
        &needs,
        night::a_copy_that_failed_unseen,
    );
    r.add("june::an_upgrade_by_files_is_taken_back", &needs, night::an_upgrade_by_files);
    r.add("june::duplicate_keys_behind_a_success_are_found", &needs, night::duplicate_keys_behind_a_success);
    r.add("june::the_upgrade_is_rehearsed_first", &needs, night::rehearsed_first);
    let needs = [Need::Debian11, Need::PgCommon, Need::Locales];
    r.add("june::another_order_of_text_and_an_old_backup_are_seen", &needs, release::another_order_of_text);
    r.add("june::a_release_upgrade_is_rehearsed_first", &needs, release::rehearsed_first);
}
