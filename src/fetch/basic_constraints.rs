//! Whether a certificate is an authority's, out of its DER: the openssl crate does not tell.

/// Tags of X.690 that lead to the extension (RFC 5280, 4.1).
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const EXTENSIONS: u8 = 0xa3;

/// id-ce-basicConstraints, 2.5.29.19 (RFC 5280, 4.2.1.9).
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];

/// Whether the certificate's basicConstraints have `cA TRUE`; false where there are none.
pub fn say_authority(certificate: &[u8]) -> bool {
    is_authority(certificate).unwrap_or(false)
}

fn is_authority(certificate: &[u8]) -> Option<bool> {
    let to_be_signed = Elements(Elements(certificate).tagged(SEQUENCE)?).tagged(SEQUENCE)?;
    let extensions = Elements(to_be_signed).tagged(EXTENSIONS)?;
    let extensions = Elements(Elements(extensions).tagged(SEQUENCE)?);
    for (_, extension) in extensions {
        if Elements(extension).tagged(OBJECT_IDENTIFIER)? == BASIC_CONSTRAINTS {
            let value = Elements(Elements(extension).tagged(OCTET_STRING)?).tagged(SEQUENCE)?;
            return Some(Elements(value).tagged(BOOLEAN)? != [0]);
        }
    }
    None
}

/// The elements of DER one after the other, each as its tag and contents. It ends at a fault.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The contents of the first one with this tag.
    fn tagged(mut self, tag: u8) -> Option<&'a [u8]> {
        self.find(|(found, _)| *found == tag).map(|(_, contents)| contents)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (tag, rest) = self.0.split_first()?;
        let (length, rest) = rest.split_first()?;
        let (length, rest) = match length {
            0..0x80 => (usize::from(*length), rest),
            // The lower bits count the bytes of the length.
            _ => {
                let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
                let add =
                    |sum: usize, byte: &u8| sum.checked_mul(256)?.checked_add(usize::from(*byte));
                (bytes.iter().try_fold(0, add)?, rest)
            }
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, contents))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_no_authority_and_harms_nobody() {
        for bytes in [&[][..], &[0x30], &[0x30, 0x80], &[0x30, 0xff, 1], &[0x30, 0x82, 0xff, 0xff]]
        {
            assert!(!say_authority(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn takes_lengths_of_any_size() {
        let long = [&[0x04, 0x81, 0x80][..], &[7; 0x80], &[0x01, 0x01, 0xff]].concat();
        let found: Vec<_> = Elements(&long).collect();
        assert_eq!(found, [(OCTET_STRING, &[7; 0x80][..]), (BOOLEAN, &[0xff])]);
    }
}
