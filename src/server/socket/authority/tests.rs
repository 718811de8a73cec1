//! The layer against h2's own client and server, and a caller that encodes in every way that HPACK has.

mod encoder;

use bytes::Bytes;
use proptest::prelude::*;
use tokio::io::{AsyncWrite, DuplexStream};
use tonic::codegen::http::{HeaderMap, HeaderName, HeaderValue, Request, Response};

use super::*;
use crate::foreign_bytes::authority;
use crate::foreign_bytes::frames::{frames, outcome, rewritten};
use encoder::{Encoder, FORMS, Field, huffman, integer};

/// The head and payload of a frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// What a caller says after its preface and settings.
fn said(frames: &[Vec<u8>]) -> Vec<u8> {
    let hello = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
    ];
    [hello.concat(), frames.concat()].concat()
}

/// What h2 gets of these header blocks, each in one frame that ends it.
fn blocks(blocks: &[&[u8]]) -> Vec<Vec<u8>> {
    let frames_in: Vec<_> = blocks
        .iter()
        .map(|block| frame(HEADERS, END_HEADERS, 1, block))
        .collect();
    let said = said(&frames_in);
    let whole = rewritten(&said, said.len());
    frames(&whole[PREFACE + HEAD..])
        .map(|(_, payload)| payload.to_vec())
        .collect()
}

const LOCALHOST: &[u8] = b"\x01\x09localhost";
const NO_HPACK: &[u8] = &[0xff; 5];

fn concat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[test]
fn the_rfcs_requests_go_on_with_another_authority() {
    // RFC 7541, appendix C.3: without Huffman.
    let plain: [&[u8]; 3] = [
        b"\x82\x86\x84\x41\x0fwww.example.com",
        b"\x82\x86\x84\xbe\x58\x08no-cache",
        b"\x82\x87\x85\xbf\x40\x0acustom-key\x0ccustom-value",
    ];
    // Appendix C.4: the same with Huffman.
    let short: [&[u8]; 3] = [
        b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
        b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf",
        b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf",
    ];
    for requests in [plain, short] {
        let expected = [
            concat(&[b"\x82\x86\x84", LOCALHOST]),
            concat(&[b"\x82\x86\x84", LOCALHOST, &requests[1][4..]]),
            concat(&[b"\x82\x87\x85", LOCALHOST, &requests[2][4..]]),
        ];
        assert_eq!(blocks(&requests), expected);
    }
}

#[test]
fn an_authority_is_found_however_it_is_spelled() {
    let by_huffman = huffman(b":authority");
    let names: [&[u8]; 7] = [
        // By the static table: not indexed, never indexed, indexed.
        b"\x01",
        b"\x11",
        b"\x41",
        // As a name of its own.
        b"\x00\x0a:authority",
        b"\x10\x0a:authority",
        b"\x40\x0a:authority",
        &concat(&[b"\x40\x88", &by_huffman]),
    ];
    for name in names {
        let block = concat(&[b"\x82", name, b"\x13/var/run/azure.sock", b"\x86"]);
        let expected = concat(&[b"\x82", LOCALHOST, b"\x86"]);
        assert_eq!(blocks(&[&block[..]]), [expected], "{name:x?}");
    }
    // The whole field by its index, and by that of a dynamic entry, whose name serves for another value too, also
    // with an octet more than its index needs.
    assert_eq!(blocks(&[b"\x81"]), [LOCALHOST]);
    let indices: [&[u8]; 5] = [
        b"\x41\x00",
        b"\xbe",
        b"\x7e\x01x",
        b"\xbf",
        b"\x0f\xaf\x00\x01y",
    ];
    assert_eq!(blocks(&indices), [LOCALHOST; 5]);
    // Others whose names are as long.
    for block in [&b"\x00\x0auser-agent\x01x"[..], b"\x40\x0a:authoritx\x01x"] {
        assert_eq!(blocks(&[block]), [block]);
    }
}

#[test]
fn others_are_found_where_h2_has_them() {
    let requests: [&[u8]; 6] = [
        b"\x40\x01a\x01x\x41\x02/s\x40\x01b\x01y",
        // `b`, the authority, `a`.
        b"\xbe\xbf\xc0",
        b"\x0f\x31\x01z",
        // A smaller table has only `b` left, and is as large as before again.
        b"\x3f\x09\x3f\xe1\x1f\xbe",
        b"\xbf",
        b"\x3f\xe2\x1f\x82",
    ];
    let expected = [
        concat(&[b"\x40\x01a\x01x", LOCALHOST, b"\x40\x01b\x01y"]),
        concat(&[b"\xbe", LOCALHOST, b"\xbf"]),
        b"\x0f\x30\x01z".to_vec(),
        requests[3].to_vec(),
        NO_HPACK.to_vec(),
        // Larger than SETTINGS_HEADER_TABLE_SIZE.
        NO_HPACK.to_vec(),
    ];
    assert_eq!(blocks(&requests), expected);
}

/// Fails once h2 serves any authority: then all of this can go (docs/decisions/0023).
#[test]
fn h2_refuses_a_path_by_itself() {
    let block = b"\x83\x86\x84\x41\x07/x.sock";
    let said = said(&[frame(HEADERS, END_HEADERS | 1, 1, block)]);
    assert!(outcome(&said, false).has_refusal());
    assert!(!outcome(&said, true).has_refusal());
}

#[test]
fn what_is_no_hpack_is_none_for_h2() {
    for (block, expected) in [
        (&b"\x82\x80\x82"[..], concat(&[b"\x82", NO_HPACK])),
        (b"\xbe", NO_HPACK.to_vec()),
        (b"\x7e\x01x", NO_HPACK.to_vec()),
        (b"\x82\x3f\xe1\x1f", concat(&[b"\x82", NO_HPACK])),
        (b"\xff\x80\x80\x80\x80\x00", NO_HPACK.to_vec()),
        // The length of a value: what h2 has of the field is not to become a whole one.
        (
            b"\x04\x7f\xff\xff\xff\xff\x00",
            concat(&[b"\x04", NO_HPACK]),
        ),
        // An authority that breaks off, and one whose Huffman code is none.
        (b"\x41\x05/s", NO_HPACK.to_vec()),
        (b"\x41", NO_HPACK.to_vec()),
        (b"\x40\x0a:auth", NO_HPACK.to_vec()),
        (b"\x41\x81\x00", NO_HPACK.to_vec()),
        (b"\x00\x00\x01x", NO_HPACK.to_vec()),
        // Another field that breaks off does so for h2.
        (b"\x04\x05/s", b"\x04\x05/s".to_vec()),
    ] {
        assert_eq!(blocks(&[block]), [expected], "{block:x?}");
        authority(&concat(&[b"\x00", &frame(HEADERS, 5, 1, block)]));
    }
}

#[test]
fn a_frame_keeps_all_but_its_padding() {
    let priority = [0x80, 0, 0, 3, 7];
    let block = b"\x83\x86\x84\x41\x02/s";
    let padded = concat(&[&[4], &priority, block, &[0; 4]]);
    let expected = concat(&[&priority, b"\x83\x86\x84", LOCALHOST]);
    let said = said(&[
        frame(HEADERS, PADDED | PRIORITY | END_HEADERS, 1, &padded),
        frame(0, 1, 1, b"message"),
        // Flags that nobody knows, and a bit before the stream, stay.
        frame(HEADERS, 0xc0 | PADDED, 0x8000_0003, b"\x00"),
        frame(CONTINUATION, 0xf8, 3, b"\xbe"),
        frame(0x2a, 0xff, 3, b"?"),
    ]);
    let whole = rewritten(&said, 1);
    let expected = [
        said[..PREFACE + HEAD].to_vec(),
        frame(HEADERS, PRIORITY | END_HEADERS, 1, &expected),
        frame(0, 1, 1, b"message"),
        frame(HEADERS, 0xc0, 0x8000_0003, b""),
        frame(CONTINUATION, 0xf8, 3, LOCALHOST),
        frame(0x2a, 0xff, 3, b"?"),
    ];
    assert_eq!(whole, expected.concat());
}

#[test]
fn what_h2_refuses_unread_passes_as_it_came() {
    for frame in [
        frame(HEADERS, PADDED | END_HEADERS, 1, b""),
        frame(HEADERS, PADDED | END_HEADERS, 1, b"\x03\x81\x00"),
        frame(HEADERS, PRIORITY | END_HEADERS, 1, b"\x00\x00\x00\x03"),
        // A stream that depends on itself.
        frame(
            HEADERS,
            PRIORITY | END_HEADERS,
            1,
            b"\x80\x00\x00\x01\x07\x41\x02/s",
        ),
        frame(PUSH_PROMISE, END_HEADERS, 1, b"\x00\x00"),
        frame(HEADERS, END_HEADERS, 1, &vec![0x81; MAX_PAYLOAD + 1]),
        // Half a frame, and half a head.
        frame(HEADERS, END_HEADERS, 1, b"\x41\x02/s")[..11].to_vec(),
        b"\x00\x00\x04\x01".to_vec(),
        // Too large, as far as it has come.
        b"\x00\x40\x01".to_vec(),
    ] {
        let said = said(&[frame]);
        assert_eq!(rewritten(&said, said.len()), said);
        assert_eq!(outcome(&said, true), outcome(&said, false));
    }
}

#[test]
fn a_frame_that_no_longer_fits_becomes_two() {
    let mut block = b"\x81\x00\x01x".to_vec();
    integer(0, 7, MAX_PAYLOAD - block.len() - 3, &mut block);
    block.resize(MAX_PAYLOAD, b'v');
    for end in [END_HEADERS, 0] {
        let said = said(&[frame(HEADERS, end | 1, 1, &block)]);
        let whole = rewritten(&said, said.len());
        let longer = concat(&[LOCALHOST, &block[1..]]);
        let (first, second) = longer.split_at(MAX_PAYLOAD);
        let expected = concat(&[
            &said[..PREFACE + HEAD],
            &frame(HEADERS, 1, 1, first),
            &frame(CONTINUATION, end, 1, second),
        ]);
        assert_eq!(whole, expected);
    }
}

/// A call: its header block, and the block of its trailers.
#[derive(Clone, Debug)]
struct Call {
    blocks: Vec<Block>,
}

/// A header block, and how it is said.
#[derive(Clone, Debug)]
struct Block {
    sizes: Vec<usize>,
    fields: Vec<Field>,
    /// In which field it is cut into frames, and where in that, in 256ths.
    cuts: Vec<(usize, u8)>,
    padding: Option<u8>,
    has_priority: bool,
}

/// The frames of these calls. With `authority`, each has this one.
fn frames_of(calls: &[Call], authority: Option<&[u8]>) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::default();
    let mut frames = Vec::new();
    for (stream, call) in (1..).step_by(2).zip(calls) {
        for (n, block) in call.blocks.iter().enumerate() {
            let is_last = n + 1 == call.blocks.len();
            let parts = block.encode(&mut encoder, authority);
            block.put(&parts, stream, u8::from(is_last), &mut frames);
        }
    }
    frames
}

impl Block {
    /// What each frame has of it. A cut is never behind a field, so that each field ends in the same frame however
    /// long its value is.
    fn encode(&self, encoder: &mut Encoder, authority: Option<&[u8]>) -> Vec<Vec<u8>> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        for size in &self.sizes {
            let mut part = Vec::new();
            encoder.resize(*size, &mut part);
            parts.push(part);
        }
        for field in &self.fields {
            let mut part = Vec::new();
            let is_authority = field.name == b":authority";
            let value = authority.filter(|_| is_authority).unwrap_or(&field.value);
            let field = Field {
                value: value.to_vec(),
                ..field.clone()
            };
            encoder.field(&field, &mut part);
            parts.push(part);
        }
        let mut frames = vec![Vec::new()];
        for (n, part) in parts.iter().enumerate() {
            let mut cuts: Vec<_> = self
                .cuts
                .iter()
                .filter(|(at, _)| at % parts.len() == n)
                .collect();
            cuts.sort_unstable_by_key(|(_, cut)| *cut);
            let mut from = 0;
            for (_, cut) in cuts {
                let cut = part.len() * usize::from(*cut) / 256;
                frames
                    .last_mut()
                    .unwrap()
                    .extend_from_slice(&part[from..cut]);
                frames.push(Vec::new());
                from = cut;
            }
            frames.last_mut().unwrap().extend_from_slice(&part[from..]);
        }
        frames
    }

    fn put(&self, parts: &[Vec<u8>], stream: u32, end_stream: u8, frames: &mut Vec<Vec<u8>>) {
        for (n, part) in parts.iter().enumerate() {
            let end = if n + 1 == parts.len() { END_HEADERS } else { 0 };
            frames.push(match n {
                0 => self.first_frame(part, end | end_stream, stream),
                _ => frame(CONTINUATION, end, stream, part),
            });
        }
    }

    fn first_frame(&self, part: &[u8], flags: u8, stream: u32) -> Vec<u8> {
        let (mut payload, mut flags) = (Vec::new(), flags);
        if let Some(padding) = self.padding {
            flags |= PADDED;
            payload.push(padding);
        }
        if self.has_priority {
            flags |= PRIORITY;
            payload.extend_from_slice(&[0, 0, 0, 0, 7]);
        }
        payload.extend_from_slice(part);
        payload.resize(payload.len() + usize::from(self.padding.unwrap_or(0)), 0);
        frame(HEADERS, flags, stream, &payload)
    }
}

fn field(
    name: impl Strategy<Value = Vec<u8>>,
    value: impl Strategy<Value = Vec<u8>>,
) -> impl Strategy<Value = Field> {
    let form = prop::sample::select(&FORMS[..]);
    (
        name,
        value,
        form,
        any::<[bool; 2]>(),
        prop::bool::weighted(0.8),
    )
        .prop_map(|(name, value, form, by_huffman, by_index)| Field {
            name,
            value,
            form,
            by_huffman,
            by_index,
        })
}

fn fixed(text: &'static str) -> impl Strategy<Value = Vec<u8>> {
    Just(text.as_bytes().to_vec())
}

/// Names of fields that anyone may send.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "content-type",
        "user-agent",
        "grpc-timeout",
        "www-authenticate",
        "x",
        "aaaaaaaaaa",
    ];
    prop_oneof![
        3 => prop::sample::select(known.to_vec()).prop_map(|name| name.as_bytes().to_vec()),
        1 => "[a-z]{1,12}".prop_filter("is another's", |name| !["te", "upgrade", "connection"].contains(&name.as_str())).prop_map(String::into_bytes),
    ]
}

/// Values of fields: octets that are allowed, of any length that matters to the tables.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let octet = any::<u8>().prop_map(|octet| {
        if octet < b' ' || octet == 0x7f {
            b'v'
        } else {
            octet
        }
    });
    prop_oneof![
        4 => prop::collection::vec(octet.clone(), 0..30),
        2 => prop::sample::select(&["", "application/grpc", "1"][..]).prop_map(|value| value.as_bytes().to_vec()),
        1 => prop::collection::vec(octet, 200..800),
    ]
}

/// Any authority, such as no server of h2 would take.
fn any_authority() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "",
        "localhost",
        "/var/run/azure.sock",
        "%2Fvar%2Frun",
        "unix:/x.sock",
        "passthrough:///x",
        "a b",
    ];
    prop_oneof![
        prop::sample::select(known.to_vec()).prop_map(|value| value.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
        prop::collection::vec(any::<u8>(), 900..4500),
    ]
}

/// Whether a call has an authority, and where among its first fields.
fn request_fields() -> impl Strategy<Value = Vec<Field>> {
    let known = (
        field(fixed(":method"), fixed("POST")),
        field(fixed(":scheme"), fixed("http")),
        field(
            fixed(":path"),
            prop_oneof![fixed("/"), fixed("/v1alpha1.CSIDriverProvider/Mount")],
        ),
    );
    let authority = prop::option::weighted(
        0.9,
        (0..4_usize, field(fixed(":authority"), any_authority())),
    );
    let others = prop::collection::vec(field(name(), value()), 0..6);
    (known, authority, others).prop_map(|((method, scheme, path), authority, others)| {
        let mut fields = vec![method, scheme, path];
        if let Some((place, authority)) = authority {
            fields.insert(place, authority);
        }
        fields.extend(others);
        fields
    })
}

fn block(fields: impl Strategy<Value = Vec<Field>>) -> impl Strategy<Value = Block> {
    let sizes = prop_oneof![
        6 => Just(Vec::new()),
        1 => prop::collection::vec(0..=4096_usize, 1..3),
        1 => Just(vec![0, 4096]),
    ];
    let cuts =
        prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(any::<(usize, u8)>(), 1..5)];
    let padding = prop::option::weighted(0.2, any::<u8>());
    (sizes, fields, cuts, padding, prop::bool::weighted(0.2)).prop_map(
        |(sizes, fields, cuts, padding, has_priority)| Block {
            sizes,
            fields,
            cuts,
            padding,
            has_priority,
        },
    )
}

/// Calls that every server takes, but for their authority.
fn calls() -> impl Strategy<Value = Vec<Call>> {
    let trailers = prop::option::weighted(
        0.3,
        block(prop::collection::vec(field(name(), value()), 0..3)),
    );
    let call = (block(request_fields()), trailers).prop_map(|(block, trailers)| Call {
        blocks: std::iter::once(block).chain(trailers).collect(),
    });
    prop::collection::vec(call, 1..6)
}

/// What makes a call one that is refused, perhaps.
#[derive(Clone, Debug)]
enum Fault {
    Field(Field),
    Size(usize),
    NoPath,
    Large(usize),
}

fn fault() -> impl Strategy<Value = Fault> {
    let pseudo = [
        ":authority",
        ":method",
        ":path",
        ":scheme",
        ":status",
        ":protocol",
        ":x",
        "te",
        "connection",
        "X",
    ];
    let name = prop::sample::select(pseudo.to_vec()).prop_map(|name| name.as_bytes().to_vec());
    prop_oneof![
        6 => field(name, prop_oneof![value(), fixed("200"), fixed("GET")]).prop_map(Fault::Field),
        1 => (4000..5000_usize).prop_map(Fault::Size),
        1 => Just(Fault::NoPath),
        // More than 16 KiB, and more than four times that, by a few octets.
        1 => (1..60_usize).prop_map(Fault::Large),
    ]
}

impl Fault {
    fn add_to(self, block: &mut Block, place: usize) {
        match self {
            Self::Large(times) => {
                let field = Field {
                    name: b"large".to_vec(),
                    value: vec![b'v'; 3000],
                    form: FORMS[0],
                    by_huffman: [false; 2],
                    by_index: true,
                };
                block.fields.extend(std::iter::repeat_n(field, times));
            }
            Self::Field(field) => block.fields.insert(place % (block.fields.len() + 1), field),
            Self::Size(size) => block.sizes.push(size),
            Self::NoPath => block.fields.retain(|field| field.name != b":path"),
        }
    }
}

/// What h2 serves of calls with any authority is what it serves, without the layer, of the same calls with the
/// plainest.
fn judge(calls: &[Call]) -> crate::foreign_bytes::frames::Outcome {
    let said_so = said(&frames_of(calls, None));
    let layered = outcome(&said_so, true);
    let plain = outcome(&said(&frames_of(calls, Some(b"localhost"))), false);
    assert_eq!(layered, plain);
    layered
}

proptest! {
    #[test]
    fn every_authority_is_served(calls in calls(), piece in any::<u8>()) {
        let outcome = judge(&calls);
        assert!(!outcome.has_refusal());
        assert_eq!(outcome.calls.len(), calls.len());
        authority(&[&[piece], frames_of(&calls, None).concat().as_slice()].concat());
    }

    #[test]
    fn what_is_refused_stays_refused(mut calls in calls(), faults in prop::collection::vec((any::<[usize; 3]>(), fault()), 1..3)) {
        for ([call, block, place], fault) in faults {
            let call = call % calls.len();
            let block = block % calls[call].blocks.len();
            fault.add_to(&mut calls[call].blocks[block], place);
        }
        // Between fields: within one, h2 overlooks what was wrong before.
        let blocks = calls.iter_mut().flat_map(|call| &mut call.blocks);
        blocks.flat_map(|block| &mut block.cuts).for_each(|(_, cut)| *cut = 0);
        judge(&calls);
    }

    #[test]
    fn any_bytes_are_h2s_to_judge(calls in calls(), piece in any::<u8>(), others in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6)) {
        let mut said = [vec![piece], frames_of(&calls, None).concat()].concat();
        for (place, other) in others {
            let place = place % said.len();
            said[place] = other;
        }
        authority(&said);
        // The same without an authority, so that all of h2's answer is compared.
        let plain = calls.iter().cloned().map(|mut call| {
            for block in &mut call.blocks {
                block.fields.retain(|field| field.name != b":authority");
            }
            call
        });
        let mut said = [vec![piece], frames_of(&plain.collect::<Vec<_>>(), None).concat()].concat();
        let place = usize::from(piece) * 7919 % said.len();
        said[place] ^= 0x41;
        authority(&said);
    }

    #[test]
    fn h2s_own_client_is_understood(
        requests in prop::collection::vec((prop::option::of("[a-z0-9.:-]{1,40}"), prop::collection::vec((name(), value(), any::<bool>()), 0..6)), 1..8),
    ) {
        let requests: Vec<_> = requests.into_iter().map(|(authority, fields)| own_request(authority.as_deref(), fields)).collect();
        through_h2(&requests);
    }
}

/// A request of h2's client, or none if its authority is none.
fn own_request(authority: Option<&str>, fields: Vec<(Vec<u8>, Vec<u8>, bool)>) -> Request<()> {
    let uri = format!(
        "http://{}/v1alpha1.CSIDriverProvider/Mount",
        authority.unwrap_or("x")
    );
    let builder = Request::builder().method("POST");
    let mut request = match builder.uri(uri).body(()) {
        Ok(request) => request,
        Err(_) => Request::builder()
            .method("POST")
            .uri("http://x/")
            .body(())
            .unwrap(),
    };
    for (name, value, is_sensitive) in fields {
        let mut value = HeaderValue::from_bytes(&value).unwrap();
        value.set_sensitive(is_sensitive);
        request
            .headers_mut()
            .append(HeaderName::from_bytes(&name).unwrap(), value);
    }
    request
}

/// A stream with the layer before it.
struct Layered(AnyAuthority, DuplexStream);

impl AsyncRead for Layered {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self(authority, stream) = self.get_mut();
        authority.poll_read(Pin::new(stream), context, buffer)
    }
}

impl AsyncWrite for Layered {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().1).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().1).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().1).poll_shutdown(context)
    }
}

/// h2's client asks, h2's server hears, one request after the other.
fn through_h2(requests: &[Request<()>]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (client, server) = tokio::io::duplex(1000);
        let heard = tokio::spawn(async move {
            let builder = h2::server::Builder::new();
            let stream = Layered(AnyAuthority::default(), server);
            let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
            let mut heard = Vec::new();
            while let Some(request) = connection.accept().await {
                let (request, mut answer) = request.unwrap();
                answer.send_response(Response::new(()), true).unwrap();
                heard.push((request.uri().to_string(), request.headers().clone()));
            }
            heard
        });
        let (mut client, connection) = h2::client::handshake(client).await.unwrap();
        let connection = tokio::spawn(connection);
        for request in requests {
            client = client.ready().await.unwrap();
            let (answer, _) = client.send_request(request.clone(), true).unwrap();
            answer.await.unwrap();
        }
        drop(client);
        connection.await.unwrap().unwrap();
        let expected: Vec<(String, HeaderMap)> = requests
            .iter()
            .map(|request| {
                (
                    format!("http://localhost{}", request.uri().path()),
                    request.headers().clone(),
                )
            })
            .collect();
        assert_eq!(heard.await.unwrap(), expected);
    });
}

#[test]
fn headers_that_fill_several_frames_are_understood() {
    // 28 bits for each octet.
    let value = vec![0xf9; 6000];
    let fields = vec![(b"large".to_vec(), value, false)];
    let small = || {
        own_request(
            Some("10.0.0.1:80"),
            vec![(b"x".to_vec(), b"y".to_vec(), false)],
        )
    };
    let large = own_request(None, fields);
    through_h2(&[small(), large.clone(), small(), large]);
}
