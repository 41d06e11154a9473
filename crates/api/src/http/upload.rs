//! Bodies that are read while they arrive, such as image archives.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures::stream::MapErr;
use futures::{StreamExt, TryStreamExt};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::StreamReader;

use crate::engine_backend::BodyReader;

/// A client may go on sending so long after its answer is known.
const DRAIN_MAX: Duration = Duration::from_secs(30);

type Chunks = MapErr<BodyDataStream, fn(axum::Error) -> io::Error>;

/// Reads a body as it arrives. What its reader leaves (the padding of an archive, all that follows an error) is taken
/// and dropped: closing the connection on a client that still sends would lose it the answer.
pub(crate) fn reader(body: Body) -> BodyReader {
    let chunks: Chunks = body.into_data_stream().map_err(io::Error::other);
    Box::pin(Upload { body: Some(StreamReader::new(chunks)) })
}

struct Upload {
    /// None only while it is dropped.
    body: Option<StreamReader<Chunks, Bytes>>,
}

impl AsyncRead for Upload {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_read(context, buffer),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        // Outside of a runtime nobody would drive the connection either.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let mut rest = body.into_inner();
            let drained = async { while let Some(Ok(_)) = rest.next().await {} };
            // Whoever still sends then is cut off.
            let _ = tokio::time::timeout(DRAIN_MAX, drained).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn what_the_reader_leaves_is_taken() {
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = taken.clone();
        let chunks = futures::stream::iter(0..10).map(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok::<_, io::Error>(Bytes::from_static(b"12345"))
        });
        let mut reader = reader(Body::from_stream(chunks));
        let mut first = [0; 7];
        reader.read_exact(&mut first).await.expect("there is more");
        assert_eq!(&first, b"1234512");
        drop(reader);
        while taken.load(Ordering::Relaxed) < 10 {
            tokio::task::yield_now().await;
        }
    }
}
