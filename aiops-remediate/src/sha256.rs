//! SHA-256 and HMAC over it, of texts in parts.

use sha2::{Digest, Sha256};

/// Bytes of a digest.
pub(crate) const DIGEST: usize = 32;

/// The digest of the parts, one after the other.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; DIGEST] {
    let mut digest = Sha256::new();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize().into()
}

/// HMAC-SHA256 of the parts, one after the other.
#[cfg(any(feature = "client", feature = "server"))]
pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; DIGEST] {
    use hmac::{Hmac, KeyInit, Mac};

    // A key of exactly one block cannot be refused: RFC 2104 hashes a longer one and fills up a shorter one.
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    if key.len() > block.len() {
        block[..DIGEST].copy_from_slice(&sha256(&[key]));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let mut mac = Hmac::<Sha256>::new(&block);
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing into a string does not fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &[u8]) -> String {
        hex(&sha256(&[text]))
    }

    /// The examples that NIST publishes for FIPS 180-4.
    #[test]
    fn the_published_examples() {
        for (text, digest) in [
            (&b""[..], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
            (
                b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
                "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1",
            ),
        ] {
            assert_eq!(of(text), digest);
        }
        assert_eq!(of(&vec![b'a'; 1_000_000]), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }

    /// `for n in 0..=200: total.update(sha256(bytes(range(n))).digest())` of Python's hashlib.
    #[test]
    fn every_length_around_the_block() {
        let bytes: Vec<u8> = (0..=200).collect();
        let digests: Vec<u8> = (0..=200).flat_map(|n| sha256(&[&bytes[..n]])).collect();
        assert_eq!(of(&digests), "64ef7c229fce2408b5336b6a542fea0e078c3a87d2da85cb3fc52e2008b65021");
    }

    /// Test cases 1, 2, 3 and 6 of RFC 4231.
    #[cfg(any(feature = "client", feature = "server"))]
    #[test]
    fn the_published_macs() {
        let long = [0xaa; 131];
        for (key, text, mac) in [
            (&[0x0b; 20][..], &b"Hi There"[..], "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            (
                &long,
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hex(&hmac(key, &[text])), mac);
        }
        assert_eq!(
            hmac(b"Jefe", &[b"what do ya ", b"want for nothing?"]),
            hmac(b"Jefe", &[b"what do ya want for nothing?"])
        );
    }

    #[test]
    fn where_the_parts_are_cut_does_not_matter() {
        let bytes: Vec<u8> = (0..=255).collect();
        let whole = sha256(&[&bytes]);
        for cut in 0..bytes.len() {
            let (one, two) = bytes.split_at(cut);
            assert_eq!(sha256(&[one, &[], two]), whole);
        }
    }
}
