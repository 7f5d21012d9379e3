//! FITS files: what is written reads back, and sums to all ones.

use crate::prelude::*;

const BLOCK: usize = 2880;

/// A header of so many cards, with empty checksums somewhere among them.
fn header(cards: usize) -> Vec<u8> {
    let mut text: Vec<String> = (0..cards).map(|i| format!("{:<80}", format!("KEY{i:<5}= {i:>20}"))).collect();
    for card in ["CHECKSUM= '0000000000000000'", "DATASUM = '0       '           / of the values"] {
        text.insert(text.len() / 2, format!("{card:<80}"));
    }
    text.push(format!("{:<80}", "END"));
    let text = text.concat();
    format!("{text:<size$}", size = text.len().next_multiple_of(BLOCK)).into_bytes()
}

/// Ones' complement sum, word by word.
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(4).fold(0, |sum: u32, word| {
        let (sum, carry) = sum.overflowing_add(u32::from_be_bytes(word.try_into().unwrap()));
        sum + u32::from(carry)
    })
}

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("flatcore-{}-{name}.fits", std::process::id()))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_hdu_sums_to_all_ones(
        bytes in vec(any::<u8>(), 0..6000),
        singles in vec(any::<f32>(), 0..3000),
        doubles in vec(any::<f64>(), 0..1500),
        cards in 1..90usize,
    ) {
        let (path, header) = (path("sums"), header(cards));
        let values = [Values::Bytes(&bytes), Values::Singles(&singles), Values::Doubles(&doubles)];
        write_fits(&path, &values.map(|values| Hdu { header: &header, values })).unwrap();
        let written = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut place = 0;
        for size in [bytes.len(), singles.len() * 4, doubles.len() * 8] {
            let end = place + header.len() + size.next_multiple_of(BLOCK);
            prop_assert_eq!(sum(&written[place..end]), u32::MAX);
            prop_assert!(written[end - (size.next_multiple_of(BLOCK) - size)..end].iter().all(|byte| *byte == 0));
            place = end;
        }
        prop_assert_eq!(place, written.len());
        prop_assert_eq!(values.map(Values::sum)[0], sum(&written[header.len()..][..bytes.len().next_multiple_of(BLOCK)]));
    }

    #[test]
    fn what_is_written_is_read_again(image in image(1..=9, 1..=900)) {
        let (path, header) = (path("again"), header(3));
        let values = Values::Singles(image.as_slice().unwrap());
        write_fits(&path, &[Hdu { header: &header, values }]).unwrap();
        let layout = PixelLayout {
            offset: header.len() as u64,
            shape: image.dim(),
            bitpix: -32,
            bscale: 1.0,
            bzero: 0.0,
            blank: None,
        };
        let mut read = vec![0.0f32; image.len()];
        PixelFile::open(&path, layout).unwrap().read_rows(0, &mut read).unwrap();
        std::fs::remove_file(&path).unwrap();
        prop_assert!(read.iter().zip(&image).all(|(found, expected)| found.to_bits() == expected.to_bits()));
    }
}
