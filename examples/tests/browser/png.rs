//! Pictures of a window: PNG of 8 bits a channel without interlace, as browsers write them.

use std::io::Read;

use flate2::read::ZlibDecoder;

pub(crate) fn from_base64(text: &str) -> Vec<u8> {
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for c in text.bytes().filter(|c| *c != b'=') {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => panic!("{c} in base64"),
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    bytes
}

/// The pixels as red, green and blue, with the width.
pub(crate) fn pixels(png: &[u8]) -> (usize, Vec<[u8; 3]>) {
    let mut rest = png.strip_prefix(b"\x89PNG\r\n\x1a\n").unwrap();
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
    let (mut width, mut channels, mut packed) = (0, 0, Vec::new());
    while !rest.is_empty() {
        let (length, kind) = (number(rest), &rest[4..8]);
        let data = &rest[8..8 + length];
        match kind {
            b"IHDR" => {
                width = number(data);
                assert_eq!((data[8], data[12]), (8, 0), "bits a channel, interlace");
                channels = if data[9] == 6 { 4 } else { 3 };
            }
            b"IDAT" => packed.extend_from_slice(data),
            _ => {}
        }
        rest = &rest[12 + length..];
    }
    let mut lines = Vec::new();
    ZlibDecoder::new(&*packed).read_to_end(&mut lines).unwrap();
    let mut above = vec![0_u8; width * channels];
    let mut pixels = Vec::new();
    for line in lines.chunks(1 + width * channels) {
        let mut now = line[1..].to_vec();
        for i in 0..now.len() {
            let back = |line: &[u8]| i.checked_sub(channels).map_or(0, |i| line[i]);
            let (left, up, corner) = (back(&now), above[i], back(&above));
            let guess = match line[0] {
                0 => 0,
                1 => left,
                2 => up,
                3 => u16::midpoint(left.into(), up.into()) as u8,
                _ => paeth(left, up, corner),
            };
            now[i] = now[i].wrapping_add(guess);
        }
        pixels.extend(now.chunks(channels).map(|pixel| [pixel[0], pixel[1], pixel[2]]));
        above = now;
    }
    (width, pixels)
}

fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let guess = i16::from(left) + i16::from(up) - i16::from(corner);
    let far = |from: u8| (guess - i16::from(from)).abs();
    if far(left) <= far(up) && far(left) <= far(corner) {
        left
    } else if far(up) <= far(corner) {
        up
    } else {
        corner
    }
}
