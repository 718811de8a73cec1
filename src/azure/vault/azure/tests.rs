use std::sync::atomic::{AtomicUsize, Ordering};

use azure_core::http::pager::{PagerContinuation, PagerResult};

use super::*;

/// The numbers of the versions on a page.
struct Numbers(std::ops::Range<usize>);

#[async_trait::async_trait]
impl Page for Numbers {
    type Item = usize;
    type IntoIter = std::ops::Range<usize>;

    async fn into_items(self) -> azure_core::Result<Self::IntoIter> {
        Ok(self.0)
    }
}

/// How many versions are listed, and how many pages were asked for, where pages of 25 have other versions each time,
/// or the same ones again, and there is always a next one.
async fn read_of_endless_list(has_news: bool) -> (Option<usize>, usize) {
    let pages = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&pages);
    let next = move |_, _| {
        let page = asked.fetch_add(1, Ordering::Relaxed);
        let first = if has_news { page * 25 } else { 0 };
        let response = Numbers(first..first + 25);
        let result = if page < 1000 {
            let continuation = PagerContinuation::Token(page.to_string());
            PagerResult::More {
                response,
                continuation,
            }
        } else {
            // So that the test has an end.
            PagerResult::Done { response }
        };
        async { Ok(result) }.boxed()
    };
    let listed = |number: usize| {
        Some(ListedVersion {
            id: number.to_string(),
            created: None,
            enabled: true,
        })
    };
    let newest = Newest::new(usize::MAX);
    let found = collect(ItemIterator::new(next, None), listed, newest).await;
    let count = found.ok().map(|newest| newest.into_versions().len());
    (count, pages.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_list_without_an_end_is_read_up_to_its_bound() {
    assert_eq!(read_of_endless_list(true).await, (Some(5_000), 200));
    // One that leads back to itself is no list.
    assert_eq!(read_of_endless_list(false).await, (None, 11));
}

#[test]
fn an_id_without_a_version_has_its_last_change_instead() {
    let changed = OffsetDateTime::from_unix_timestamp(1_576_316_779).ok();
    for (id, version, of_change) in [
        ("https://v/secrets/a/0123", Some("0123"), None),
        ("https://v/secrets/a", None, Some("updated-1576316779")),
        ("https://v/secrets/a/", None, Some("updated-1576316779")),
        ("https://v/secrets/a/not%20one", None, None),
        ("https://v/secrets/a/0123/", Some("0123"), None),
        ("https://v/secrets/a/0123?a=b/c#d", Some("0123"), None),
        (
            "https://v/secrets/a?a=b/c",
            None,
            Some("updated-1576316779"),
        ),
        (
            "https://v/secrets/a#/0123",
            None,
            Some("updated-1576316779"),
        ),
        ("HTTPS://V:443/Certificates/A/0aBc", Some("0aBc"), None),
        (
            "https://h.managedhsm.azure.net/keys/a/0123",
            Some("0123"),
            None,
        ),
        ("https://v/secrets", None, None),
        ("https://v", None, None),
        ("not a URL", None, None),
    ] {
        assert_eq!(version_of(Some(id)).as_deref(), version, "{id}");
        let found = version_of_change(Some(id), changed);
        assert_eq!(found.as_deref(), of_change, "{id}");
    }
    assert_eq!(version_of_change(Some("https://v/secrets/a"), None), None);
    assert_eq!(version_of_change(None, changed), None);
}

#[test]
fn a_text_that_comes_with_a_value_is_kept_up_to_its_bound() {
    for (text, kept) in [
        (None, None),
        (Some(""), Some("")),
        (Some("ab"), Some("ab")),
        (Some("äbc"), Some("äbc")),
        (Some("äböd"), Some("äbö")),
    ] {
        let found = beginning(text.map(str::to_owned), 3);
        assert_eq!(found.as_deref(), kept, "{text:?}");
    }
    let long = beginning(Some("x".repeat(900_000)), MAX_CONTENT_TYPE).unwrap();
    assert_eq!((long.len(), long.capacity()), (255, 255));
}
