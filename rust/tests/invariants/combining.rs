//! Combining frames, from memory and from files.

use crate::prelude::*;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_combined_pixel_is_what_sorting_says(frames in frames()) {
        for method in METHODS {
            let found = combine(views(&frames).as_slice(), method).unwrap();
            assert_image(&found, 0.0, |y, x| {
                f64::from(combined_pixel(frames.iter().map(|frame| frame[[y, x]]), method) as f32)
            });
        }
    }

    #[test]
    fn the_order_of_frames_does_not_matter_to_the_median(
        (frames, shuffled) in frames().prop_flat_map(|f| (Just(f.clone()), Just(f).prop_shuffle()))
    ) {
        let found = combine(views(&frames).as_slice(), Method::Median).unwrap();
        let again = combine(views(&shuffled).as_slice(), Method::Median).unwrap();
        assert_image(&again, 0.0, |y, x| f64::from(found[[y, x]]));
    }

    #[test]
    fn equal_frames_combine_to_themselves(frame in image(1..=3, 1..=40), count in 1..=50usize) {
        for method in [Method::Median, METHODS[2]] {
            let found = combine(vec![frame.view(); count].as_slice(), method).unwrap();
            assert_image(&found, 1.0e-7, |y, x| {
                f64::from(if frame[[y, x]].is_finite() { frame[[y, x]] } else { f32::NAN })
            });
        }
    }

    #[test]
    fn files_combine_like_the_same_pixels_in_memory(stored in stored()) {
        let scratch = Scratch::new();
        let files: Vec<PixelFile> = stored.frames.iter().map(|raw| scratch.write(&stored.layout, raw)).collect();
        let frames: Vec<Array2<f32>> = stored.frames.iter().map(|raw| physical(&stored.layout, raw)).collect();
        for method in METHODS {
            let found = combine(files.as_slice(), method).unwrap();
            prop_assert_eq!(bits(&found), bits(&combine(views(&frames).as_slice(), method).unwrap()));
        }
        let (rows, columns) = stored.layout.shape;
        for first in 0..rows {
            let mut rest = Array2::zeros((rows - first, columns));
            files[0].read_rows(first, rest.as_slice_mut().unwrap()).unwrap();
            assert_image(&rest, 0.0, |y, x| f64::from(frames[0][[first + y, x]]));
        }
    }
}

/// Frames as they lie in files: the big-endian bytes of every pixel.
#[derive(Debug)]
struct Stored {
    layout: PixelLayout,
    frames: Vec<Vec<u64>>,
}

fn stored() -> impl Strategy<Value = Stored> {
    let scaling = select(vec![(1.0, 0.0), (1.0, 32768.0), (0.5, -3.0), (-2.0e-3, 1.0e4)]);
    let bitpix = select(vec![8, 16, 32, 64, -32, -64]);
    (1..=5usize, (1..=4usize, 1..=20usize), 0..6000u64, bitpix, scaling, any::<bool>()).prop_flat_map(
        |(count, shape, offset, bitpix, (bscale, bzero), blanked)| {
            vec(vec(any::<u64>(), shape.0 * shape.1), count).prop_map(move |frames| {
                let mut layout = PixelLayout { offset, shape, bitpix, bscale, bzero, blank: None };
                // The first pixel's own value stands for no value.
                layout.blank = (blanked && bitpix > 0).then(|| integer(bitpix, frames[0][0]));
                Stored { layout, frames }
            })
        },
    )
}

fn integer(bitpix: i32, raw: u64) -> i64 {
    match bitpix {
        8 => i64::from(raw as u8),
        16 => i64::from(raw as i16),
        32 => i64::from(raw as i32),
        _ => raw as i64,
    }
}

fn physical(layout: &PixelLayout, raw: &[u64]) -> Array2<f32> {
    let value = |&raw: &u64| {
        let value = match layout.bitpix {
            -32 => f64::from(f32::from_bits(raw as u32)),
            -64 => f64::from_bits(raw),
            bitpix if layout.blank == Some(integer(bitpix, raw)) => f64::NAN,
            bitpix => integer(bitpix, raw) as f64,
        };
        (layout.bzero + layout.bscale * value) as f32
    };
    Array2::from_shape_vec(layout.shape, raw.iter().map(value).collect()).unwrap()
}

/// A folder that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("flatcore-invariants-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, layout: &PixelLayout, raw: &[u64]) -> PixelFile {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let width = layout.bitpix.unsigned_abs() as usize / 8;
        let mut bytes = vec![b' '; layout.offset as usize];
        bytes.extend(raw.iter().flat_map(|value| value.to_be_bytes()[8 - width..].to_vec()));
        let path = self.0.join(format!("{}.fits", COUNT.fetch_add(1, Ordering::Relaxed)));
        std::fs::write(&path, bytes).unwrap();
        PixelFile::open(&path, layout.clone()).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn bands_of_rows_make_one_image() {
    let scratch = Scratch::new();
    let shape = (90, 512);
    let layout = PixelLayout { offset: 2880, shape, bitpix: -32, bscale: 1.0, bzero: 0.0, blank: None };
    let frames: Vec<Array2<f32>> = (0..8).map(|seed| rough(shape.0, shape.1, seed)).collect();
    let raw = |frame: &Array2<f32>| frame.iter().map(|v| u64::from(v.to_bits())).collect::<Vec<_>>();
    let files: Vec<PixelFile> = frames.iter().map(|frame| scratch.write(&layout, &raw(frame))).collect();
    let found = combine(views(&frames).as_slice(), Method::Mean).unwrap();
    assert_image(&found, 0.0, |y, x| {
        f64::from(combined_pixel(frames.iter().map(|frame| frame[[y, x]]), Method::Mean) as f32)
    });
    assert_eq!(bits(&combine(files.as_slice(), Method::Mean).unwrap()), bits(&found));
}

#[test]
fn an_image_too_large_for_its_file_is_refused() {
    let scratch = Scratch::new();
    let layout = PixelLayout { offset: 0, shape: (1, 1), bitpix: 64, bscale: 1.0, bzero: 0.0, blank: None };
    drop(scratch.write(&layout, &[0]));
    let path = std::fs::read_dir(&scratch.0).unwrap().next().unwrap().unwrap().path();
    for shape in [(2, 1), (1 << 40, 1 << 40), (usize::MAX, 8), (8, usize::MAX)] {
        assert!(PixelFile::open(&path, PixelLayout { shape, ..layout.clone() }).is_err(), "{shape:?}");
    }
}
