//! The wire form of SSH: lengths of four bytes, big-endian, and what they announce (RFC 4251, section 5).

/// Reads parts one after the other; nothing is copied.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// A length, and so many bytes.
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(usize::try_from(length).ok()?)
    }

    /// A positive whole number, without the zero in front that keeps it positive.
    pub(super) fn integer(&mut self) -> Option<&'a [u8]> {
        let bytes = self.bytes()?;
        let positive = bytes.first().is_none_or(|first| first & 0x80 == 0);
        positive.then(|| &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..])
    }

    pub(super) fn done(&self) -> bool {
        self.0.is_empty()
    }
}

/// Appends a length and the bytes.
pub(super) fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend(length.to_be_bytes());
    out.extend(bytes);
}
