//! Damage to a cluster, made for real.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use super::Cluster;

/// Changes bits of one byte in the file of a relation, while the server is stopped.
pub fn flip(cluster: &Cluster, relation: &str, offset: u64, bits: u8) {
    cluster.psql("checkpoint");
    let path = cluster.data().join(cluster.psql(&format!("select pg_relation_filepath('{relation}')")));
    cluster.stop();
    let mut file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(&[byte[0] ^ bits]).unwrap();
    drop(file);
    cluster.restart();
}

/// Writes rows past a unique index: it neither sees them nor objects.
pub fn past_the_index(cluster: &Cluster, index: &str, insert: &str) {
    cluster.psql(&format!("update pg_index set indisready = false where indexrelid = '{index}'::regclass"));
    cluster.psql(insert);
    cluster.psql(&format!("update pg_index set indisready = true where indexrelid = '{index}'::regclass"));
}
