//! How gRPC calls turn messages into bytes: as `tonic_prost` does, with buffers that fit what passes through them.
//!
//! A manager has several streams open with every node, and most of them rest: the usual 8 KiB for each would be the
//! largest part of what a node costs.

use std::marker::PhantomData;

use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, EncodeBuf, Encoder};
use tonic_prost::ProstDecoder;

/// Heartbeats, statuses of a task and most answers fit in; for others a buffer grows at once to what they need.
const BUFFER_BYTES: usize = 256;
/// Messages that are ready go out together up to so many bytes, as in `tonic`.
const TOGETHER_BYTES: usize = 32 * 1024;

/// The codec of all generated services.
#[derive(Debug)]
pub struct LeanCodec<T, U>(PhantomData<fn(T) -> U>);

impl<T, U> Default for LeanCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for LeanCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = LeanEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> LeanEncoder<T> {
        LeanEncoder(PhantomData)
    }

    fn decoder(&mut self) -> ProstDecoder<U> {
        ProstDecoder::new(settings())
    }
}

/// Encodes into a buffer of the message's length.
#[derive(Debug)]
pub struct LeanEncoder<T>(PhantomData<fn(T)>);

impl<T: Message> Encoder for LeanEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.reserve(item.encoded_len());
        item.encode_raw(buf);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        settings()
    }
}

fn settings() -> BufferSettings {
    BufferSettings::new(BUFFER_BYTES, TOGETHER_BYTES)
}
