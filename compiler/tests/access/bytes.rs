//! Bytes that no agent would send, from one who is known and from one who is not: refused, and nobody else's concern.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use flock_shared::token::BearerToken;
use http::uri::PathAndQuery;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::cluster::{Cluster, PATIENCE};
use super::compiler::{Compiler, tls};
use super::stream;

/// Messages as they are.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// How a stream ends that begins with these messages.
async fn ends(channel: Channel, token: &BearerToken, messages: Vec<Bytes>) -> Code {
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let mut request =
        Request::new(tokio_stream::StreamExt::chain(tokio_stream::iter(messages), tokio_stream::pending()));
    request.metadata_mut().insert("authorization", token.authorization());
    let path = PathAndQuery::from_static("/flock.netpol.v1.NodeService/Subscribe");
    let ended = timeout(PATIENCE, async {
        let mut updates = client.streaming(request, path, Raw).await?.into_inner();
        while updates.message().await?.is_some() {}
        Ok::<_, Status>(())
    });
    ended.await.expect("it ends").map_or_else(|status| status.code(), |()| Code::Ok)
}

#[tokio::test]
async fn messages_that_are_none_end_their_stream_only() {
    let cluster = Cluster::start().await;
    let compiler = Compiler::start(&cluster).await;
    let token = cluster.token("n1");
    let mut agent = stream::open(compiler.dial(&cluster).await, Some(&token), "n1").await.unwrap();
    agent.take().await.unwrap();
    let hello = |node: &[u8]| {
        let mut message = BytesMut::new();
        message.put_slice(&[0x0a, node.len() as u8 + 2, 0x0a, node.len() as u8]);
        message.put_slice(node);
        message.freeze()
    };
    let cases = [
        ("no protocol buffer", vec![Bytes::from_static(&[0xff; 32])], Code::Internal),
        (
            "a length beyond its end",
            vec![Bytes::from_static(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f])],
            Code::Internal,
        ),
        ("nothing in it", vec![Bytes::new()], Code::InvalidArgument),
        ("a name that is none", vec![hello(b"N 1\n")], Code::InvalidArgument),
        ("no UTF-8", vec![hello(&[0xff, 0xfe])], Code::Internal),
        ("an ack first", vec![Bytes::from_static(&[0x12, 0x00])], Code::InvalidArgument),
        ("two hellos", vec![hello(b"n1"), hello(b"n1")], Code::InvalidArgument),
        ("larger than any message", vec![Bytes::from(vec![0; 161 * 1024])], Code::OutOfRange),
        ("much larger", vec![Bytes::from(vec![0; 64 * 1024 * 1024])], Code::OutOfRange),
    ];
    for (case, messages, code) in cases {
        assert_eq!(ends(compiler.dial(&cluster).await, &token, messages).await, code, "{case}");
        cluster.change();
        agent.take().await.unwrap_or_else(|status| panic!("{case}: {status:?}"));
    }
}

#[tokio::test]
async fn bytes_that_are_no_http_end_their_connection_only() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    let cluster = Cluster::start().await;
    let compiler = Compiler::start(&cluster).await;
    let token = cluster.token("n1");
    let mut agent = stream::open(compiler.dial(&cluster).await, Some(&token), "n1").await.unwrap();
    agent.take().await.unwrap();
    let large = [PREFACE, SETTINGS, &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1], &[0; 4096]].concat();
    // Data on a stream that was never opened, then a header that refers to nothing.
    let lost = [PREFACE, SETTINGS, &[0, 0, 1, 0, 0, 0, 0, 0, 1, 0]].concat();
    let header = [PREFACE, SETTINGS, &[0, 0, 1, 1, 5, 0, 0, 0, 1, 0xff]].concat();
    for (case, bytes) in [
        ("noise", vec![0xa5; 4096]),
        ("HTTP/1.1", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        ("a frame larger than was agreed", large),
        ("a stream that is not open", lost),
        ("a header that refers to nothing", header),
    ] {
        let mut stream = tls(compiler.address, &cluster, &[b"h2"]).await;
        stream.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        // An end without a farewell is one too.
        drop(timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap_or_else(|_| panic!("{case}")));
        cluster.change();
        agent.take().await.unwrap_or_else(|status| panic!("{case}: {status:?}"));
    }
}
