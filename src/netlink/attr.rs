//! Netlink attributes over byte slices: reading that never panics, writing without pointers.

/// `NLA_TYPE_MASK`: what is left of a type without the flags "nested" and "network byte order".
const TYPE_MASK: u16 = 0x3fff;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
/// `NLA_HDRLEN`.
pub(super) const HEADER: usize = 4;

/// One attribute.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attr<'a> {
    /// Its type without flags.
    pub(super) kind: u16,
    /// Where its header starts, counted from the start of the slice that was walked.
    pub(super) offset: usize,
    /// What follows its header, padding excluded.
    pub(super) payload: &'a [u8],
}

/// A walk over attributes; ends at the first that is cut short.
#[derive(Debug, Clone)]
pub(super) struct Attrs<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Attrs<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Whether every byte belonged to an attribute, once the walk is over.
    fn is_complete(&self) -> bool {
        self.position >= self.bytes.len()
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = Attr<'a>;

    fn next(&mut self) -> Option<Attr<'a>> {
        let rest = self.bytes.get(self.position..)?;
        let header = rest.get(..HEADER)?;
        let len = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & TYPE_MASK;
        let payload = rest.get(HEADER..len)?;
        let offset = self.position;
        self.position += len.next_multiple_of(4);
        Some(Attr { kind, offset, payload })
    }
}

/// The payload of the first attribute of that type.
pub(super) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    Attrs::new(bytes).find(|attr| attr.kind == kind).map(|attr| attr.payload)
}

/// The payloads of exactly these attributes: `None` when there is any other, one twice, or a rest that
/// is no attribute. Whoever uses the result has thereby looked at everything that was said.
pub(super) fn only<const N: usize>(bytes: &[u8], kinds: [u16; N]) -> Option<[Option<&[u8]>; N]> {
    let mut found = [None; N];
    let mut attrs = Attrs::new(bytes);
    for attr in &mut attrs {
        let slot = &mut found[kinds.iter().position(|kind| *kind == attr.kind)?];
        if slot.replace(attr.payload).is_some() {
            return None;
        }
    }
    attrs.is_complete().then_some(found)
}

/// Text up to its first NUL; bytes that are not UTF-8 are replaced.
pub(super) fn text(payload: &[u8]) -> String {
    let end = payload.iter().position(|byte| *byte == 0).unwrap_or(payload.len());
    String::from_utf8_lossy(&payload[..end]).into_owned()
}

/// Text that ends in its only NUL and is UTF-8: what survives being written back.
pub(super) fn exact_text(payload: &[u8]) -> Option<&str> {
    let (last, text) = payload.split_last()?;
    (*last == 0 && !text.contains(&0)).then(|| std::str::from_utf8(text).ok())?
}

/// Attributes being written, after a header or not.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    overflow: bool,
}

impl Writer {
    /// Goes on behind what is there, which ends on a multiple of 4.
    pub(super) fn behind(bytes: Vec<u8>) -> Self {
        Self { bytes, overflow: false }
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes back what was appended since there were so many bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// Appends one attribute.
    pub(super) fn put(&mut self, kind: u16, payload: &[u8]) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(payload);
        self.close(start);
    }

    /// Appends text with its NUL.
    pub(super) fn put_str(&mut self, kind: u16, text: &str) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        self.close(start);
    }

    /// Appends an attribute that holds attributes.
    pub(super) fn nest(&mut self, kind: u16, inner: impl FnOnce(&mut Self)) {
        let start = self.open(kind | NESTED);
        inner(self);
        self.close(start);
    }

    /// Appends attributes that are already written.
    pub(super) fn raw(&mut self, attributes: &[u8]) {
        self.bytes.extend_from_slice(attributes);
    }

    /// What was written; `None` when an attribute grew beyond the 65,535 bytes that its length can say.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        (!self.overflow).then_some(self.bytes)
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        match u16::try_from(self.bytes.len() - start) {
            Ok(len) => self.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes()),
            Err(_) => self.overflow = true,
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_attributes_read_back() {
        let mut writer = Writer::default();
        writer.put_str(1, "isoplan");
        writer.nest(2, |inner| {
            inner.put(3, &[1, 2, 3]);
            inner.put(4, &[]);
        });
        let bytes = writer.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let [name, nest] = only(&bytes, [1, 2]).unwrap();
        assert_eq!(exact_text(name.unwrap()), Some("isoplan"));
        assert_eq!(only(nest.unwrap(), [3, 4]).unwrap(), [Some(&[1, 2, 3][..]), Some(&[][..])]);
        assert_eq!(Attrs::new(&bytes).map(|attr| attr.offset).collect::<Vec<_>>(), [0, 12]);
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        let mut writer = Writer::default();
        writer.put(1, &[0]);
        writer.put(9, &[0]);
        let bytes = writer.finish().unwrap();
        assert!(only(&bytes, [1]).is_none());
        assert!(only(&bytes[..bytes.len() - 5], [1, 9]).is_none(), "a rest that is no attribute");
        assert!(only(&[bytes.as_slice(), &bytes].concat(), [1, 9]).is_none(), "one twice");
    }

    #[test]
    fn broken_lengths_end_the_walk() {
        for bytes in [&[][..], &[3, 0, 1, 0], &[0, 0, 0, 0], &[9, 0, 1, 0, 1], &[255, 255, 1, 0, 1, 2, 3, 4]]
        {
            assert_eq!(Attrs::new(bytes).count(), 0, "{bytes:?}");
        }
    }

    #[test]
    fn an_attribute_that_is_too_long_is_noticed() {
        let mut writer = Writer::default();
        writer.put(1, &vec![0; 65_536]);
        assert!(writer.finish().is_none());
    }
}
