//! [`DynamicTable`], what a caller's indices mean to it, and what they are to h2.

use std::collections::VecDeque;

/// The most octets of the table: `SETTINGS_HEADER_TABLE_SIZE`, which the server leaves as it is.
///
/// Source: RFC 9113, section 6.5.2.
pub(super) const MAX_SIZE: usize = 4096;
/// What an entry takes besides its name and value.
///
/// Source: RFC 7541, section 4.1.
const ENTRY_OVERHEAD: usize = 32;
/// The octets of `:authority`.
pub(super) const AUTHORITY_LENGTH: usize = 10;

/// The octets of each name in the static table, from index 1.
///
/// Source: RFC 7541, appendix A.
const STATIC_NAMES: [u8; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14,
    16, 13, 12, 6, 4, 4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10,
    25, 17, 10, 4, 3, 16,
];
/// The first index of the dynamic table.
const FIRST: usize = STATIC_NAMES.len() + 1;

/// A name that an index stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// `:authority`.
    Authority,
    /// Another one, and its octets.
    Other(usize),
}

impl Name {
    fn length(self) -> usize {
        match self {
            Self::Authority => AUTHORITY_LENGTH,
            Self::Other(length) => length,
        }
    }
}

/// An index that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    /// The name of the field.
    pub(super) name: Name,
    /// The index by which h2 knows it; nothing for authorities, which h2 does not keep.
    pub(super) index: usize,
}

#[derive(Debug)]
struct Entry {
    name: Name,
    size: usize,
    /// How many entries h2 had been given when it had been given this one.
    given: usize,
}

/// The caller's table, of which h2 gets everything but the authorities.
///
/// So h2's table has all other entries of the caller's, in the same order, and where authorities had pushed
/// some out, older ones besides; those have no meaning here. Names and values are not kept, only their
/// lengths, so there is nothing of a caller in it.
#[derive(Debug)]
pub(super) struct DynamicTable {
    /// The newest first; at most 128, since each counts as 32 octets and more.
    entries: VecDeque<Entry>,
    size: usize,
    max_size: usize,
    /// How many entries h2 has been given.
    given: usize,
}

impl Default for DynamicTable {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            max_size: MAX_SIZE,
            given: 0,
        }
    }
}

impl DynamicTable {
    /// What this index means; nothing if it is in neither table.
    pub(super) fn get(&self, index: usize) -> Option<Meaning> {
        if index == 1 {
            let name = Name::Authority;
            return Some(Meaning { name, index });
        }
        let Some(place) = index.checked_sub(FIRST) else {
            let length = usize::from(*STATIC_NAMES.get(index.checked_sub(1)?)?);
            let name = Name::Other(length);
            return Some(Meaning { name, index });
        };
        let entry = self.entries.get(place)?;
        Some(Meaning {
            name: entry.name,
            index: FIRST + self.given.wrapping_sub(entry.given),
        })
    }

    /// A field that the caller has put into its table.
    pub(super) fn insert(&mut self, name: Name, value_length: usize) {
        let size = name.length() + value_length + ENTRY_OVERHEAD;
        // RFC 7541, section 4.4: one that is larger than the table empties it.
        self.shrink(self.max_size.saturating_sub(size));
        if size > self.max_size {
            return;
        }
        if name != Name::Authority {
            self.given = self.given.wrapping_add(1);
        }
        self.size += size;
        let given = self.given;
        self.entries.push_front(Entry { name, size, given });
    }

    /// The caller has changed the size of its table, to [`MAX_SIZE`] at most.
    pub(super) fn resize(&mut self, max_size: usize) {
        self.max_size = max_size;
        self.shrink(max_size);
    }

    fn shrink(&mut self, size: usize) {
        while self.size > size
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(name: Name, index: usize) -> Meaning {
        Meaning { name, index }
    }

    #[test]
    fn the_static_table_is_the_rfcs() {
        let table = DynamicTable::default();
        assert_eq!(table.get(0), None);
        assert_eq!(table.get(1), Some(meaning(Name::Authority, 1)));
        for (index, name) in [
            (2, ":method"),
            (4, ":path"),
            (7, ":scheme"),
            (14, ":status"),
            (16, "accept-encoding"),
            (20, "access-control-allow-origin"),
            (31, "content-type"),
            (38, "host"),
            (58, "user-agent"),
            (61, "www-authenticate"),
        ] {
            assert_eq!(
                table.get(index),
                Some(meaning(Name::Other(name.len()), index))
            );
        }
        assert_eq!(table.get(62), None);
    }

    #[test]
    fn h2_does_not_count_authorities() {
        let mut table = DynamicTable::default();
        table.insert(Name::Other(1), 0);
        table.insert(Name::Authority, 100);
        table.insert(Name::Other(3), 0);
        assert_eq!(table.get(62), Some(meaning(Name::Other(3), 62)));
        assert_eq!(table.get(63).unwrap().name, Name::Authority);
        assert_eq!(table.get(64), Some(meaning(Name::Other(1), 63)));
        assert_eq!(table.get(65), None);
    }

    #[test]
    fn the_table_has_room_for_so_much() {
        let mut table = DynamicTable::default();
        table.insert(Name::Other(1), 0);
        table.insert(Name::Authority, MAX_SIZE - 42 - 34);
        assert!(table.get(63).is_some());
        table.insert(Name::Other(2), 0);
        assert!(table.get(63).is_some() && table.get(64).is_none());
        // Larger than all of it.
        table.insert(Name::Authority, MAX_SIZE);
        assert_eq!((table.get(62), table.size), (None, 0));
        for length in 1..=200 {
            table.insert(Name::Other(length % 2), 0);
        }
        assert!(table.entries.len() <= 128 && table.size <= MAX_SIZE);
        table.resize(40);
        assert_eq!(table.entries.len(), 1);
        table.resize(0);
        table.insert(Name::Other(1), 0);
        table.resize(MAX_SIZE);
        assert_eq!(table.get(62), None);
    }
}
