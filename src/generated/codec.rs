//! The codec of the generated service: prost's, with an error of ours for bytes that are no message, and room for the
//! whole of an answer before it is written.
//!
//! tonic answers bytes that are no message with `INTERNAL`, which says that the provider is broken. It is the call that is.

use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// See the module's documentation.
#[derive(Debug)]
pub struct StrictCodec<T, U>(ProstCodec<T, U>);

/// Reads one message.
#[derive(Debug)]
pub struct StrictDecoder<U>(ProstDecoder<U>);

/// Writes one message.
#[derive(Debug)]
pub struct SizedEncoder<T>(ProstEncoder<T>);

impl<T, U> Default for StrictCodec<T, U> {
    fn default() -> Self {
        Self(ProstCodec::default())
    }
}

impl<T, U> Codec for StrictCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = SizedEncoder<T>;
    type Decoder = StrictDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        SizedEncoder(self.0.encoder())
    }

    fn decoder(&mut self) -> Self::Decoder {
        StrictDecoder(self.0.decoder())
    }
}

impl<T: Message> Encoder for SizedEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, bytes: &mut EncodeBuf<'_>) -> Result<(), Status> {
        // A buffer that grows as it is written ends twice as large, with its half beside it on the way.
        bytes.reserve(message.encoded_len());
        self.0.encode(message, bytes)
    }
}

impl<U: Message + Default> Decoder for StrictDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // The library's own words may name what it has read.
        self.0.decode(bytes).map_err(|_| {
            Status::invalid_argument(
                "[INVALID_REQUEST] the message cannot be decoded: expected one of v1alpha1.CSIDriverProvider, in UTF-8. \
                 Fix: use the Secrets Store CSI Driver v1.1 or newer",
            )
        })
    }
}
