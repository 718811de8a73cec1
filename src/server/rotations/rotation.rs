//! [`Rotation`], what is known of the files of one volume, and what its pod is to be told of them. Pure: it is told the time,
//! and says what is to be done.
//!
//! Three may say something of a volume: the driver, which asks for its files; the answer that it is given; and the pod's
//! SecretProviderClassPodStatus, which the driver writes after the files. The driver does not say whether it mounts for the
//! first time, nor whether it could write what it was given. So only the status makes a rotation true. It says which files
//! there are, and never what may be given.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use super::news::{Cause, Change, Failure, Files, NOT_WRITTEN, News};
use super::versions::Versions;
use crate::explain::Explanation;
use crate::shares::Weight;
use crate::text::excerpt::one_line;

/// How long after an answer, and then after each look, the status is looked at for the versions of that answer: five minutes
/// in all. The driver writes it some milliseconds after the files.
const LOOKS: [Duration; 9] = seconds([1, 2, 4, 8, 15, 30, 60, 90, 90]);
/// After what time a failure that lasts is told again, at least. The API server forgets an event after an hour.
///
/// Source: "kube-apiserver", `--event-ttl`.
const REFRESH: Duration = Duration::from_secs(20 * 60);
/// And at most so much later, so that all volumes of a node are not told of at once.
const SPREAD: Duration = Duration::from_secs(10 * 60);
/// How often a volume's failures, recoveries and vaults are told without a pause.
const MAX_TURNS: u32 = 6;
/// After what time one more may be told.
const TURN: Duration = Duration::from_secs(10 * 60);
/// The most characters of a failure's cause, and of its fix, that are kept until the status is there.
const MAX_TEXT: usize = 1024;

const fn seconds<const N: usize>(seconds: [u64; N]) -> [Duration; N] {
    let mut durations = [Duration::ZERO; N];
    let mut index = 0;
    while index < N {
        durations[index] = Duration::from_secs(seconds[index]);
        index += 1;
    }
    durations
}

/// What is known of one volume.
#[derive(Debug)]
pub struct Rotation {
    known: Known,
    /// What the driver was given, and has not written as far as is known.
    given: Option<Given>,
    failing: Option<Failing>,
    /// The failure that the pod was last told of, unless it was told of its end.
    told: Option<Told>,
    /// The last files of another vault than the one that the files are of now.
    other: Option<Files>,
    is_looking: bool,
    turns: Turns,
    /// How much later than others it is told again that a failure lasts.
    spread: Duration,
}

/// A moment, by the clock that only goes forward, and by the one that people read.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For times in between.
    pub instant: Instant,
    /// For a note.
    pub time: OffsetDateTime,
}

/// What a look at the status gave.
#[derive(Debug)]
pub enum Look {
    /// The versions of the volume's files.
    Files(Versions),
    /// The pod has none for this class, or an earlier pod of its name had it.
    Absent,
    /// It says nothing about this volume: the API server did not give it, or it is about another volume of the pod.
    Silent,
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Next {
    /// The pod is told this.
    pub news: Vec<News>,
    /// The status is looked at after this time.
    pub look: Option<Duration>,
    /// The status shows that the volume has its files.
    pub has_files: bool,
}

#[derive(Debug)]
enum Known {
    /// Nothing, as after a start of the provider.
    Nothing,
    /// That there are no files yet.
    NoFiles,
    /// The driver was given them once, and may have failed to write them.
    Likely(Files),
    /// The status has them, or the driver was given them twice.
    Sure(Files),
}

#[derive(Debug)]
struct Given {
    files: Files,
    since: Moment,
    looks: usize,
}

#[derive(Debug)]
struct Failing {
    reason: &'static str,
    since: OffsetDateTime,
    is_first_sight: bool,
    /// None once the pod has been told of it.
    cause: Option<Cause>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    reason: &'static str,
    since: OffsetDateTime,
    at: Instant,
}

/// How often something may be told that comes and goes.
#[derive(Debug)]
struct Turns {
    left: u32,
    since: Option<Instant>,
}

impl Known {
    fn files(&self) -> Option<&Files> {
        match self {
            Self::Nothing | Self::NoFiles => None,
            Self::Likely(files) | Self::Sure(files) => Some(files),
        }
    }
}

impl Failing {
    /// Whether the driver did not write what it was given.
    fn is_the_drivers(&self) -> bool {
        self.reason == NOT_WRITTEN
    }
}

impl Turns {
    fn take(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let more = now.duration_since(since).as_secs() / TURN.as_secs();
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        if more > 0 {
            self.left = self.left.saturating_add(more).min(MAX_TURNS);
            self.since = Some(now);
        }
        let has_one = self.left > 0;
        self.left = self.left.saturating_sub(1);
        has_one
    }
}

impl Rotation {
    /// Nothing is known of the volume. The number spreads what is told again, over the volumes.
    pub fn new(number: u64) -> Self {
        Self {
            known: Known::Nothing,
            given: None,
            failing: None,
            told: None,
            other: None,
            is_looking: false,
            turns: Turns {
                left: MAX_TURNS,
                since: None,
            },
            spread: Duration::from_secs(number % SPREAD.as_secs()),
        }
    }

    /// The driver asks for the files.
    pub fn arrived(&mut self) -> Next {
        let mut next = Next::default();
        if matches!(self.known, Known::Nothing | Known::Likely(_)) {
            self.look(Duration::ZERO, &mut next);
        }
        next
    }

    /// The driver is given files.
    pub fn given(&mut self, files: Files, now: Moment) -> Next {
        let mut next = Next::default();
        self.failing.take_if(|failing| !failing.is_the_drivers());
        match &self.known {
            Known::NoFiles => self.known = Known::Likely(files),
            Known::Likely(known) | Known::Sure(known) if known.versions == files.versions => {
                self.given = None;
                self.given_again(files, now, &mut next);
            }
            Known::Nothing | Known::Likely(_) | Known::Sure(_) => {
                let first = Given {
                    files: files.clone(),
                    since: now,
                    looks: 0,
                };
                let given = self.given.get_or_insert(first);
                if given.files.versions != files.versions {
                    (given.since, given.looks) = (now, 0);
                }
                given.files = files;
                self.look(LOOKS[0], &mut next);
            }
        }
        if self.given.is_none() {
            self.failing = None;
            self.recover(None, now, &mut next);
        }
        next
    }

    /// The driver is given what it was given before.
    fn given_again(&mut self, mut files: Files, now: Moment, next: &mut Next) {
        let known = self.known.files();
        if let Some(from) = known.filter(|from| files.moved_from(from)) {
            if self.turns.take(now.instant) {
                next.news.push(News::SourceChanged(Change {
                    from: from.clone(),
                    to: files.clone(),
                }));
                self.other = Some(from.clone());
            } else {
                // It is told at another time, if it still is so then.
                files.origin.clone_from(&from.origin);
            }
        }
        self.known = Known::Sure(files);
    }

    /// The driver gets an error.
    pub fn failed(&mut self, explanation: &Explanation, now: Moment) -> Next {
        let mut next = Next::default();
        // Of a first mount the kubelet tells.
        if matches!(self.known, Known::NoFiles) {
            return next;
        }
        let cause = Cause::Mount {
            cause: one_line(explanation.cause.trim_end_matches('.'), MAX_TEXT),
            fix: one_line(&explanation.fix, MAX_TEXT),
        };
        self.fail(explanation.reason.as_str(), now.time, cause);
        self.tell_failure(now, &mut next);
        next
    }

    /// The status was looked at.
    pub fn looked(&mut self, look: Look, now: Moment) -> Next {
        let mut next = Next::default();
        self.is_looking = false;
        match look {
            Look::Files(versions) => {
                next.has_files = true;
                self.has(versions, now, &mut next);
                self.tell_failure(now, &mut next);
            }
            Look::Absent => match (self.given.take(), &mut self.known) {
                (Some(given), _) => self.known = Known::Likely(given.files),
                (None, Known::Sure(files)) => self.known = Known::Likely(files.clone()),
                (None, Known::Nothing | Known::Likely(_)) => {
                    (self.known, self.failing) = (Known::NoFiles, None);
                }
                (None, Known::NoFiles) => {}
            },
            Look::Silent if matches!(self.known, Known::Nothing) => {
                if let Some(given) = self.given.take() {
                    self.known = Known::Likely(given.files);
                }
            }
            Look::Silent => {
                if !self.look_again(&mut next)
                    && let Some(given) = self.given.take()
                {
                    self.known = Known::Likely(given.files);
                }
            }
        }
        next
    }

    /// The volume has files of these versions.
    fn has(&mut self, versions: Versions, now: Moment, next: &mut Next) {
        let is_written = |given: &mut Given| given.files.versions == versions;
        if let Some(given) = self.given.take_if(is_written) {
            self.written(given, now, next);
            return;
        }
        let known = std::mem::replace(&mut self.known, Known::Nothing);
        let origin = known.files().and_then(|files| files.origin.clone());
        // It was given again what it does not have.
        if let Known::Sure(files) = known
            && files.versions != versions
            && self.given.is_none()
        {
            self.given = Some(Given {
                files,
                since: now,
                looks: 0,
            });
        }
        self.known = Known::Sure(Files { versions, origin });
        if self.given.is_none() || self.look_again(next) {
            return;
        }
        if let Some(given) = &self.given
            && self.failing.as_ref().is_none_or(Failing::is_the_drivers)
        {
            let cause = Cause::NotWritten(given.files.versions.clone());
            self.fail(NOT_WRITTEN, given.since.time, cause);
        }
    }

    fn fail(&mut self, reason: &'static str, since: OffsetDateTime, cause: Cause) {
        let known = self.known.files();
        let is_first_sight = known.is_none_or(|files| files.origin.is_none());
        let failing = self.failing.get_or_insert(Failing {
            reason,
            since,
            is_first_sight,
            cause: None,
        });
        (failing.reason, failing.cause) = (reason, Some(cause));
    }

    /// The driver has written what it was given.
    fn written(&mut self, given: Given, now: Moment, next: &mut Next) {
        self.failing.take_if(|failing| failing.is_the_drivers());
        let known = std::mem::replace(&mut self.known, Known::Sure(given.files.clone()));
        let change = known.files().map(|from| Change {
            from: from.clone(),
            to: given.files,
        });
        let change = change.filter(|change| change.from.versions != change.to.versions);
        if let Some(change) = &change {
            next.news.extend(self.news_of(change));
        }
        if self.failing.is_none() {
            self.recover(change, now, next);
        }
    }

    /// What a change is, and what else has changed by it.
    fn news_of(&mut self, change: &Change) -> Vec<News> {
        let Change { from, to } = change;
        let changed = change.clone();
        let is_edited = match (&from.origin, &to.origin) {
            (Some(from), Some(to)) => from.class != to.class,
            _ => !from.versions.are_of_the_objects_of(&to.versions),
        };
        if is_edited {
            self.other = None;
            return vec![News::ClassChanged(changed)];
        }
        let is_failover = to.origin.as_ref().is_some_and(|to| to.is_failover);
        let is_moved = to.moved_from(from) || from.origin.is_none() && is_failover;
        if !is_moved {
            return vec![News::Rotated(changed)];
        }
        // A vault that serves again may have other versions than it had.
        let earlier = self.other.replace(from.clone());
        let earlier = earlier
            .filter(|earlier| earlier.origin == to.origin && earlier.versions != to.versions);
        let rotated = earlier.map(|earlier| {
            News::Rotated(Change {
                from: earlier,
                to: to.clone(),
            })
        });
        let moved = News::SourceChanged(changed);
        [Some(moved), rotated].into_iter().flatten().collect()
    }

    /// Tells that files can be made new again, if the pod was told that they could not.
    fn recover(&mut self, change: Option<Change>, now: Moment, next: &mut Next) {
        if let Some(told) = self.told
            && self.turns.take(now.instant)
        {
            self.told = None;
            next.news.push(News::Recovered {
                since: told.since,
                reason: told.reason,
                change,
            });
        }
    }

    /// Tells that files cannot be made new, where there are files, if the pod does not know it.
    fn tell_failure(&mut self, now: Moment, next: &mut Next) {
        let (Known::Sure(files), Some(failing)) = (&self.known, &mut self.failing) else {
            return;
        };
        let Some(cause) = failing.cause.take() else {
            return;
        };
        let is_known = self.told.is_some_and(|told| {
            let age = now.instant.duration_since(told.at);
            told.reason == failing.reason && age < REFRESH + self.spread
        });
        if is_known || !self.turns.take(now.instant) {
            return;
        }
        let (reason, since) = (failing.reason, failing.since);
        self.told = Some(Told {
            reason,
            since,
            at: now.instant,
        });
        next.news.push(News::Failed(Failure {
            reason,
            cause,
            since,
            is_first_sight: failing.is_first_sight,
            files: files.versions.clone(),
        }));
    }

    fn look(&mut self, after: Duration, next: &mut Next) {
        if !self.is_looking {
            self.is_looking = true;
            next.look = Some(after);
        }
    }

    /// Looks once more for what the driver was given, unless that took too long.
    fn look_again(&mut self, next: &mut Next) -> bool {
        let Some(given) = &mut self.given else {
            return false;
        };
        given.looks += 1;
        let after = LOOKS.get(given.looks).copied();
        after.inspect(|after| self.look(*after, next)).is_some()
    }
}

impl Weight for Rotation {
    fn weight(&self) -> usize {
        let of = |files: Option<&Files>| files.map_or(0, Weight::weight);
        let failing = self.failing.as_ref();
        let cause = failing.and_then(|failing| failing.cause.as_ref());
        size_of::<Self>()
            + of(self.known.files())
            + of(self.given.as_ref().map(|given| &given.files))
            + of(self.other.as_ref())
            + cause.map_or(0, |cause| match cause {
                Cause::Mount { cause, fix } => cause.len() + fix.len(),
                Cause::NotWritten(versions) => versions.weight(),
            })
    }
}
