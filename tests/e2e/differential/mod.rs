//! The rules are said twice: as CEL in the fixed policies, for what comes, and in Rust, for what stands. Here generated
//! objects hold the two against each other, both ways, on the real API server: it never admits what the audit calls a
//! violation, as mutation left it, and never refuses what the audit calls compliant.
//!
//! What admission refuses and the audit does not judge is in one table for each kind, with the reason, and with what the
//! object must say to be refused for it; that holds both ways, too. `DOMICILE_TEST_SEED` and `DOMICILE_TEST_CASES` ask for
//! other and for more objects; a failure shows the least object that fails.

mod claims;
mod exposure;
mod ground;
mod pods;
mod policies;
mod role_bindings;
mod words;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner},
};

use crate::support::prelude::*;
use ground::Ground;

/// What admission alone refuses.
struct OfAdmission {
    /// Its rule, or some words of a refusal that is Kubernetes' own.
    says: &'static str,
    /// Why the audit does not judge it.
    #[expect(dead_code, reason = "the table is for readers")]
    because: &'static str,
    /// Whether an object is to be refused for it, if that can be told from the object.
    applies: Option<fn(&Value, &Ground) -> bool>,
}

/// One kind of object in the comparison.
struct Comparison {
    /// What to call it.
    name: &'static str,
    /// Refusals that the audit tells under another id: admission's, the audit's.
    otherwise: &'static [(&'static str, &'static str)],
    of_admission: &'static [OfAdmission],
    /// The rules that the audit says the object breaks.
    finds: fn(&Ground, &Value) -> BTreeSet<&'static str>,
}

/// What Kubernetes itself says of any kind.
const KUBERNETES: [OfAdmission; 1] = [OfAdmission {
    says: " is invalid: ",
    because: "Kubernetes' own validation: no such object ever stands",
    applies: None,
}];

fn from_environment(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

impl Comparison {
    /// Compares on objects of `strategy`; `weight` is how many ordinary objects one of them is as dear as.
    #[track_caller]
    fn run(&self, ground: &Ground, weight: u32, strategy: &impl Strategy<Value = Value>) {
        let seed = from_environment("DOMICILE_TEST_SEED", 5);
        let cases = from_environment("DOMICILE_TEST_CASES", 300).div_ceil(weight);
        let config = Config {
            cases,
            rng_seed: RngSeed::Fixed(seed.into()),
            failure_persistence: None,
            max_shrink_time: 60_000, // milliseconds
            ..Config::default()
        };
        let counts = RefCell::new(BTreeMap::<String, u32>::new());
        let outcome = TestRunner::new(config).run(strategy, |object| {
            let verdict = self.compare(ground, &Manifest(object)).map_err(TestCaseError::fail)?;
            *counts.borrow_mut().entry(verdict).or_default() += 1;
            Ok(())
        });
        let counts = counts.into_inner();
        say(&format!("differential {} for {}, seed {seed}: {counts:?}", self.name, ground.name));
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(reason, object)) => panic!("seed {seed}: {reason}\n{object}"),
            Err(TestError::Abort(reason)) => panic!("seed {seed}: {reason}"),
        }
        if weight > 1 {
            return; // too few to count
        }
        // A generator that makes nothing but nonsense compares nothing.
        let of = |key: &str| counts.get(key).copied().unwrap_or_default();
        assert!(of("admitted") * 20 >= cases, "only {} of {cases} were admitted", of("admitted"));
        assert!(of(KUBERNETES[0].says) * 3 <= cases, "{} of {cases} were no objects", of(KUBERNETES[0].says));
    }

    /// What became of an object; an error where the two disagree.
    fn compare(&self, ground: &Ground, manifest: &Manifest) -> Result<String, String> {
        let reply = ground.space.would_ask(manifest);
        if reply.ok() {
            self.may_stand(ground, &reply.object)?;
            return Ok("admitted".to_owned());
        }
        let refused = rule(&reply.message);
        if let Some(entry) = self.of_admission.iter().chain(&KUBERNETES).find(|entry| match &refused {
            Some(rule) => rule == entry.says,
            None => reply.message.contains(entry.says),
        }) {
            let applies = entry.applies.is_none_or(|applies| applies(&manifest.0, ground));
            return when(applies, || format!("refused without reason: {}", reply.message))
                .map(|()| entry.says.to_owned());
        }
        let Some(refused) = refused else {
            return Err(format!("refused for what is in no table: {} {}", reply.code, reply.message));
        };
        let mut standing = manifest.0.clone();
        standing["status"] = Value::Null; // what a client writes there at creation is dropped
        let found = (self.finds)(ground, &standing);
        let own = refused.trim_matches(['[', ']']);
        let own = self.otherwise.iter().find(|(admission, _)| *admission == own).map_or(own, |(_, audit)| *audit);
        when(found.contains(own), || format!("the audit finds {found:?}, but it is refused: {}", reply.message))?;
        Ok(refused)
    }

    /// Whether an admitted object breaks nothing.
    fn may_stand(&self, ground: &Ground, object: &Value) -> Result<(), String> {
        let found = (self.finds)(ground, object);
        when(found.is_empty(), || format!("admitted, but the audit finds {found:?}: {}", object["spec"]))?;
        let broken =
            self.of_admission.iter().find(|entry| entry.applies.is_some_and(|applies| applies(object, ground)));
        broken.map_or(Ok(()), |entry| Err(format!("admitted against {}: {object}", entry.says)))
    }
}
