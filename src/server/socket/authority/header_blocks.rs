//! [`HeaderBlocks`], a caller's header blocks, with another authority in them.
//!
//! Each representation of a field goes on as it came (RFC 7541, section 6): literals with their octets,
//! Huffman or not, for h2 to decode and to judge. Only indices of the dynamic table are others, since h2's has
//! no authorities in it, and integers are as short as they can be. What is no HPACK is refused by h2: by its
//! own judgement where it gets to see it, by [`NO_HPACK`] where it would not.

use super::dynamic_table::{AUTHORITY_LENGTH, DynamicTable, MAX_SIZE, Name};
use super::huffman::HuffmanLength;

/// `:authority`, and the same in HPACK's Huffman code, which has one spelling for each text.
const AUTHORITY: &[u8; AUTHORITY_LENGTH] = b":authority";
const AUTHORITY_BY_HUFFMAN: &[u8] = b"\xb8\x3b\x53\x39\xec\x32\x7d\x7f";
/// `:authority: localhost`, by the name's index, and not to be indexed.
const LOCALHOST: &[u8] = b"\x01\x09localhost";
/// `:authority:`, by its index. Only after another one in the same block, where h2 refuses any.
const REPEATED: u8 = 0x81;
/// An integer that has no end, wherever it stands.
const NO_HPACK: [u8; 5] = [0xff; 5];
/// The most octets of an integer that h2 reads.
const MAX_INTEGER: u8 = 5;
/// The flag of a text in Huffman code.
const HUFFMAN: u8 = 0x80;

/// The kinds of representations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Indexed,
    WithIncrementalIndexing,
    WithoutIndexing,
    NeverIndexed,
    SizeUpdate,
}

/// What an octet string is.
#[derive(Clone, Copy, Debug)]
enum Text {
    Name(Form),
    /// The name of a literal, of which nothing has gone on: as long as `:authority`.
    NameInQuestion(Form),
    Value(Form, Name),
}

/// What the next octet is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// The first of a representation.
    Field,
    /// One of the integer that a representation begins with.
    Index(Form, Integer),
    /// The first of a text.
    Text(Text),
    /// One of its length.
    Length(Text, u8, Integer),
    /// One of its octets, of which so many are missing.
    Octets(Text, usize, Length),
}

/// An integer that has begun, as h2 reads it.
#[derive(Clone, Copy, Debug)]
struct Integer {
    value: usize,
    octets: u8,
}

/// How long a text is.
#[derive(Clone, Copy, Debug)]
enum Length {
    Plain(usize),
    Huffman(HuffmanLength),
}

/// This is no HPACK.
#[derive(Debug)]
struct NoHpack;

/// All header blocks of a connection, one after the other.
///
/// A fragment goes on at most 32 octets longer than it came: by one authority that had been an octet, by a name
/// in question that the fragment before had the most of, and by [`NO_HPACK`].
#[derive(Debug)]
pub(super) struct HeaderBlocks {
    table: DynamicTable,
    place: Place,
    /// Whether the block has had an authority.
    has_authority: bool,
    /// Whether the table's size may be changed here: as h2 has it, before the first field of a frame.
    may_resize: bool,
    /// The octets of [`Text::NameInQuestion`].
    name: Vec<u8>,
}

impl Default for HeaderBlocks {
    fn default() -> Self {
        Self {
            table: DynamicTable::default(),
            place: Place::Field,
            has_authority: false,
            may_resize: true,
            name: Vec::new(),
        }
    }
}

impl HeaderBlocks {
    /// A block begins.
    pub(super) fn begin(&mut self) {
        self.place = Place::Field;
        self.has_authority = false;
    }

    /// What a frame has of the block, and whether the block ends with it.
    pub(super) fn push(&mut self, fragment: &[u8], is_end: bool, out: &mut Vec<u8>) {
        self.may_resize = matches!(self.place, Place::Field | Place::Index(Form::SizeUpdate, _));
        let complete = self.fields(fragment, out);
        if complete.is_err() || (is_end && self.is_untold()) {
            out.extend_from_slice(&NO_HPACK);
        }
        if complete.is_err() {
            self.place = Place::Field;
        }
    }

    /// Whether there is the beginning of a field of which h2 knows nothing.
    fn is_untold(&self) -> bool {
        match self.place {
            Place::Field => false,
            Place::Index(..) => true,
            Place::Text(text) | Place::Length(text, ..) => {
                matches!(text, Text::Name(_)) || !text.goes_on()
            }
            Place::Octets(text, ..) => !text.goes_on(),
        }
    }

    fn fields(&mut self, mut fragment: &[u8], out: &mut Vec<u8>) -> Result<(), NoHpack> {
        while let [octet, rest @ ..] = fragment {
            (self.place, fragment) = match self.place {
                Place::Field => (self.representation(*octet, out)?, rest),
                Place::Index(form, mut integer) => {
                    let next = match integer.push(*octet)? {
                        Some(index) => self.index(form, index, out)?,
                        None => Place::Index(form, integer),
                    };
                    (next, rest)
                }
                Place::Text(text) => {
                    let huffman = octet & HUFFMAN;
                    let next = match Integer::begin(*octet, 7) {
                        Ok(length) => self.length(text, huffman, length, out)?,
                        Err(integer) => Place::Length(text, huffman, integer),
                    };
                    (next, rest)
                }
                Place::Length(text, huffman, mut integer) => {
                    let next = match integer.push(*octet)? {
                        Some(length) => self.length(text, huffman, length, out)?,
                        None => Place::Length(text, huffman, integer),
                    };
                    (next, rest)
                }
                Place::Octets(text, missing, mut length) => {
                    let (octets, rest) = fragment.split_at(missing.min(fragment.len()));
                    match text {
                        Text::NameInQuestion(_) => self.name.extend_from_slice(octets),
                        _ if text.goes_on() => out.extend_from_slice(octets),
                        _ => {}
                    }
                    length.push(octets);
                    let next = match missing - octets.len() {
                        0 => self.end_text(text, length, out)?,
                        missing => Place::Octets(text, missing, length),
                    };
                    (next, rest)
                }
            };
        }
        Ok(())
    }

    fn representation(&mut self, octet: u8, out: &mut Vec<u8>) -> Result<Place, NoHpack> {
        let form = Form::of(octet);
        if form != Form::SizeUpdate {
            self.may_resize = false;
        } else if !self.may_resize {
            return Err(NoHpack);
        }
        match Integer::begin(octet, form.prefix()) {
            Ok(index) => self.index(form, index, out),
            Err(integer) => Ok(Place::Index(form, integer)),
        }
    }

    fn index(&mut self, form: Form, index: usize, out: &mut Vec<u8>) -> Result<Place, NoHpack> {
        if form == Form::SizeUpdate {
            if index > MAX_SIZE {
                return Err(NoHpack);
            }
            self.table.resize(index);
            form.put(index, out);
            return Ok(Place::Field);
        }
        if index == 0 && form != Form::Indexed {
            return Ok(Place::Text(Text::Name(form)));
        }
        let meaning = self.table.get(index).ok_or(NoHpack)?;
        if meaning.name != Name::Authority {
            form.put(meaning.index, out);
        } else if form == Form::Indexed {
            self.put_authority(out);
        }
        Ok(match form {
            Form::Indexed => Place::Field,
            _ => Place::Text(Text::Value(form, meaning.name)),
        })
    }

    fn length(
        &mut self,
        text: Text,
        huffman: u8,
        octets: usize,
        out: &mut Vec<u8>,
    ) -> Result<Place, NoHpack> {
        let mut text = text;
        if let Text::Name(form) = text {
            if octets == 0 {
                return Err(NoHpack);
            }
            if octets == spelling(huffman).len() {
                self.name.clear();
                text = Text::NameInQuestion(form);
            } else {
                form.put(0, out);
            }
        }
        if text.goes_on() {
            put(huffman, 7, octets, out);
        }
        let length = match huffman {
            0 => Length::Plain(0),
            _ => Length::Huffman(HuffmanLength::default()),
        };
        match octets {
            0 => self.end_text(text, length, out),
            _ => Ok(Place::Octets(text, octets, length)),
        }
    }

    fn end_text(
        &mut self,
        text: Text,
        length: Length,
        out: &mut Vec<u8>,
    ) -> Result<Place, NoHpack> {
        let octets = length.end().ok_or(NoHpack)?;
        let (form, name) = match text {
            Text::Name(form) => (form, Name::Other(octets)),
            Text::NameInQuestion(form) => {
                let huffman = length.huffman();
                if self.name == spelling(huffman) {
                    (form, Name::Authority)
                } else {
                    form.put(0, out);
                    put(huffman, 7, self.name.len(), out);
                    out.extend_from_slice(&self.name);
                    (form, Name::Other(octets))
                }
            }
            Text::Value(form, name) => {
                if name == Name::Authority {
                    self.put_authority(out);
                }
                if form == Form::WithIncrementalIndexing {
                    self.table.insert(name, octets);
                }
                return Ok(Place::Field);
            }
        };
        Ok(Place::Text(Text::Value(form, name)))
    }

    fn put_authority(&mut self, out: &mut Vec<u8>) {
        if self.has_authority {
            out.push(REPEATED);
        } else {
            out.extend_from_slice(LOCALHOST);
        }
        self.has_authority = true;
    }
}

/// `:authority`, as it is spelled with this flag.
fn spelling(huffman: u8) -> &'static [u8] {
    match huffman {
        0 => AUTHORITY,
        _ => AUTHORITY_BY_HUFFMAN,
    }
}

/// An integer after a pattern, of whose octet so many bits are its own.
///
/// Source: RFC 7541, section 5.1.
fn put(pattern: u8, prefix: u8, value: usize, out: &mut Vec<u8>) {
    let most = prefix_mask(prefix);
    let Some(mut rest) = value.checked_sub(usize::from(most)) else {
        // Below `most`, so it fits.
        out.push(pattern | u8::try_from(value).unwrap_or(most));
        return;
    };
    out.push(pattern | most);
    loop {
        let septet = u8::try_from(rest & 0x7f).unwrap_or_default();
        rest >>= 7;
        if rest == 0 {
            return out.push(septet);
        }
        out.push(septet | 0x80);
    }
}

fn prefix_mask(prefix: u8) -> u8 {
    (1 << prefix) - 1
}

impl Form {
    fn of(octet: u8) -> Self {
        match octet.leading_zeros() {
            0 => Self::Indexed,
            1 => Self::WithIncrementalIndexing,
            2 => Self::SizeUpdate,
            3 => Self::NeverIndexed,
            _ => Self::WithoutIndexing,
        }
    }

    /// What tells it from the others, in the first bits of its first octet.
    fn pattern(self) -> u8 {
        match self {
            Self::Indexed => 0x80,
            Self::WithIncrementalIndexing => 0x40,
            Self::SizeUpdate => 0x20,
            Self::NeverIndexed => 0x10,
            Self::WithoutIndexing => 0,
        }
    }

    /// How many bits of that octet are its integer's.
    fn prefix(self) -> u8 {
        match self {
            Self::Indexed => 7,
            Self::WithIncrementalIndexing => 6,
            Self::SizeUpdate => 5,
            Self::NeverIndexed | Self::WithoutIndexing => 4,
        }
    }

    fn put(self, index: usize, out: &mut Vec<u8>) {
        put(self.pattern(), self.prefix(), index, out);
    }
}

impl Text {
    /// Whether h2 gets it as it comes.
    fn goes_on(self) -> bool {
        matches!(self, Self::Name(_) | Self::Value(_, Name::Other(_)))
    }
}

impl Integer {
    /// One whose first octet has so many bits of it: the number if that is all, or what is to go on.
    fn begin(octet: u8, prefix: u8) -> Result<usize, Self> {
        let most = prefix_mask(prefix);
        let value = usize::from(octet & most);
        if value < usize::from(most) {
            return Ok(value);
        }
        Err(Self { value, octets: 1 })
    }

    fn push(&mut self, octet: u8) -> Result<Option<usize>, NoHpack> {
        self.value += usize::from(octet & 0x7f) << (7 * (self.octets - 1));
        self.octets += 1;
        if octet & 0x80 == 0 {
            return Ok(Some(self.value));
        }
        if self.octets == MAX_INTEGER {
            return Err(NoHpack);
        }
        Ok(None)
    }
}

impl Length {
    fn push(&mut self, octets: &[u8]) {
        match self {
            Self::Plain(length) => *length += octets.len(),
            Self::Huffman(length) => length.push(octets),
        }
    }

    fn end(self) -> Option<usize> {
        match self {
            Self::Plain(length) => Some(length),
            Self::Huffman(length) => length.end(),
        }
    }

    fn huffman(self) -> u8 {
        match self {
            Self::Plain(_) => 0,
            Self::Huffman(_) => HUFFMAN,
        }
    }
}
