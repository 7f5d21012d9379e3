//! Rows of big-endian FITS pixels from a file.

use crate::error::{KernelError, Result, contiguous_mut, require, same_shape};
use crate::simd::{Vectorised, widest};
use ndarray::{Array2, ArrayViewMut2};
use rayon::prelude::*;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Rows that are read at a time.
const BAND: usize = 32;

/// Where an image's pixels lie in a file and what they mean.
#[derive(Debug, Clone)]
pub struct PixelLayout {
    /// Byte at which the pixels begin.
    pub offset: u64,
    /// Rows and columns.
    pub shape: (usize, usize),
    /// FITS BITPIX: 8, 16, 32, 64, -32 or -64.
    pub bitpix: i32,
    /// FITS BSCALE.
    pub bscale: f64,
    /// FITS BZERO.
    pub bzero: f64,
    /// FITS BLANK: the integer that means no value.
    pub blank: Option<i64>,
}

/// An open file that yields the physical values of an image's rows.
#[derive(Debug)]
pub struct PixelFile {
    path: PathBuf,
    file: File,
    layout: PixelLayout,
}

impl PixelFile {
    /// Open a file and check that it holds the whole image.
    pub fn open(path: &Path, layout: PixelLayout) -> Result<Self> {
        let bitpix = layout.bitpix;
        require(
            matches!(bitpix, 8 | 16 | 32 | 64 | -32 | -64),
            "bitpix",
            f64::from(bitpix),
            "8, 16, 32, 64, -32 or -64",
        )?;
        let failed = |source| KernelError::Io { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?.len();
        let opened = Self { path: path.to_path_buf(), file, layout };
        // Sizes come from a header: one that overflows is larger than any file.
        let (rows, columns) = opened.layout.shape;
        let bytes = (rows as u64).saturating_mul(columns as u64).saturating_mul(u64::from(bitpix.unsigned_abs()) / 8);
        let needed = opened.layout.offset.saturating_add(bytes);
        if found < needed {
            return Err(KernelError::Truncated { path: opened.path, needed, found });
        }
        Ok(opened)
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        self.layout.shape
    }

    fn row_bytes(&self) -> usize {
        self.layout.shape.1 * (self.layout.bitpix.unsigned_abs() as usize / 8)
    }

    /// Physical values of the whole image, into one of the same shape.
    pub fn image_into(&self, mut image: ArrayViewMut2<'_, f32>) -> Result<()> {
        same_shape("image", &image.view(), self.shape())?;
        let columns = self.shape().1;
        let pixels = contiguous_mut("image", &mut image)?;
        let bands = pixels.par_chunks_mut((BAND * columns).max(1)).enumerate();
        bands.try_for_each(|(band, out)| self.read_rows(band * BAND, out))
    }

    /// Physical values of some rows, in the order asked for.
    pub fn sample(&self, rows: &[usize]) -> Result<Array2<f32>> {
        let columns = self.shape().1;
        let mut sample = Array2::zeros((rows.len(), columns));
        if let Some(pixels) = sample.as_slice_mut() {
            for (&row, out) in rows.iter().zip(pixels.chunks_mut(columns.max(1))) {
                self.read_rows(row, out)?;
            }
        }
        Ok(sample)
    }

    /// 1 where the image's physical value is not 0 (NaN included), 0 where it is.
    pub fn mask(&self) -> Result<Array2<u8>> {
        let (rows, columns) = self.shape();
        let mut mask = Array2::zeros((rows, columns));
        if let Some(pixels) = mask.as_slice_mut() {
            pixels.par_chunks_mut((BAND * columns).max(1)).enumerate().try_for_each_init(
                || vec![0.0; BAND * columns],
                |values, (band, out)| {
                    let values = &mut values[..out.len()];
                    self.read_rows(band * BAND, values)?;
                    for (out, &value) in out.iter_mut().zip(values.iter()) {
                        *out = u8::from(value != 0.0);
                    }
                    Ok::<_, KernelError>(())
                },
            )?;
        }
        Ok(mask)
    }

    /// Physical values of consecutive rows; `out` holds a whole number of rows.
    ///
    /// Rows are read, not mapped: for pieces that stay in a core's cache the copy costs less than the page tables, and
    /// resident memory does not grow with the image or the number of files.
    pub fn read_rows(&self, first: usize, out: &mut [f32]) -> Result<()> {
        let columns = self.layout.shape.1;
        let count = out.len().checked_div(columns).unwrap_or(0);
        require(
            count * columns == out.len() && first + count <= self.layout.shape.0,
            "first row",
            first as f64,
            "such that the rows lie within the image",
        )?;
        let start = self.layout.offset + (first * self.row_bytes()) as u64;
        let failed = |source| KernelError::Io { path: self.path.clone(), source };
        if self.layout.bitpix == -32 {
            read_exact_at(&self.file, bytemuck::cast_slice_mut(out), start).map_err(failed)?;
            widest(SwapFloats(out));
            if !self.layout.is_plain() {
                out.iter_mut().for_each(|v| *v = self.layout.physical(f64::from(*v)));
            }
        } else {
            let mut bytes = vec![0; count * self.row_bytes()];
            read_exact_at(&self.file, &mut bytes, start).map_err(failed)?;
            widest(Decode { layout: &self.layout, bytes: &bytes, out });
        }
        Ok(())
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, out: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut out: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !out.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_read(file, out, offset)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        out = &mut out[count..];
        offset += count as u64;
    }
    Ok(())
}

/// Floats whose bytes came from a file, to the machine's order in place.
struct SwapFloats<'a>(&'a mut [f32]);

impl Vectorised for SwapFloats<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for value in self.0 {
            *value = f32::from_bits(u32::from_be(value.to_bits()));
        }
    }
}

/// Pixels of any other kind to physical values.
struct Decode<'a> {
    layout: &'a PixelLayout,
    bytes: &'a [u8],
    out: &'a mut [f32],
}

impl Vectorised for Decode<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { layout, bytes, out } = self;
        match layout.bitpix {
            8 => layout.integers::<1>(bytes, out, |b| i64::from(b[0])),
            16 => layout.integers::<2>(bytes, out, |b| i64::from(i16::from_be_bytes(b))),
            32 => layout.integers::<4>(bytes, out, |b| i64::from(i32::from_be_bytes(b))),
            64 => layout.integers::<8>(bytes, out, i64::from_be_bytes),
            _ => {
                let (pixels, _) = bytes.as_chunks::<8>();
                for (pixel, out) in pixels.iter().zip(out) {
                    let raw = f64::from_be_bytes(*pixel);
                    *out = if layout.is_plain() { raw as f32 } else { layout.physical(raw) };
                }
            }
        }
    }
}

impl PixelLayout {
    fn is_plain(&self) -> bool {
        self.bscale == 1.0 && self.bzero == 0.0
    }

    #[inline(always)]
    fn integers<const W: usize>(&self, bytes: &[u8], out: &mut [f32], value: impl Fn([u8; W]) -> i64) {
        let (pixels, _) = bytes.as_chunks::<W>();
        if let Some(blank) = self.blank {
            for (pixel, out) in pixels.iter().zip(out) {
                let raw = value(*pixel);
                *out = if raw == blank { f32::NAN } else { self.physical(raw as f64) };
            }
        } else {
            for (pixel, out) in pixels.iter().zip(out) {
                *out = self.physical(value(*pixel) as f64);
            }
        }
    }

    #[inline(always)]
    fn physical(&self, raw: f64) -> f32 {
        (self.bzero + self.bscale * raw) as f32
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write;

    fn layout(bitpix: i32, shape: (usize, usize)) -> PixelLayout {
        PixelLayout { offset: 3, shape, bitpix, bscale: 1.0, bzero: 0.0, blank: None }
    }

    fn written(name: &str, bytes: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("flatcore-{}-{name}", std::process::id()));
        let mut file = File::create(&path).unwrap();
        file.write_all(b"abc").unwrap();
        file.write_all(bytes).unwrap();
        path
    }

    #[test]
    fn scaled_integers_with_blank() {
        let bytes: Vec<u8> = [-32768i16, 0, 7, 32767].iter().flat_map(|v| v.to_be_bytes()).collect();
        let path = written("int16", &bytes);
        let scaled = PixelLayout { bscale: 10.0, bzero: 327680.0, blank: Some(7), ..layout(16, (2, 2)) };
        let mut out = [0.0f32; 4];
        PixelFile::open(&path, scaled).unwrap().read_rows(0, &mut out).unwrap();
        assert_eq!(out[..2], [0.0, 327680.0]);
        assert!(out[2].is_nan());
        assert_eq!(out[3], 655350.0);
    }

    #[test]
    fn doubles_from_a_later_row() {
        let bytes: Vec<u8> = [1.5f64, 2.5, f64::NAN, -4.0].iter().flat_map(|v| v.to_be_bytes()).collect();
        let path = written("double", &bytes);
        let mut out = [0.0f32; 2];
        PixelFile::open(&path, layout(-64, (2, 2))).unwrap().read_rows(1, &mut out).unwrap();
        assert!(out[0].is_nan());
        assert_eq!(out[1], -4.0);
    }

    #[test]
    fn truncated_file_is_refused() {
        let path = written("short", &[0; 15]);
        let error = PixelFile::open(&path, layout(32, (2, 2))).unwrap_err();
        assert!(matches!(error, KernelError::Truncated { needed: 19, found: 18, .. }));
    }

    #[test]
    fn unknown_bitpix_and_rows_outside_are_refused() {
        let path = written("tiny", &[0; 4]);
        assert!(PixelFile::open(&path, layout(12, (1, 1))).is_err());
        let file = PixelFile::open(&path, layout(8, (2, 2))).unwrap();
        assert!(file.read_rows(1, &mut [0.0; 4]).is_err());
    }
}
