//! Layer and archive compression: plain, gzip or zstd, told apart by their first bytes.
//!
//! Media types lie often enough (archives made by hand, `.tar.gz` named `.tar`) that only the content is believed, as
//! Docker does.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Zstandard's skippable frames begin with one of sixteen magic numbers (RFC 8878, 3.1.2).
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
const BZIP2: [u8; 3] = *b"BZh";
const XZ: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
const BUFFER: usize = 64 * 1024;

/// Wraps `source` so that it reads decompressed bytes.
pub(crate) fn decompress<'a>(
    source: impl Read + Send + 'a,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let (head, source) = peek::<6>(source)?;
    let source = BufReader::with_capacity(BUFFER, source);
    if head.starts_with(&GZIP) {
        return Ok(Box::new(MultiGzDecoder::new(source)));
    }
    if head.starts_with(&ZSTD) || is_skippable(&head) {
        return Ok(Box::new(ZstdFrames { source, decoder: FrameDecoder::new(), inside: false }));
    }
    if head.starts_with(&BZIP2) || head.starts_with(&XZ) {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "bzip2 and xz compression are not supported",
        ));
    }
    Ok(Box::new(source))
}

/// Reads up to `N` bytes ahead and returns them with a reader that still starts at the first.
fn peek<const N: usize>(mut source: impl Read) -> io::Result<(Vec<u8>, impl Read)> {
    let mut head = Vec::with_capacity(N);
    source.by_ref().take(N as u64).read_to_end(&mut head)?;
    Ok((head.clone(), io::Cursor::new(head).chain(source)))
}

fn is_skippable(head: &[u8]) -> bool {
    head.len() >= 4 && head[0] & 0xf0 == 0x50 && head[1..4] == ZSTD_SKIPPABLE
}

/// One zstd stream may be many frames (parallel compressors, seekable formats); the library decodes one at a time.
struct ZstdFrames<R: BufRead> {
    source: R,
    decoder: FrameDecoder,
    inside: bool,
}

impl<R: BufRead> ZstdFrames<R> {
    /// Starts the next frame; false at the end of the stream.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(&mut self.source.by_ref().take(u64::from(length)), &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.inside {
                self.inside = self.next_frame()?;
                if !self.inside {
                    return Ok(0);
                }
            }
            while self.decoder.can_collect() < buffer.len() && !self.decoder.is_finished() {
                let wanted = BlockDecodingStrategy::UptoBytes(buffer.len());
                self.decoder
                    .decode_blocks(&mut self.source, wanted)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.inside = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::Write;

    fn check(input: &[u8], expect: &[u8]) {
        let mut output = Vec::new();
        decompress(input).expect("recognized").read_to_end(&mut output).expect("decompressed");
        assert_eq!(output, expect);
    }

    #[test]
    fn every_format_is_told_by_its_content() {
        let text = b"some text, long enough to be compressed: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        check(text, text);
        check(b"", b"");
        check(b"x", b"x");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(text).expect("in memory");
        let member = gzip.finish().expect("in memory");
        check(&[member.clone(), member].concat(), &[text.as_slice(), text].concat());
        let frame = compress_to_vec(text.as_slice(), CompressionLevel::Fastest);
        let skip = [0x52, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        check(
            &[skip.as_slice(), &frame, &skip, &frame].concat(),
            &[text.as_slice(), text].concat(),
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert!(decompress(b"BZh91AY".as_slice()).is_err());
        let frame = compress_to_vec(b"text".as_slice(), CompressionLevel::Fastest);
        for broken in
            [&frame[..frame.len() - 2], [frame.as_slice(), b"garbage"].concat().as_slice()]
        {
            let mut output = Vec::new();
            assert!(decompress(broken).expect("recognized").read_to_end(&mut output).is_err());
        }
    }
}
