//! Pure: old status, outcome and the time to a new status, and what to tell in events.
//!
//! Nothing here decides what is enforced; it says what was seen. What was not seen is said as `Unknown`. The time comes
//! in as an argument and nothing is random, so that a cluster at rest sees no write.

pub mod conditions;
pub mod coverage;
pub mod data_center;
pub mod events;
#[cfg(test)]
mod fixture;
mod legs;
pub mod receivers;
pub mod residency;
pub mod routes;
mod unsaid;

/// `text`, cut to `limit` bytes at the border of a character.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    format!("{}…", text.get(..end).unwrap_or_default())
}

/// Names as people read them: the first few, and how many more.
fn some_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 5;
    let names: Vec<&str> = names.into_iter().collect();
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_the_border_of_a_character() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("数据中心", 8), "数…");
        assert!(cut(&"数".repeat(1000), 1000).len() <= 1000);
    }

    #[test]
    fn many_names_are_counted() {
        assert_eq!(some_of(["a", "b"]), "a, b");
        assert_eq!(some_of(["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e and 2 more");
    }
}
