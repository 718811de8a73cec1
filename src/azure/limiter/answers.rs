//! [`Answers`], how much memory the answers of one server take.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What the largest secret takes, of 25 KB and in JSON.
const LARGEST: usize = 32 << 10;
/// A shorter answer lowers what is expected by one part in so many of the difference: not by much, since what turns out to be
/// longer may have to be asked for again.
const STEP: usize = 64;

/// How many bytes the answers of one server have taken of late: what to expect of the next one.
///
/// A longer answer raises it at once, shorter ones lower it little by little. Nothing is expected of the first: most secrets
/// are short.
#[derive(Debug, Default)]
pub struct Answers(AtomicUsize);

impl Answers {
    /// What the next one may take: no more than the largest secret.
    pub fn expected(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// One took so many.
    pub fn took(&self, bytes: usize) {
        let bytes = bytes.min(LARGEST);
        let expect = |expected: usize| {
            Some(match expected.checked_sub(bytes) {
                Some(less) => expected - less.div_ceil(STEP),
                None => bytes,
            })
        };
        _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, expect);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_answers_are_expected_at_once_and_short_ones_after_some() {
        let answers = Answers::default();
        assert_eq!(answers.expected(), 0);
        answers.took(LARGEST);
        let mut count = 0;
        while answers.expected() > 1000 {
            answers.took(500);
            count += 1;
        }
        assert!((200..400).contains(&count), "{count}");
        answers.took(9000);
        assert_eq!(answers.expected(), 9000);
        answers.took(10 * LARGEST);
        assert_eq!(answers.expected(), LARGEST);
        (0..1000).for_each(|_| answers.took(0));
        assert_eq!(answers.expected(), 0);
    }
}
