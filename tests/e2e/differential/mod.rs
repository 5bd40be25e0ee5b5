//! The rules are said twice: as CEL in the fixed policies, for what comes, and in Rust, for what stands. Here generated
//! objects hold the two against each other, both ways, on the real API server: it never admits what the audit calls a
//! violation, as mutation left it, and never refuses what the audit calls compliant.
//!
//! What admission refuses and the audit does not judge is in one table for each kind, with the reason, and with what the
//! object must say to be refused for it; that holds both ways, too. `DOMICILE_TEST_SEED` and `DOMICILE_TEST_CASES` ask for
//! other and for more objects; a failure shows the least object that fails.

mod claims;
mod endpoints;
mod exposure;
mod ground;
mod modes;
mod pods;
mod policies;
mod role_bindings;
mod standing;
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

/// How many objects are made, where one of them is as dear as `weight` ordinary ones, and from what.
fn cases(weight: u32) -> (u32, u32) {
    let cases = from_environment("DOMICILE_TEST_CASES", 300).div_ceil(weight);
    (cases, from_environment("DOMICILE_TEST_SEED", 5))
}

fn runner(weight: u32) -> TestRunner {
    let (cases, seed) = cases(weight);
    TestRunner::new(Config {
        cases,
        rng_seed: RngSeed::Fixed(seed.into()),
        failure_persistence: None,
        max_shrink_time: 60_000, // milliseconds
        ..Config::default()
    })
}

impl Comparison {
    /// Compares on objects of `strategy`; `weight` is how many ordinary objects one of them is as dear as.
    #[track_caller]
    fn run(&self, ground: &Ground, weight: u32, strategy: &impl Strategy<Value = Value>) {
        let counts = self.run_by(ground, weight, strategy, "", |manifest| ground.space.would_ask(manifest.clone()));
        if weight > 1 {
            return; // too few to count
        }
        // A generator that makes nothing but nonsense compares nothing.
        let (cases, _) = cases(weight);
        let of = |key: &str| counts.get(key).copied().unwrap_or_default();
        assert!(of("admitted") * 20 >= cases, "only {} of {cases} were admitted", of("admitted"));
        assert!(of(KUBERNETES[0].says) * 3 <= cases, "{} of {cases} were no objects", of(KUBERNETES[0].says));
    }

    /// The same of an object that stands and breaks nothing, and is changed into each of the others.
    #[track_caller]
    fn run_updates(&self, ground: &Ground, weight: u32, standing: &Manifest, strategy: &impl Strategy<Value = Value>) {
        let made = ground.space.accepts(standing.clone());
        let path = standing.kind().path(&ground.space.name, standing.name());
        assert!((self.finds)(ground, &made).is_empty(), "{made}");
        let counts = self.run_by(ground, weight, strategy, ", changed", |manifest| {
            let changed = manifest.clone().named(standing.name()).in_namespace(&ground.space.name);
            ground.space.tenant.replace_at(&format!("{path}?dryRun=All"), &changed.0)
        });
        ground.space.delete(standing.kind(), standing.name()).expected();
        let judged: u32 =
            counts.iter().filter(|(verdict, _)| *verdict != KUBERNETES[0].says).map(|(_, count)| count).sum();
        let refused = judged - counts.get("admitted").copied().unwrap_or_default();
        assert!(refused > 0 && refused < judged, "all came out alike: {counts:?}");
    }

    #[track_caller]
    fn run_by(
        &self,
        ground: &Ground,
        weight: u32,
        strategy: &impl Strategy<Value = Value>,
        how: &str,
        ask: impl Fn(&Manifest) -> Reply,
    ) -> BTreeMap<String, u32> {
        let (_, seed) = cases(weight);
        let counts = RefCell::new(BTreeMap::<String, u32>::new());
        let outcome = runner(weight).run(strategy, |object| {
            let manifest = Manifest(object);
            let reply = ask(&manifest);
            let verdict = self.compare(ground, &manifest, &reply).map_err(TestCaseError::fail)?;
            *counts.borrow_mut().entry(verdict).or_default() += 1;
            Ok(())
        });
        let counts = counts.into_inner();
        say(&format!("differential {} for {}{how}, seed {seed}: {counts:?}", self.name, ground.space.name));
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(reason, object)) => panic!("seed {seed}{how}: {reason}\n{object}"),
            Err(TestError::Abort(reason)) => panic!("seed {seed}{how}: {reason}"),
        }
        counts
    }

    /// What became of an object; an error where the two disagree.
    fn compare(&self, ground: &Ground, manifest: &Manifest, reply: &Reply) -> Result<String, String> {
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
        when(found.is_empty(), || format!("admitted, but the audit finds {found:?}: {object}"))?;
        let broken =
            self.of_admission.iter().find(|entry| entry.applies.is_some_and(|applies| applies(object, ground)));
        broken.map_or(Ok(()), |entry| Err(format!("admitted against {}: {object}", entry.says)))
    }
}
