//! Words for generated objects: JSON by proptest, so that what fails shrinks to the least that fails.

use proptest::{option, prelude::*, sample};
use serde_json::{Map, Value};

/// A strategy for a piece of JSON.
pub type Json = BoxedStrategy<Value>;

/// Always this.
pub fn just(value: Value) -> Json {
    Just(value).boxed()
}

/// One of these; shrinks towards the first.
pub fn one_of(values: Vec<Value>) -> Json {
    sample::select(values).boxed()
}

/// One of these strings.
pub fn words(values: &[&str]) -> Json {
    one_of(values.iter().map(|word| Value::from(*word)).collect())
}

/// One of these strategies, evenly; shrinks towards the first.
pub fn either(choices: Vec<Json>) -> Json {
    proptest::strategy::Union::new(choices).boxed()
}

/// So many items.
pub fn list(item: Json, sizes: std::ops::RangeInclusive<usize>) -> Json {
    proptest::collection::vec(item, sizes).prop_map(Value::Array).boxed()
}

/// A map with some of these fields, each as often as its share says (1.0 is always).
pub fn object(fields: Vec<(&'static str, f64, Json)>) -> Json {
    let (names, parts): (Vec<&str>, Vec<_>) = fields
        .into_iter()
        .map(|(name, share, value)| {
            let part = if share >= 1.0 { value.prop_map(Some).boxed() } else { option::weighted(share, value).boxed() };
            (name, part)
        })
        .unzip();
    parts
        .prop_map(move |values| {
            let present = names.iter().zip(values).filter_map(|(name, value)| Some(((*name).to_owned(), value?)));
            Value::Object(present.collect::<Map<_, _>>())
        })
        .boxed()
}

/// A map with a few of these keys.
pub fn labels(keys: &'static [&'static str], values: &'static [&'static str]) -> Json {
    let entry = (sample::select(keys), sample::select(values));
    proptest::collection::vec(entry, 0..=2)
        .prop_map(|entries| {
            entries.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect::<Map<_, _>>().into()
        })
        .boxed()
}

/// Items with names of their own: `{name: prefix0, …item}`.
pub fn named(prefix: &'static str, item: Json, sizes: std::ops::RangeInclusive<usize>) -> Json {
    proptest::collection::vec(item, sizes)
        .prop_map(move |items| {
            let named = items.into_iter().enumerate().map(|(number, mut item)| {
                item["name"] = Value::from(format!("{prefix}{number}"));
                item
            });
            Value::Array(named.collect())
        })
        .boxed()
}
