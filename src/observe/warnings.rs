//! [`Warnings`] that others can cause as often as they like: one line a minute, with a count of those left out.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// How long nothing more is said after a line.
const QUIET: Duration = Duration::from_secs(60);

/// Warnings of one kind. The first is logged at once; of those that come in the minute after a line, the last one is
/// logged at its end. Clones share everything.
#[derive(Clone, Default)]
pub struct Warnings(Arc<Mutex<State>>);

/// Writes a line; how many were left out since the line before, if any were.
type Line = Box<dyn FnOnce(Option<u64>) + Send>;

#[derive(Default)]
struct State {
    is_quiet: bool,
    /// The newest of those that have not been logged, and how many there are.
    unsaid: Option<(Line, u64)>,
}

impl Warnings {
    /// Logs this, now or at the end of the minute, unless a newer one takes its place.
    pub fn warn(&self, line: impl FnOnce(Option<u64>) + Send + 'static) {
        let mut state = self.0.lock();
        if state.is_quiet {
            let before = state.unsaid.take().map_or(0, |(_, count)| count);
            state.unsaid = Some((Box::new(line), before + 1));
            return;
        }
        state.is_quiet = true;
        drop(state);
        line(None);
        tokio::spawn(self.clone().say_the_rest());
    }

    /// Goes on for as long as there is something to say.
    async fn say_the_rest(self) {
        loop {
            tokio::time::sleep(QUIET).await;
            let mut state = self.0.lock();
            let Some((line, count)) = state.unsaid.take() else {
                state.is_quiet = false;
                return;
            };
            drop(state);
            line(Some(count - 1).filter(|left_out| *left_out > 0));
        }
    }
}

impl std::fmt::Debug for Warnings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Warnings")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_a_minute_says_how_many_are_missing() {
        let warnings = Warnings::default();
        let said = Arc::new(Mutex::new(Vec::<(u32, Option<u64>)>::new()));
        let warn = |number| {
            let said = Arc::clone(&said);
            warnings.warn(move |left_out| said.lock().push((number, left_out)));
        };
        let second = Duration::from_secs(1);
        for number in 0..100 {
            warn(number);
        }
        assert_eq!(*said.lock(), [(0, None)]);
        tokio::time::sleep(QUIET + second).await;
        assert_eq!(*said.lock(), [(0, None), (99, Some(98))]);
        // The minute after that line is as quiet.
        warn(100);
        tokio::time::sleep(QUIET).await;
        assert_eq!(said.lock().last(), Some(&(100, None)));
        tokio::time::sleep(QUIET * 2).await;
        warn(101);
        assert_eq!(said.lock().last(), Some(&(101, None)));
        assert_eq!(said.lock().len(), 4);
    }
}
