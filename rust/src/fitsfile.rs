//! Whole FITS files: big-endian data, the checksums of the FITS standard, and the file's SHA-256 as its bytes pass.

use crate::error::{KernelError, Result};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// FITS files are made of blocks of this many bytes.
const BLOCK: usize = 2880;
/// Bytes of a header's card.
const CARD: usize = 80;
/// Bytes converted at a time: few enough to stay in a core's cache until they are written and hashed.
const PIECE: usize = 1 << 18;

/// The values of an HDU, in row-major order.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// Bytes as they are to be: images of BITPIX 8, and tables.
    Bytes(&'a [u8]),
    /// BITPIX 16.
    Shorts(&'a [i16]),
    /// BITPIX -32.
    Singles(&'a [f32]),
    /// BITPIX -64.
    Doubles(&'a [f64]),
}

/// A header as text in whole blocks, and its values.
///
/// Cards CHECKSUM and DATASUM of the header are filled in when the HDU is written.
#[derive(Debug, Clone, Copy)]
pub struct Hdu<'a> {
    /// The header.
    pub header: &'a [u8],
    /// The values; none for a header alone.
    pub values: Values<'a>,
}

/// Write a file of HDUs, see it to the disk, and give its SHA-256 in hex digits.
pub fn write_fits(path: &Path, hdus: &[Hdu<'_>]) -> Result<String> {
    let failed = |source| KernelError::Io { path: path.to_path_buf(), source };
    let mut target = Hashed { file: File::create(path).map_err(failed)?, hash: Sha256::new() };
    for hdu in hdus {
        target.hdu(hdu).map_err(failed)?;
    }
    target.file.sync_all().map_err(failed)?;
    Ok(target.hash.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// A file, and the hash of what was written to it.
struct Hashed {
    file: File,
    hash: Sha256,
}

impl Hashed {
    fn hdu(&mut self, hdu: &Hdu<'_>) -> std::io::Result<()> {
        let mut header = hdu.header.to_vec();
        fill_in_sums(&mut header, hdu.values.sum());
        self.bytes(&header)?;
        let size = match hdu.values {
            Values::Bytes(bytes) => bytes.chunks(PIECE).try_fold(0, |size, piece| self.bytes(piece).map(|n| size + n)),
            Values::Shorts(values) => self.numbers(values, |value| value.to_be_bytes()),
            Values::Singles(values) => self.numbers(values, |value| value.to_be_bytes()),
            Values::Doubles(values) => self.numbers(values, |value| value.to_be_bytes()),
        }?;
        self.bytes(&vec![0; size.next_multiple_of(BLOCK) - size])?;
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        Ok(bytes.len())
    }

    fn numbers<T: Copy, const W: usize>(
        &mut self,
        values: &[T],
        bytes: impl Fn(T) -> [u8; W],
    ) -> std::io::Result<usize> {
        let mut piece = vec![[0; W]; values.len().min(PIECE / W)];
        for values in values.chunks(PIECE / W) {
            let filled = &mut piece[..values.len()];
            for (out, value) in filled.iter_mut().zip(values) {
                *out = bytes(*value);
            }
            self.bytes(filled.as_flattened())?;
        }
        Ok(values.len() * W)
    }
}

impl Values<'_> {
    /// Ones' complement sum of the big-endian 32-bit words: DATASUM.
    pub fn sum(self) -> u32 {
        match self {
            Self::Bytes(bytes) => sum_of_bytes(bytes),
            Self::Shorts(values) => sum_of_shorts(values),
            Self::Singles(values) => folded(values.iter().map(|value| u64::from(value.to_bits())).sum()),
            Self::Doubles(values) => folded(values.iter().map(|value| words_of_double(value.to_bits())).sum()),
        }
    }
}

fn words_of_double(bits: u64) -> u64 {
    (bits >> 32) + (bits & 0xFFFF_FFFF)
}

/// Two values make a word; a last one alone is followed by zeros.
fn sum_of_shorts(values: &[i16]) -> u32 {
    let (words, rest) = values.as_chunks::<2>();
    let word = |high: i16, low: i16| (u64::from(high.cast_unsigned()) << 16) + u64::from(low.cast_unsigned());
    let last = rest.first().map_or(0, |&value| word(value, 0));
    folded(words.iter().map(|&[high, low]| word(high, low)).sum::<u64>() + last)
}

fn sum_of_bytes(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    let sum: u64 = words.iter().map(|word| u64::from(u32::from_be_bytes(*word))).sum();
    folded(sum + u64::from(u32::from_be_bytes(last)))
}

/// Carry what is beyond 32 bits round to the lowest one.
fn folded(mut sum: u64) -> u32 {
    // Plain 64-bit sums hold 2^32 words: sixteen gigabytes.
    while sum >> 32 != 0 {
        sum = words_of_double(sum);
    }
    sum as u32
}

/// Fill in DATASUM, then CHECKSUM such that the sum over header and data is all ones.
fn fill_in_sums(header: &mut [u8], data: u32) {
    fill_in(header, b"DATASUM ", &format!("{data:<8}"));
    fill_in(header, b"CHECKSUM", "0000000000000000");
    let whole = folded(u64::from(sum_of_bytes(header)) + u64::from(data));
    fill_in(header, b"CHECKSUM", &encoded(!whole));
}

/// Replace the text that is a card's value, if there is such a card.
fn fill_in(header: &mut [u8], keyword: &[u8; 8], text: &str) {
    if let Some(card) = header.chunks_exact_mut(CARD).find(|card| card.starts_with(keyword)) {
        let value = format!("{:<20}", format!("'{text}'"));
        card[10..30].copy_from_slice(&value.as_bytes()[..20]);
    }
}

/// The sixteen characters that stand for a sum, by appendix J of the FITS standard: letters and digits only.
fn encoded(sum: u32) -> String {
    let mut text = [b'0'; 16];
    for (i, byte) in sum.to_be_bytes().into_iter().enumerate() {
        let quarter = byte / 4 + b'0';
        let mut parts = [quarter + byte % 4, quarter, quarter, quarter];
        // Steps that leave the sum of two neighbours as it is lead out of the punctuation.
        while !parts.iter().all(u8::is_ascii_alphanumeric) {
            for pair in parts.chunks_exact_mut(2) {
                if !pair.iter().all(u8::is_ascii_alphanumeric) {
                    pair[0] += 1;
                    pair[1] -= 1;
                }
            }
        }
        for (j, part) in parts.into_iter().enumerate() {
            // In the header the text begins at the last byte of a word: it is turned by one.
            text[(4 * j + i + 1) % 16] = part;
        }
    }
    text.into_iter().map(char::from).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn header(cards: &[&str]) -> Vec<u8> {
        let text: String = cards.iter().chain(&["END"]).map(|card| format!("{card:<80}")).collect();
        let size = text.len().next_multiple_of(BLOCK);
        format!("{text:<size$}").into_bytes()
    }

    #[test]
    fn sums_carry_round() {
        assert_eq!(Values::Bytes(&[]).sum(), 0);
        assert_eq!(Values::Bytes(&[0xFF; 8]).sum(), 0xFFFF_FFFF);
        assert_eq!(Values::Bytes(&[0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 1]).sum(), 0x100);
        assert_eq!(Values::Shorts(&[-1, 1, 2]).sum(), 0x0001_0002);
        assert_eq!(Values::Singles(&[1.0, 1.0, -2.0, -2.0]).sum(), 0xFF00_0001);
        assert_eq!(Values::Doubles(&[1.0]).sum(), 0x3FF0_0000);
    }

    #[test]
    fn sums_are_written_in_letters_and_digits() {
        for sum in (0..=255).map(|byte| u32::from_be_bytes([byte; 4])) {
            let text = encoded(sum);
            assert!(text.bytes().all(|c| c.is_ascii_alphanumeric()), "{text}");
            // Turned back and without the zero of its digits, the text sums to what it stands for.
            let mut turned = text.into_bytes();
            turned.rotate_left(1);
            let zeros = u64::from(!sum_of_bytes(&[b'0'; 16]));
            assert_eq!(folded(u64::from(sum_of_bytes(&turned)) + zeros) % u32::MAX, sum % u32::MAX);
        }
    }

    #[test]
    fn header_and_data_sum_to_all_ones() {
        let empty = format!("{:<30}", "CHECKSUM= '0'");
        let mut text = header(&["BITPIX  =  -32", &empty, "DATASUM = '0       '           / of the data"]);
        let data = Values::Singles(&[1.5, f32::NAN, -0.0]).sum();
        fill_in_sums(&mut text, data);
        assert_eq!(folded(u64::from(sum_of_bytes(&text)) + u64::from(data)), u32::MAX);
        let card = String::from_utf8(text[160..240].to_vec()).unwrap();
        assert_eq!(card.trim_end(), format!("DATASUM = {:<20} / of the data", format!("'{data}'")));
    }

    #[test]
    fn a_file_is_big_endian_in_whole_blocks_and_its_hash_that_of_its_bytes() {
        let path = std::env::temp_dir().join(format!("flatcore-{}-whole.fits", std::process::id()));
        let numbers: Vec<f64> = (0..PIECE / 8 + 5).map(|i| i as f64).collect();
        let hdus = [
            Hdu { header: &header(&["first"]), values: Values::Bytes(&[]) },
            Hdu { header: &header(&["second"]), values: Values::Doubles(&numbers) },
            Hdu { header: &header(&["third"]), values: Values::Bytes(b"xyz") },
        ];
        let hash = write_fits(&path, &hdus).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let data = numbers.len() * 8;
        assert_eq!(bytes.len(), 2 * BLOCK + data.next_multiple_of(BLOCK) + 2 * BLOCK);
        assert_eq!(bytes[2 * BLOCK + data - 8..2 * BLOCK + data], (numbers.len() as f64 - 1.0).to_be_bytes());
        assert_eq!(bytes[bytes.len() - BLOCK..][..4], *b"xyz\0");
        let digits: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, digits);
    }

    #[test]
    fn a_file_that_cannot_be_made_is_named() {
        let error = write_fits(Path::new("/nowhere/a.fits"), &[]).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/a.fits: "));
    }
}
