//! The gate against an oracle that was written apart from it, and against every single thing that can be wrong.

mod facts;
mod oracle;
mod persons;
mod tokens;
mod wrong;

use std::collections::BTreeMap;

use crate::check::{Outcome, Verdict};
use crate::gate::approvals::{Authorship, Given, Proven, Says};
use crate::gate::clock::Term;
use crate::journal::record::{BlastItem, Gone};
use crate::journal::scripts::{Found, Scripts};
use crate::journal::second::{Content, Person};
use crate::world::identity::{FileIdentity, PostgresIdentity};
use jiff::Timestamp;

use super::*;
use facts::*;
