//! What one look sees of transactions and multixacts, and what several looks tell together.

use serde::{Deserialize, Serialize};

use crate::check::history::{Sample, Series};
use crate::check::horizon::row::Values;
use crate::world::pg::{QueryError, Session};

/// A sample. Older programs noted the next transaction alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Spent {
    /// The next transaction.
    Xid(u64),
    /// And the rest.
    All(Counters),
}

/// Numbers that only grow, but that those of 32 bits begin again at their end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    xid: u64,
    /// The next multixact.
    mxid: u32,
    /// The same at the last checkpoint.
    checkpoint_mxid: u32,
    /// The next member at the last checkpoint; absent where it has more than 32 bits.
    checkpoint_member: Option<u32>,
}

/// What is left until the server refuses.
#[derive(Debug)]
pub struct Left {
    /// The oldest database, by its transactions.
    pub database: String,
    /// Its age.
    pub age: u64,
    /// Transactions.
    pub xids: u64,
    /// Multixacts.
    pub mxids: u64,
    /// Their members.
    pub members: Members,
}

/// Room for members.
#[derive(Debug)]
pub enum Members {
    /// So many.
    Left(u64),
    /// Numbers of 64 bits.
    Endless,
    /// It may not be seen, and why.
    Hidden(String),
}

/// One look.
pub struct Look {
    /// For the series.
    pub spent: Spent,
    /// For the verdict.
    pub left: Left,
}

const XIDS: &str = "select datname, pg_catalog.age(datfrozenxid), \
    pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text \
    from pg_catalog.pg_database order by pg_catalog.age(datfrozenxid) desc, datname limit 1";

/// The oldest age in multixacts, the next one, and what the last checkpoint noted.
const MXIDS: &str = "select pg_catalog.mxid_age(datminmxid), \
    (datminmxid::text::int8 + pg_catalog.mxid_age(datminmxid)) % 4294967296, \
    c.next_multixact_id::text, c.next_multi_offset::text \
    from pg_catalog.pg_database, pg_catalog.pg_control_checkpoint() c \
    order by pg_catalog.mxid_age(datminmxid) desc limit 1";

const MEMBER_FILES: &str = "select pg_catalog.count(*) from pg_catalog.pg_ls_dir('pg_multixact/members')";

/// Members in one file of 32 pages; the server stops two files before its end.
const IN_FILE: u64 = 32 * 409 * 4;

/// Looks once; `None` when the server leaves something out.
pub async fn look(session: &Session) -> Result<Option<Look>, QueryError> {
    let version = session.identity().version;
    let mut xids = Values::of(session.query(XIDS).await?.into_iter().next().unwrap_or_default());
    let mut mxids = Values::of(session.query(MXIDS).await?.into_iter().next().unwrap_or_default());
    // From 19 on these are numbers of 64 bits.
    let members = match version {
        190_000.. => Members::Endless,
        _ => match session.value(MEMBER_FILES).await {
            Ok(Some(files)) => match files.parse::<u64>() {
                Ok(files) => Members::Left((1_u64 << 32).saturating_sub((files + 2) * IN_FILE)),
                Err(_) => Members::Hidden("there is no count of files".to_owned()),
            },
            Ok(None) => Members::Hidden("there is no count of files".to_owned()),
            Err(error) if error.lost => return Err(error),
            Err(error) => Members::Hidden(error.message),
        },
    };
    let bits = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok());
    let (database, age, xid) = (xids.text(), xids.count(), xids.count());
    let (mxid_age, mxid, checkpoint_mxid, member) =
        (mxids.count(), bits(mxids.count()), bits(mxids.count()), bits(mxids.count()));
    let (Some(database), Some(age), Some(xid), Some(mxid_age), Some(mxid), Some(checkpoint_mxid)) =
        (database, age, xid, mxid_age, mxid, checkpoint_mxid)
    else {
        return Ok(None);
    };
    let (xid_margin, mxid_margin) =
        if version >= 140_000 { (3_000_000, 3_000_000) } else { (1_000_000, 100) };
    Ok(Some(Look {
        spent: Spent::All(Counters { xid, mxid, checkpoint_mxid, checkpoint_member: member }),
        left: Left {
            database,
            age,
            xids: ((1_u64 << 31) - xid_margin).saturating_sub(age),
            mxids: ((1_u64 << 31) - mxid_margin).saturating_sub(mxid_age),
            members,
        },
    }))
}

impl Spent {
    /// The next transaction.
    pub fn xid(&self) -> u64 {
        match self {
            Spent::Xid(xid) => *xid,
            Spent::All(counters) => counters.xid,
        }
    }

    fn counters(&self) -> Option<&Counters> {
        match self {
            Spent::Xid(_) => None,
            Spent::All(counters) => Some(counters),
        }
    }
}

/// How far a number of 32 bits has come. Half of the way or more is no way: it was set back.
fn way(from: u32, to: u32) -> u64 {
    u64::from(Some(to.wrapping_sub(from)).filter(|way| *way < 1 << 31).unwrap_or(0))
}

/// The next multixact at each look that noted it, as a number that does not begin again.
pub fn multixacts(series: &Series<Spent>) -> Series<u64> {
    let mut samples: Vec<Sample<u64>> = Vec::new();
    let mut last = None;
    for sample in &series.samples {
        let Some(counters) = sample.value.counters() else { continue };
        let before = samples.last().map_or(0, |sample| sample.value);
        let value = before + last.map_or(0, |last| way(last, counters.mxid));
        last = Some(counters.mxid);
        samples.push(Sample { boot_ms: sample.boot_ms, value });
    }
    Series { samples, trouble: None }
}

/// Members of each multixact in the mean, as the checkpoints between the looks show it; `None` without two.
pub fn members_each(series: &Series<Spent>) -> Option<f64> {
    let noted: Vec<(u32, u32)> = series
        .samples
        .iter()
        .filter_map(|sample| sample.value.counters())
        .filter_map(|counters| Some((counters.checkpoint_mxid, counters.checkpoint_member?)))
        .collect();
    let (multixacts, members) = noted.windows(2).fold((0, 0), |(multixacts, members), pair| {
        (multixacts + way(pair[0].0, pair[1].0), members + way(pair[0].1, pair[1].1))
    });
    (multixacts > 0).then(|| members as f64 / multixacts as f64)
}

#[cfg(test)]
impl Spent {
    pub fn new(xid: u64, mxid: u64, checkpoint_mxid: u64, checkpoint_member: Option<u64>) -> Spent {
        Spent::All(Counters {
            xid,
            mxid: mxid as u32,
            checkpoint_mxid: checkpoint_mxid as u32,
            checkpoint_member: checkpoint_member.map(|member| member as u32),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(looks: &[(u64, u64)]) -> Series<Spent> {
        let sample = |(n, &(mxid, member)): (usize, &(u64, u64))| Sample {
            boot_ms: n as u64,
            value: Spent::new(1, mxid, mxid, Some(member)),
        };
        Series { samples: looks.iter().enumerate().map(sample).collect(), trouble: None }
    }

    #[test]
    fn numbers_that_begin_again_go_on() {
        let end = 1_u64 << 32;
        let turned = series(&[(end - 10, end - 100), (end - 4, end - 40), (6, 60)]);
        let values: Vec<u64> = multixacts(&turned).samples.iter().map(|sample| sample.value).collect();
        assert_eq!(values, [0, 6, 16]);
        assert_eq!(members_each(&turned), Some(10.0));
        assert_eq!(way(100, 90), 0, "set back");
    }

    #[test]
    fn a_checkpoint_must_have_come_between_two_looks() {
        assert_eq!(members_each(&series(&[(1, 10), (1, 10), (3, 14), (5, 50)])), Some(10.0));
        assert_eq!(members_each(&series(&[(1, 10), (1, 10)])), None);
        assert_eq!(members_each(&series(&[])), None);
    }
}
