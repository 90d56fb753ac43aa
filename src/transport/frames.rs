//! Websocket frames as bytes (RFC 6455, section 5): a reader of the client's frames, and writers of the hub's frames.
//!
//! Pure functions of bytes, without IO. The header codec is that of the websocket library that the Socket.IO library
//! uses too.

use std::{io::Cursor, mem};

use axum::body::Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::{
    FrameHeader,
    coding::{CloseCode, Control, Data, OpCode},
};

/// Longest header of a frame, in bytes.
const HEADER_BYTES_MAX: usize = 14;

/// Longest payload of a control frame, in bytes.
const CONTROL_BYTES_MAX: usize = 125;

/// Kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Data of text frames, not validated as UTF-8 here.
    Text,
    /// Binary data.
    Binary,
    /// Ping control frame.
    Ping,
    /// Pong control frame.
    Pong,
    /// Close control frame.
    Close,
}

impl Kind {
    const fn opcode(self) -> OpCode {
        match self {
            Self::Text => OpCode::Data(Data::Text),
            Self::Binary => OpCode::Data(Data::Binary),
            Self::Ping => OpCode::Control(Control::Ping),
            Self::Pong => OpCode::Control(Control::Pong),
            Self::Close => OpCode::Control(Control::Close),
        }
    }
}

/// Message of a client: one or several frames, unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Kind of the data, or of the control frame.
    pub kind: Kind,
    /// Bytes of all frames of the message, unmasked.
    pub payload: Vec<u8>,
}

/// Breach of the protocol, or of the limit on a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// Bytes that RFC 6455 forbids, with the reason.
    Protocol(&'static str),
    /// Message of more bytes than the limit.
    TooLarge,
}

/// Incomplete frame.
#[derive(Debug)]
struct OpenFrame {
    kind: FrameKind,
    is_final: bool,
    /// Mask, rotated such that its first byte belongs to the next byte of the payload.
    mask: [u8; 4],
    remaining: usize,
}

#[derive(Debug, Clone, Copy)]
enum FrameKind {
    Data,
    Control(Kind),
}

/// Incremental parser of messages. The chunks may divide the bytes anywhere.
#[derive(Debug)]
pub struct MessageReader {
    bytes_max: usize,
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: usize,
    frame: Option<OpenFrame>,
    /// Message whose final frame has not arrived.
    message: Option<Message>,
    control: Vec<u8>,
}

impl MessageReader {
    /// Creates a reader of messages of at most `bytes_max` bytes.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            header: [0; HEADER_BYTES_MAX],
            header_bytes: 0,
            frame: None,
            message: None,
            control: Vec::new(),
        }
    }

    /// Allocated bytes of the unfinished message.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.payload.capacity())
    }

    /// True while a message has begun and is not complete.
    #[must_use]
    pub const fn is_within_message(&self) -> bool {
        self.header_bytes > 0 || self.frame.is_some() || self.message.is_some()
    }

    /// Consumes input until a message is complete or the input is empty.
    ///
    /// # Errors
    /// Returns a violation if the bytes breach the protocol, or announce a message beyond the limit. The reader is
    /// unusable after an error.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Violation> {
        loop {
            if self.frame.is_none() {
                self.frame = self.read_header(input)?;
            }
            let Some(frame) = &mut self.frame else { return Ok(None) };
            let (taken, rest) = input.split_at(frame.remaining.min(input.len()));
            *input = rest;
            let payload = match (frame.kind, &mut self.message) {
                (FrameKind::Control(_), _) => &mut self.control,
                (FrameKind::Data, Some(message)) => &mut message.payload,
                // The header of a data frame has begun a message.
                (FrameKind::Data, None) => return Err(Violation::Protocol("continuation without a message")),
            };
            append_unmasked(payload, taken, &mut frame.mask);
            frame.remaining -= taken.len();
            if frame.remaining > 0 {
                return Ok(None);
            }
            let (kind, is_final) = (frame.kind, frame.is_final);
            self.frame = None;
            match kind {
                FrameKind::Control(kind) => {
                    let payload = mem::take(&mut self.control);
                    return Ok(Some(Message { kind, payload }));
                }
                FrameKind::Data if is_final => return Ok(self.message.take()),
                FrameKind::Data => {}
            }
        }
    }

    fn read_header(&mut self, input: &mut &[u8]) -> Result<Option<OpenFrame>, Violation> {
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            self.header[self.header_bytes] = byte;
            self.header_bytes += 1;
            if self.header_bytes == 2 && byte & 0x80 == 0 {
                return Err(Violation::Protocol("a frame is not masked"));
            }
            if self.header_bytes >= 2 && self.header_bytes == header_bytes(self.header[1]) {
                return self.open_frame().map(Some);
            }
        }
        Ok(None)
    }

    fn open_frame(&mut self) -> Result<OpenFrame, Violation> {
        let parsed = FrameHeader::parse(&mut Cursor::new(&self.header[..self.header_bytes]));
        self.header_bytes = 0;
        let Ok(Some((header, length))) = parsed else {
            return Err(Violation::Protocol("a frame has no header that is known"));
        };
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Violation::Protocol("a frame uses an extension that was not agreed"));
        }
        let kind = match header.opcode {
            OpCode::Data(data) => {
                self.begin_or_continue(data)?;
                FrameKind::Data
            }
            OpCode::Control(control) => {
                if !header.is_final || length > CONTROL_BYTES_MAX as u64 {
                    return Err(Violation::Protocol("a control frame is fragmented or too long"));
                }
                FrameKind::Control(match control {
                    Control::Ping => Kind::Ping,
                    Control::Pong => Kind::Pong,
                    Control::Close | Control::Reserved(_) => Kind::Close,
                })
            }
        };
        let held = match kind {
            FrameKind::Data => self.message.as_ref().map_or(0, |message| message.payload.len()),
            FrameKind::Control(_) => 0,
        };
        let length = usize::try_from(length).ok().filter(|length| match kind {
            FrameKind::Data => *length <= self.bytes_max.saturating_sub(held),
            FrameKind::Control(_) => true,
        });
        Ok(OpenFrame {
            kind,
            is_final: header.is_final,
            mask: header.mask.unwrap_or_default(),
            remaining: length.ok_or(Violation::TooLarge)?,
        })
    }

    fn begin_or_continue(&mut self, data: Data) -> Result<(), Violation> {
        let kind = match (data, &self.message) {
            (Data::Continue, Some(_)) => return Ok(()),
            (Data::Continue | Data::Reserved(_), _) => {
                return Err(Violation::Protocol("continuation without a message"));
            }
            (_, Some(_)) => return Err(Violation::Protocol("a message begins within another")),
            (Data::Text, None) => Kind::Text,
            (Data::Binary, None) => Kind::Binary,
        };
        let payload = Vec::new();
        self.message = Some(Message { kind, payload });
        Ok(())
    }
}

/// Length of a frame header in bytes, by its second byte.
const fn header_bytes(second: u8) -> usize {
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + if second & 0x80 == 0 { 0 } else { 4 }
}

/// Appends unmasked bytes, and rotates the mask to the byte that follows them.
fn append_unmasked(payload: &mut Vec<u8>, masked: &[u8], mask: &mut [u8; 4]) {
    let start = payload.len();
    payload.extend_from_slice(masked);
    for four in payload[start..].chunks_mut(4) {
        for (byte, mask) in four.iter_mut().zip(*mask) {
            *byte ^= mask;
        }
    }
    mask.rotate_left(masked.len() % 4);
}

/// Encodes a frame of the hub, without a mask.
pub(super) fn frame(kind: Kind, payload: &[u8]) -> Bytes {
    Bytes::from(encode_frame(kind, None, payload))
}

/// Encodes a close frame, with the first 123 bytes of the reason at most.
pub(super) fn close_frame(code: u16, reason: &str) -> Bytes {
    let reason = &reason[..reason.floor_char_boundary(CONTROL_BYTES_MAX - 2)];
    let mut payload = u16::from(CloseCode::from(code)).to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    frame(Kind::Close, &payload)
}

/// Encodes a client's message as one frame with a zero mask, which leaves the payload unchanged.
pub(super) fn client_frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    encode_frame(kind, Some([0; 4]), payload)
}

fn encode_frame(kind: Kind, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        opcode: kind.opcode(),
        mask,
        ..FrameHeader::default()
    };
    let mut frame = Vec::with_capacity(HEADER_BYTES_MAX + payload.len());
    // Writing to memory does not fail.
    let _ = header.format(payload.len() as u64, &mut frame);
    frame.extend_from_slice(payload);
    frame
}

/// Finder of frame ends in the byte stream of the hub, so that other frames can be inserted between frames.
#[derive(Debug, Default)]
pub(super) struct Boundaries {
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: usize,
    remaining: u64,
}

impl Boundaries {
    /// True if no frame is incomplete.
    pub(super) const fn is_at_boundary(&self) -> bool {
        self.header_bytes == 0 && self.remaining == 0
    }

    /// Advances over bytes up to the end of the current frame, and returns their number. `None` if no frame ends in the
    /// bytes.
    fn advance_frame(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut taken = 0;
        if self.remaining == 0 {
            taken = match whole_header(bytes) {
                // The library writes whole frames, as a rule.
                Some(header) if self.header_bytes == 0 => {
                    self.remaining = payload_bytes(header);
                    header.len()
                }
                _ => self.advance_header(bytes)?,
            };
        }
        let left = (bytes.len() - taken) as u64;
        let now = self.remaining.min(left);
        self.remaining -= now;
        taken += usize::try_from(now).unwrap_or(usize::MAX);
        (self.remaining == 0).then_some(taken)
    }

    /// Advances over the bytes of a header that arrives in parts, and returns their number. `None` if the header is still
    /// incomplete.
    fn advance_header(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut taken = 0;
        loop {
            self.header[self.header_bytes] = *bytes.get(taken)?;
            self.header_bytes += 1;
            taken += 1;
            if self.header_bytes >= 2 && self.header_bytes == header_bytes(self.header[1]) {
                break;
            }
        }
        self.remaining = payload_bytes(&self.header);
        self.header_bytes = 0;
        Some(taken)
    }

    /// Advances over bytes, and returns the end of the first frame that ends in them.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Option<usize> {
        let (mut first, mut at) = (None, 0);
        while at < bytes.len()
            && let Some(taken) = self.advance_frame(&bytes[at..])
        {
            at += taken;
            first = first.or(Some(at));
        }
        first
    }
}

/// Header at the start of bytes that contain all of it.
fn whole_header(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(..header_bytes(*bytes.get(1)?))
}

/// Length of a payload in bytes, by the frame's header.
fn payload_bytes(header: &[u8]) -> u64 {
    match *header {
        [_, second, a, b, ..] if second & 0x7f == 126 => u64::from(u16::from_be_bytes([a, b])),
        [_, second, a, b, c, d, e, f, g, h, ..] if second & 0x7f == 127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        [_, second, ..] => u64::from(second & 0x7f),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(kind: Kind, is_final: bool, continues: bool, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let opcode = if continues {
            OpCode::Data(Data::Continue)
        } else {
            kind.opcode()
        };
        let header = FrameHeader {
            is_final,
            opcode,
            mask: Some(mask),
            ..FrameHeader::default()
        };
        let mut frame = Vec::new();
        header
            .format(payload.len() as u64, &mut frame)
            .expect("memory takes all");
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn kind() -> impl Strategy<Value = Kind> {
        prop_oneof![Just(Kind::Text), Just(Kind::Binary)]
    }

    fn control() -> impl Strategy<Value = Kind> {
        prop_oneof![Just(Kind::Ping), Just(Kind::Pong), Just(Kind::Close)]
    }

    /// Message in fragments, with control frames between them.
    fn fragmented() -> impl Strategy<Value = (Vec<u8>, Vec<Message>)> {
        let fragment = (
            prop::collection::vec(any::<u8>(), 0..300),
            any::<[u8; 4]>(),
            prop::option::of((control(), prop::collection::vec(any::<u8>(), 0..=125))),
        );
        (kind(), prop::collection::vec(fragment, 1..5)).prop_map(|(kind, fragments)| {
            let (mut bytes, mut messages, mut whole) = (Vec::new(), Vec::new(), Vec::new());
            let last = fragments.len() - 1;
            for (index, (payload, mask, control)) in fragments.into_iter().enumerate() {
                if let Some((kind, payload)) = control {
                    bytes.extend(masked(kind, true, false, mask, &payload));
                    messages.push(Message { kind, payload });
                }
                bytes.extend(masked(kind, index == last, index > 0, mask, &payload));
                whole.extend(payload);
            }
            messages.push(Message { kind, payload: whole });
            (bytes, messages)
        })
    }

    fn read_all(reader: &mut MessageReader, mut bytes: &[u8]) -> Result<Vec<Message>, Violation> {
        let mut messages = Vec::new();
        while let Some(message) = reader.read(&mut bytes)? {
            messages.push(message);
        }
        assert!(bytes.is_empty(), "all bytes are taken");
        Ok(messages)
    }

    proptest! {
        /// P9: the division of the bytes does not change the messages.
        #[test]
        fn message_reader_gives_the_same_messages_for_every_division(
            sent in prop::collection::vec(fragmented(), 1..4),
            sizes in prop::collection::vec(1_usize..200, 1..20),
        ) {
            let bytes: Vec<u8> = sent.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
            let expected: Vec<Message> = sent.into_iter().flat_map(|(_, messages)| messages).collect();
            let mut reader = MessageReader::new(10_000);
            let (mut rest, mut read, mut sizes) = (&bytes[..], Vec::new(), sizes.into_iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(sizes.next().expect("it cycles").min(rest.len()));
                read.extend(read_all(&mut reader, now).expect("well-formed"));
                rest = later;
            }
            prop_assert_eq!(read, expected);
            prop_assert!(!reader.is_within_message());
            prop_assert_eq!(reader.held_bytes(), 0);
        }

        /// P9: no input makes the reader panic or buffer more than its limit.
        #[test]
        fn message_reader_survives_any_bytes(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..20),
        ) {
            let mut reader = MessageReader::new(64);
            for part in parts {
                let read = read_all_or_stop(&mut reader, &part);
                prop_assert!(reader.held_bytes() <= 128, "{}", reader.held_bytes());
                if read.is_none() {
                    break;
                }
            }
        }

        /// P9: the division of the bytes does not change the boundaries.
        #[test]
        fn boundaries_are_found_for_every_division(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..6),
            sizes in prop::collection::vec(1_usize..300, 1..20),
        ) {
            let (mut bytes, mut ends) = (Vec::new(), vec![0]);
            for payload in &payloads {
                bytes.extend_from_slice(&frame(Kind::Text, payload));
                ends.push(bytes.len());
            }
            let (mut at, mut boundaries, mut sizes) = (0, Boundaries::default(), sizes.into_iter().cycle());
            while at < bytes.len() {
                let size = sizes.next().expect("it cycles").min(bytes.len() - at);
                let first = boundaries.advance(&bytes[at..at + size]);
                let expected = ends.iter().find(|end| **end > at && **end <= at + size).map(|end| end - at);
                prop_assert_eq!(first, expected);
                at += size;
                prop_assert_eq!(boundaries.is_at_boundary(), ends.contains(&at));
            }
        }
    }

    fn read_all_or_stop(reader: &mut MessageReader, mut bytes: &[u8]) -> Option<()> {
        while reader.read(&mut bytes).ok()?.is_some() {}
        Some(())
    }

    /// P9: a message is refused at the header that exceeds the limit, also when only the sum of many fragments does.
    #[test]
    fn message_reader_refuses_large_messages_by_their_headers() {
        let read = |frames: &[Vec<u8>]| read_all(&mut MessageReader::new(10), &frames.concat());
        let part = |is_final, continues, bytes: usize| masked(Kind::Text, is_final, continues, [1; 4], &vec![0; bytes]);
        assert_eq!(read(&[part(true, false, 10)]).expect("as much as may be").len(), 1);
        assert_eq!(read(&[part(true, false, 11)[..6].to_vec()]), Err(Violation::TooLarge));
        let header_of_the_second = part(true, true, 5)[..6].to_vec();
        assert_eq!(
            read(&[part(false, false, 6), header_of_the_second]),
            Err(Violation::TooLarge)
        );
        let huge = [0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        assert_eq!(read(&[huge.to_vec()]), Err(Violation::TooLarge));
    }

    /// P9: the reader refuses frames that the protocol forbids.
    #[test]
    fn message_reader_rejects_protocol_violations() {
        for (name, bytes) in [
            ("unmasked", vec![0x81, 0x01]),
            ("reserved bit", vec![0xc1, 0x80, 0, 0, 0, 0]),
            ("unknown kind of data", vec![0x83, 0x80, 0, 0, 0, 0]),
            ("unknown kind of control", vec![0x8b, 0x80, 0, 0, 0, 0]),
            ("fragmented ping", vec![0x09, 0x80, 0, 0, 0, 0]),
            ("long ping", vec![0x89, 0xfe, 0, 126, 0, 0, 0, 0]),
            ("continuation of nothing", vec![0x80, 0x80, 0, 0, 0, 0]),
            (
                "message within a message",
                vec![0x01, 0x80, 0, 0, 0, 0, 0x81, 0x80, 0, 0, 0, 0],
            ),
        ] {
            let read = read_all(&mut MessageReader::new(10), &bytes);
            assert!(matches!(read, Err(Violation::Protocol(_))), "{name}: {read:?}");
        }
    }

    /// P9: long reasons are cut at a character boundary.
    #[test]
    fn close_frame_has_its_code_and_as_much_of_the_reason_as_fits() {
        assert_eq!(&*close_frame(1009, "too large"), b"\x88\x0b\x03\xf1too large");
        let long = close_frame(1009, &"é".repeat(100));
        assert_eq!((long[1], long.len()), (124, 126));
    }
}
