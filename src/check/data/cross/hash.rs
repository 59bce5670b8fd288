//! PostgreSQL's own 64-bit hashes, computed here, so that rows of an SQLite file need not be moved to a server to be
//! compared: Bob Jenkins' published lookup3 with a 64-bit result and a seed, as PostgreSQL has used it since version 11.
//!
//! The server's values are the reference: every measurement asks it for those of [`PROBE`] first, and a test compares
//! thousands of random values with real servers.

/// The three words that lookup3 mixes.
#[derive(Clone, Copy)]
struct Words(u32, u32, u32);

impl Words {
    /// Where a key of so many bytes begins, before its seed.
    fn start(len: u32) -> Self {
        let word = 0x9e37_79b9_u32.wrapping_add(len).wrapping_add(3_923_095);
        Words(word, word, word)
    }

    /// The seed changes the beginning; a seed of zero does not.
    fn seeded(mut self, seed: u64) -> Self {
        if seed != 0 {
            self.0 = self.0.wrapping_add((seed >> 32) as u32);
            self.1 = self.1.wrapping_add(seed as u32);
            self.mix();
        }
        self
    }

    #[inline]
    fn mix(&mut self) {
        let Words(mut a, mut b, mut c) = *self;
        for (turn_a, turn_b, turn_c) in [(4, 6, 8), (16, 19, 4)] {
            a = a.wrapping_sub(c) ^ c.rotate_left(turn_a);
            c = c.wrapping_add(b);
            b = b.wrapping_sub(a) ^ a.rotate_left(turn_b);
            a = a.wrapping_add(c);
            c = c.wrapping_sub(b) ^ b.rotate_left(turn_c);
            b = b.wrapping_add(a);
        }
        *self = Words(a, b, c);
    }

    #[inline]
    fn last(self) -> u64 {
        let Words(mut a, mut b, mut c) = self;
        c = (c ^ b).wrapping_sub(b.rotate_left(14));
        a = (a ^ c).wrapping_sub(c.rotate_left(11));
        b = (b ^ a).wrapping_sub(a.rotate_left(25));
        c = (c ^ b).wrapping_sub(b.rotate_left(16));
        a = (a ^ c).wrapping_sub(c.rotate_left(4));
        b = (b ^ a).wrapping_sub(a.rotate_left(14));
        c = (c ^ b).wrapping_sub(b.rotate_left(24));
        (u64::from(b) << 32) | u64::from(c)
    }
}

/// Up to four bytes as a little-endian number.
fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| (word << 8) | u32::from(*byte))
}

/// Hash of some bytes: `hashtextextended(… collate "C", seed)` for text.
pub fn bytes(key: &[u8], seed: i64) -> i64 {
    let mut words = Words::start(key.len() as u32).seeded(seed as u64);
    let (blocks, rest) = key.as_chunks::<12>();
    for block in blocks {
        let [a, b, c] =
            [0, 4, 8].map(|at| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]));
        words = Words(words.0.wrapping_add(a), words.1.wrapping_add(b), words.2.wrapping_add(c));
        words.mix();
    }
    let (a, rest) = rest.split_at(rest.len().min(4));
    let (b, c) = rest.split_at(rest.len().min(4));
    // The lowest byte of the last word is the length's.
    words = Words(
        words.0.wrapping_add(word(a)),
        words.1.wrapping_add(word(b)),
        words.2.wrapping_add(word(c) << 8),
    );
    words.last() as i64
}

/// Hash of a 32-bit number: `hashint4extended(value, seed)`.
pub fn int4(value: i32, seed: i64) -> i64 {
    let words = Words::start(4).seeded(seed as u64);
    Words(words.0.wrapping_add(value as u32), words.1, words.2).last() as i64
}

/// Hash of a 64-bit number, folded to 32 bits: `hashint8extended(value, seed)`. 1 and 4294967296 give the same.
pub fn int8(value: i64, seed: i64) -> i64 {
    let (low, high) = (value as u32, (value >> 32) as u32);
    int4((low ^ if value >= 0 { high } else { !high }) as i32, seed)
}

/// Hash of a float: `hashfloat8extended(value, seed)`. Zero of either sign gives the seed.
pub fn float8(value: f64, seed: i64) -> i64 {
    if value == 0.0 { seed } else { bytes(&value.to_bits().to_le_bytes(), seed) }
}

/// Hash of an array with one element whose own hash is this: `hash_array_extended(array[…], seed)`.
pub fn one(element: i64) -> i64 {
    element.wrapping_add(31)
}

/// Asks a server for what [`probed`] gives.
pub const PROBE: &str = "select concat_ws(' ', hashtextextended('' collate \"C\", 7), hashtextextended('holdpoint \u{2713} and more' collate \"C\", -7), \
    hashint4extended(-5, 7), hashint8extended(-4294967295, 0), hashint8extended(1700000000000, 7), hashfloat8extended(0.1, 7), hashfloat8extended(0, 9), \
    uuid_hash_extended('00112233-4455-6677-8899-aabbccddeeff', 7), hash_array_extended(array['\\x00ff'::bytea], 7), \
    hash_array_extended(array['2020-02-29'::date], 7), timestamp_hash_extended('2000-01-01 00:00:01', 7))";

/// What [`PROBE`] must give for contents to be compared.
pub fn probed() -> String {
    let uuid: Vec<u8> = (0..16).map(|i| i * 0x11).collect();
    [
        bytes(b"", 7),
        bytes("holdpoint \u{2713} and more".as_bytes(), -7),
        int4(-5, 7),
        int8(-4_294_967_295, 0),
        int8(1_700_000_000_000, 7),
        float8(0.1, 7),
        float8(0.0, 9),
        bytes(&uuid, 7),
        one(bytes(&[0, 0xff], 7)),
        one(int4(7364, 7)),
        int8(1_000_000, 7),
    ]
    .map(|hash| hash.to_string())
    .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_what_servers_give() {
        // Read from PostgreSQL 15: the same in every major version since 11.
        assert_eq!(int8(42, 7), 3_069_212_791_777_980_624);
        assert_eq!(int4(-5, 7), -1_153_735_631_166_043_584);
        assert_eq!(int4(3, 7), -2_688_544_301_605_215_345);
        assert_eq!(bytes("holdpoint \u{2713}".as_bytes(), 7), 2_889_648_945_258_520_220);
        assert_eq!(float8(0.1, 7), 5_633_642_110_734_346_436);
        assert_eq!(one(bytes(&[0, 0xff], 7)), 8_413_202_912_854_121_072);
    }

    #[test]
    fn every_length_and_byte_counts() {
        let key: Vec<u8> = (1..=40).collect();
        let mut seen: Vec<i64> = (0..=40).map(|len| bytes(&key[..len], 1)).collect();
        for at in 0..40 {
            let mut other = key.clone();
            other[at] ^= 0x80;
            seen.push(bytes(&other, 1));
        }
        let all = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), all);
    }
}
